// dense_weights.hpp — a model's matrices in fp32, whatever form the file keeps them in.
#pragma once

#include <array>
#include <vector>

#include "kernels/weights.hpp"

namespace tessera::reference {

using DenseMatrix = std::vector<float>;  // (out, in)

struct DenseLayer {
  std::array<DenseMatrix, kNumLinears> linears;                     // empty where there is none
  std::vector<std::array<DenseMatrix, kNumExpertLinears>> experts;  // (num_experts,)
};

DenseMatrix to_fp32(const WeightMatrix& matrix);

std::vector<DenseLayer> dense_layers(const ModelWeights& weights);

}  // namespace tessera::reference
