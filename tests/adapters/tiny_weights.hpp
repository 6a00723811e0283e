// tiny_weights.hpp — numbers for the base of test_package.hpp.
#pragma once

#include <cmath>
#include <deque>
#include <random>
#include <vector>

#include "kernels/weights.hpp"
#include "tests/adapters/test_package.hpp"

namespace tessera {

// Random bf16 matrices; biases on q, k and v. BaseModel::weights points into it.
class TinyWeights {
 public:
  explicit TinyWeights(unsigned seed = 3) : random_(seed), model_(test_base()) {
    for (LayerSpec& layer : model_.spec.layers) {
      for (const Linear linear : {Linear::kQ, Linear::kK, Linear::kV}) layer.set_bias(linear);
    }
    weights_.spec = model_.spec;
    weights_.layers.resize(model_.spec.layers.size());
    for (LayerWeights& layer : weights_.layers) fill(layer);
    weights_.embedding = matrix(model_.spec.vocab_size, model_.spec.hidden);
    weights_.head = matrix(model_.spec.vocab_size, model_.spec.hidden);
    model_.weights = &weights_;
  }
  TinyWeights(const TinyWeights&) = delete;
  TinyWeights& operator=(const TinyWeights&) = delete;

  void tie() {
    model_.spec.tied_embeddings = true;
    weights_.head = weights_.embedding;
  }

  BaseModel& model() { return model_; }
  const ModelWeights& weights() const { return weights_; }

 private:
  void fill(LayerWeights& layer) {
    for (const Linear linear : kAllLinears) {
      const LinearShape shape = model_.spec.shape(linear);
      const auto index = static_cast<std::size_t>(linear);
      layer.linears[index] = matrix(shape.out_features, shape.in_features);
      if (!model_.spec.layers.front().has_bias(linear)) continue;
      std::vector<float>& bias = biases_.emplace_back();
      for (int i = 0; i < shape.out_features; ++i) bias.push_back(normal_(random_));
      layer.biases[index] = bias.data();
    }
  }

  WeightMatrix matrix(int rows, int cols) {
    std::vector<Bf16>& values = matrices_.emplace_back();
    for (int i = 0; i < rows * cols; ++i) values.push_back(float_to_bf16(normal_(random_)));
    return bf16_matrix(values.data(), rows, cols);
  }

  std::mt19937 random_;
  std::normal_distribution<float> normal_;
  BaseModel model_;
  ModelWeights weights_;
  std::deque<std::vector<Bf16>> matrices_;
  std::deque<std::vector<float>> biases_;
};

}  // namespace tessera
