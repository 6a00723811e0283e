// tensor_binding.hpp — every tensor of an upload finds its module in the base, or is named.
//
// A path that drifted ("model.layers" against "model.model.layers") is how other servers come to
// serve the bare base without a word; so nothing here is skipped.
#pragma once

#include <span>
#include <vector>

#include "adapters/base_model.hpp"
#include "adapters/finding.hpp"
#include "adapters/peft_tensors.hpp"
#include "adapters/safetensors.hpp"

namespace tessera {

// The tensors of one module; null where the upload has none. They point into the file.
struct BoundModule {
  const StoredTensor* a = nullptr;
  const StoredTensor* b = nullptr;
  const StoredTensor* lora_bias = nullptr;  // of B
  const StoredTensor* magnitude = nullptr;  // of DoRA
  const StoredTensor* bias = nullptr;       // in place of the base's own
  // Of the embedding and of the head alone:
  const StoredTensor* weight = nullptr;  // the whole table
  const StoredTensor* tokens = nullptr;  // rows of it

  // Whether there is anything of LoRA's own.
  bool has_lora() const {
    return a != nullptr || b != nullptr || lora_bias != nullptr || magnitude != nullptr;
  }
  const StoredTensor*& operator[](PeftTensorKind kind);  // of one of is_part()
};

struct Binding {
  std::vector<BoundModule> modules;  // one for each module of the base
  int tensors_bound = 0;
  std::vector<Report::Renamed> renamed;
};

// `modules` are all modules of a base. Tensors that bind to none of them or twice, and those that
// no adapter that is served can have, are appended to `findings`.
Binding bind_tensors(const SafetensorsFile& file, std::span<const BaseModule> modules,
                     Findings& findings);

}  // namespace tessera
