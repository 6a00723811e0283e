// random_model.hpp — models, adapters and crowds of sequences made from a seed.
//
// Shapes are small and awkward on purpose: odd numbers of heads, head sizes and vocabularies that
// are no multiple of sixteen, ranks from 1 to 33, modules left out.
#pragma once

#include <cstdint>
#include <deque>
#include <random>
#include <vector>

#include "kernels/backend.hpp"
#include "kernels/lora.hpp"
#include "kernels/weights.hpp"

namespace tessera {

using Random = std::mt19937;

int uniform(Random& random, int low, int high);  // both included
bool chance(Random& random, double probability);
std::vector<float> normal_values(Random& random, std::size_t count, float deviation);

// Owns what its weights point to; not copyable.
class RandomModel {
 public:
  explicit RandomModel(Random& random) : RandomModel(random, random_spec(random)) {}
  RandomModel(Random& random, ModelSpec spec);
  RandomModel(const RandomModel&) = delete;
  RandomModel& operator=(const RandomModel&) = delete;

  static ModelSpec random_spec(Random& random);

  const ModelWeights& weights() const { return weights_; }
  const ModelSpec& spec() const { return weights_.spec; }

 private:
  const float* keep(std::vector<float> values) {
    return floats_.emplace_back(std::move(values)).data();
  }
  const Bf16* keep_bf16(const std::vector<float>& values);
  LayerWeights random_layer(Random& random, const LayerSpec& spec);

  std::deque<Nf4Buffers> matrices_;
  std::deque<std::vector<float>> floats_;
  std::deque<std::vector<Bf16>> halves_;
  ModelWeights weights_;
};

// One adapter in both page types, of the same values. Owns its pages.
class RandomAdapter {
 public:
  RandomAdapter(Random& random, const ModelSpec& spec);
  // The same with every rank fixed and no module left out but the embedding and the head.
  RandomAdapter(Random& random, const ModelSpec& spec, int rank);

  const LoraView& view(PageType type) const { return type == PageType::kF32 ? fp32_ : bf16_; }

  // Makes every element of every B infinite.
  void poison();

 private:
  void build(Random& random, const ModelSpec& spec, int fixed_rank);
  void add_module(Random& random, LinearShape shape, int rank, LoraModule& fp32, LoraModule& bf16);

  std::deque<std::vector<float>> floats_;
  std::deque<std::vector<Bf16>> halves_;
  LoraView fp32_;
  LoraView bf16_;
};

}  // namespace tessera
