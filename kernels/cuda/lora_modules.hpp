// lora_modules.hpp — the numbers of a model's modules in the table of adapters.
//
// Layer by layer its seven linears and, where it has experts, each expert's gate, up and down; then
// the embedding, then the head.
#pragma once

#include <vector>

#include "kernels/model_spec.hpp"

namespace tessera {

class LoraModuleNumbers {
 public:
  explicit LoraModuleNumbers(const ModelSpec& spec) {
    for (const LayerSpec& layer : spec.layers) {
      first_.push_back(count_);
      count_ += kNumLinears + (layer.experts ? spec.num_experts * kNumExpertLinears : 0);
    }
    count_ += 2;
  }

  int of(int layer, Linear linear) const {
    return first_[static_cast<std::size_t>(layer)] + static_cast<int>(linear);
  }
  // Of expert 0; each next expert's is kNumExpertLinears further on. `index` as kExpertLinears'.
  int of_experts(int layer, int index) const {
    return first_[static_cast<std::size_t>(layer)] + kNumLinears + index;
  }
  int embedding() const { return count_ - 2; }
  int head() const { return count_ - 1; }
  int count() const { return count_; }

 private:
  std::vector<int> first_;  // of each layer
  int count_ = 0;
};

}  // namespace tessera
