// peft_tensors.hpp — the names that PEFT gives to tensors, taken apart.
//
//   base_model.model.<module path>.lora_A[.<adapter>].weight       (r, in)
//   base_model.model.<module path>.lora_B[.<adapter>].weight       (out, r)
//   base_model.model.<module path>.lora_embedding_A[.<adapter>]    (r, vocab)
//   base_model.model.<module path>.lora_embedding_B[.<adapter>]    (hidden, r)
//
// Anything else that PEFT can write has a kind here too, so that it is refused by what it is. The
// adapter's name stands in the tensors' names only when a raw state dict was dumped.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "adapters/finding.hpp"

namespace tessera {

enum class PeftTensorKind : std::uint8_t {
  kLoraA,
  kLoraB,
  kLoraEmbeddingA,
  kLoraEmbeddingB,
  kLoraBias,         // lora_B.bias
  kDoraMagnitude,    // lora_magnitude_vector
  kKasaDiagonal,     // lora_diag
  kTokenDelta,       // token_adapter.trainable_tokens_delta
  kVeloraState,      // lora_velora_*
  kMontecloraState,  // lora_monteclora_*
  kWeight,           // <path>.weight or <path>.base_layer.weight: a whole module
  kBias,             // <path>.bias or <path>.base_layer.bias
  kUnknown,
};

struct PeftTensorName {
  PeftTensorKind kind = PeftTensorKind::kUnknown;
  std::string_view path = {};     // of the module: "model.layers.0.self_attn.q_proj"
  std::string_view adapter = {};  // "default", or empty when it was stripped, as it should be

  bool is_pair_half() const { return kind <= PeftTensorKind::kLoraEmbeddingB; }
  bool is_a() const {
    return kind == PeftTensorKind::kLoraA || kind == PeftTensorKind::kLoraEmbeddingA;
  }
  bool is_embedding() const {
    return kind == PeftTensorKind::kLoraEmbeddingA || kind == PeftTensorKind::kLoraEmbeddingB;
  }
};

// Views into `name`.
PeftTensorName parse_peft_tensor_name(std::string_view name);

// The code with which a tensor that is no half of a LoRA pair is refused.
FindingCode refusal_of(PeftTensorKind kind);

}  // namespace tessera
