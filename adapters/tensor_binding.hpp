// tensor_binding.hpp — every tensor of an upload finds its module in the base, or is named.
//
// A path that drifted ("model.layers" against "model.model.layers") is how other servers come to
// serve the bare base without a word; so nothing here is skipped.
#pragma once

#include <span>
#include <vector>

#include "adapters/base_model.hpp"
#include "adapters/finding.hpp"
#include "adapters/safetensors.hpp"

namespace tessera {

// The two tensors of one module; null where the upload has none. They point into the file.
struct BoundPair {
  const StoredTensor* a = nullptr;
  const StoredTensor* b = nullptr;

  bool is_empty() const { return a == nullptr && b == nullptr; }
};

struct Binding {
  std::vector<BoundPair> pairs;  // one for each module of the base
  int tensors_bound = 0;
  std::vector<Report::Renamed> renamed;
};

// `modules` are all modules of `base`. Tensors that bind to none of them, twice, or are no part of
// plain LoRA are appended to `findings`.
Binding bind_tensors(const SafetensorsFile& file, const BaseModel& base,
                     std::span<const BaseModule> modules, Findings& findings);

}  // namespace tessera
