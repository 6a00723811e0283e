// random_model.hpp — models made from a seed.
//
// Shapes are small and awkward on purpose: odd numbers of heads, head sizes and vocabularies that
// are no multiple of sixteen; and every part that a LayerSpec may have or lack, in mixtures that no
// published model has.
//
// Which experts a token is sent to is a comparison, so two backends that differ in the last bits
// may disagree, and then differ in all. So that tests can compare them, a model with experts has
// embeddings whose first num_experts elements are far apart and dwarf the rest, and routers that
// read these: the choice is random from token to token, and never a close one.
#pragma once

#include <cstdint>
#include <deque>
#include <random>
#include <vector>

#include "kernels/backend.hpp"
#include "kernels/weights.hpp"

namespace tessera {

using Random = std::mt19937;

int uniform(Random& random, int low, int high);  // both included
bool chance(Random& random, double probability);
std::vector<float> normal_values(Random& random, std::size_t count, float deviation);

// Between two of the elements of an embedding that a router reads.
inline constexpr float kRouterLevel = 16.0F;

// The forms that a model's linear matrices are in: all NF4 with nested scales, or each in one drawn
// from all that a WeightMatrix can be.
enum class RandomForms { kNf4, kAny };

// Owns what its weights point to; not copyable.
class RandomModel {
 public:
  explicit RandomModel(Random& random) : RandomModel(random, random_spec(random)) {}
  RandomModel(Random& random, ModelSpec spec, RandomForms forms = RandomForms::kNf4);
  RandomModel(const RandomModel&) = delete;
  RandomModel& operator=(const RandomModel&) = delete;

  static ModelSpec random_spec(Random& random);
  // Without what other families than Llama and Qwen 2 have.
  static ModelSpec random_llama_spec(Random& random);

  const ModelWeights& weights() const { return weights_; }
  const ModelSpec& spec() const { return weights_.spec; }

 private:
  const float* keep(std::vector<float> values) {
    return floats_.emplace_back(std::move(values)).data();
  }
  const float* random_vector(Random& random, int size, float deviation) {
    return keep(normal_values(random, static_cast<std::size_t>(size), deviation));
  }
  const Bf16* keep_bf16(const std::vector<float>& values);
  const std::uint8_t* random_bytes(Random& random, std::size_t count);
  WeightMatrix random_embedding(Random& random);
  LayerWeights random_layer(Random& random, const LayerSpec& spec);
  void add_norms(Random& random, const LayerSpec& spec, LayerWeights& layer);
  void add_linears(Random& random, const LayerSpec& spec, LayerWeights& layer);
  void add_experts(Random& random, LayerWeights& layer);
  WeightMatrix random_matrix(Random& random, LinearShape shape);
  WeightMatrix random_codes(Random& random, LinearShape shape);

  RandomForms forms_;
  std::deque<Nf4Buffers> matrices_;
  std::deque<std::vector<float>> floats_;
  std::deque<std::vector<Bf16>> halves_;
  std::deque<std::vector<std::uint8_t>> bytes_;
  std::deque<std::vector<std::int32_t>> orders_;
  ModelWeights weights_;
};

}  // namespace tessera
