// base_rows.hpp — the base's own numbers, module by module, in an adapter's naming.
#pragma once

#include <span>
#include <vector>

#include "adapters/base_model.hpp"
#include "kernels/weights.hpp"

namespace tessera {

// The rows of a module's matrix as it is served (dequantised), whichever of our matrices they are
// in. Of the embedding, (vocab, hidden), a row is a token's. Views the weights. Not of a parameter.
class BaseRows {
 public:
  BaseRows(const ModelWeights& weights, const BaseModule& module);

  int rows() const { return rows_; }
  int cols() const { return parts_.front()->cols; }
  // Row `row`: (cols,).
  void read(int row, std::span<float> values) const;

 private:
  std::vector<const WeightMatrix*> parts_;  // one below the other
  int rows_ = 0;
};

// Whether all linears of a module, or of those that it holds, have a bias.
bool has_base_bias(const ModelSpec& spec, const BaseModule& module);

// That bias: (out_features,).
std::vector<float> base_bias(const ModelWeights& weights, const BaseModule& module);

}  // namespace tessera
