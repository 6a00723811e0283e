// peft_tensors.hpp — the names that PEFT gives to tensors, taken apart.
//
//   base_model.model.<module path>.lora_A[.<adapter>].weight       (r, in)
//   base_model.model.<module path>.lora_B[.<adapter>].weight       (out, r)
//   base_model.model.<module path>.lora_embedding_A[.<adapter>]    (r, vocab)
//   base_model.model.<module path>.lora_embedding_B[.<adapter>]    (hidden, r)
//   base_model.model.<module path>.lora_B[.<adapter>].bias         (out,)
//   base_model.model.<module path>.lora_magnitude_vector[.<adapter>][.weight]   (out,)
//   base_model.model.<module path>[.base_layer].bias               (out,)
//   base_model.model.<module path>[.base_layer].weight             (vocab, hidden) of a table
//   base_model.model.<module path>.token_adapter.trainable_tokens_delta[.<adapter>]  (ids, hidden)
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
  // Whether it is in place of one of the base's own tensors.
  bool is_of_base() const {
    return kind == PeftTensorKind::kWeight || kind == PeftTensorKind::kBias;
  }
  // Whether an adapter that is served can have it.
  bool is_part() const;
  bool is_a() const {
    return kind == PeftTensorKind::kLoraA || kind == PeftTensorKind::kLoraEmbeddingA;
  }
  bool is_embedding() const {
    return kind == PeftTensorKind::kLoraEmbeddingA || kind == PeftTensorKind::kLoraEmbeddingB;
  }
};

// Views into `name`.
PeftTensorName parse_peft_tensor_name(std::string_view name);

// What PEFT calls the tensor without the adapter's name: "<path>.lora_A.weight".
std::string plain_tensor_name(const PeftTensorName& name);

// The code with which a tensor is refused that is no part, or is of a module that cannot have it.
FindingCode refusal_of(PeftTensorKind kind);

}  // namespace tessera
