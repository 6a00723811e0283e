#include "kernels/reference/dense_weights.hpp"

#include <algorithm>

namespace tessera::reference {

DenseMatrix to_fp32(const WeightMatrix& matrix) {
  DenseMatrix weights(static_cast<std::size_t>(matrix.rows) *
                      static_cast<std::size_t>(matrix.cols));
  dequantize(matrix, weights);
  return weights;
}

std::vector<DenseLayer> dense_layers(const ModelWeights& weights) {
  std::vector<DenseLayer> layers;
  for (const LayerWeights& layer : weights.layers) {
    DenseLayer& dense = layers.emplace_back();
    std::ranges::transform(layer.linears, dense.linears.begin(), to_fp32);
    for (const ExpertWeights& expert : layer.experts) {
      std::ranges::transform(expert, dense.experts.emplace_back().begin(), to_fp32);
    }
  }
  return layers;
}

}  // namespace tessera::reference
