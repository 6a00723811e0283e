#include "adapters/base_rows.hpp"

#include <algorithm>
#include <cassert>

#include "adapters/module_naming.hpp"

namespace tessera {
namespace {

const LayerWeights& layer_of(const ModelWeights& weights, const BaseModule& module) {
  return weights.layers[static_cast<std::size_t>(module.layer)];
}

const WeightMatrix& matrix_of(const LayerWeights& layer, const BaseModule& module, Linear linear) {
  if (module.expert < 0) return layer.linears[static_cast<std::size_t>(linear)];
  const auto index = std::ranges::find(kExpertLinears, linear) - kExpertLinears.begin();
  return layer.experts[static_cast<std::size_t>(module.expert)][static_cast<std::size_t>(index)];
}

}  // namespace

BaseRows::BaseRows(const ModelWeights& weights, const BaseModule& module) {
  assert(!module.is_parameter());
  switch (module.kind) {
    case ModuleKind::kLinear:
      for (const Linear linear : linears_of(module)) {
        parts_.push_back(&matrix_of(layer_of(weights, module), module, linear));
      }
      break;
    case ModuleKind::kEmbed:
      parts_.push_back(&weights.embedding);
      break;
    case ModuleKind::kHead:
      parts_.push_back(&weights.head);
      break;
  }
  for (const WeightMatrix* part : parts_) rows_ += part->rows;
}

void BaseRows::read(int row, std::span<float> values) const {
  std::size_t part = 0;
  while (row >= parts_[part]->rows) row -= parts_[part++]->rows;
  decode_row(*parts_[part], row, values);
}

bool has_base_bias(const ModelSpec& spec, const BaseModule& module) {
  if (module.kind != ModuleKind::kLinear || module.expert >= 0 || module.is_parameter()) {
    return false;
  }
  const LayerSpec& layer = spec.layers[static_cast<std::size_t>(module.layer)];
  const auto linears = linears_of(module);
  return std::ranges::all_of(linears, [&](Linear linear) { return layer.has_bias(linear); });
}

std::vector<float> base_bias(const ModelWeights& weights, const BaseModule& module) {
  std::vector<float> bias;
  const LayerWeights& layer = layer_of(weights, module);
  for (const Linear linear : linears_of(module)) {
    const auto index = static_cast<std::size_t>(linear);
    const float* values = layer.biases[index];
    bias.insert(bias.end(), values, values + layer.linears[index].rows);
  }
  return bias;
}

}  // namespace tessera
