#include "engine/model/random_model.hpp"

#include <cmath>
#include <vector>

#include "engine/model/model_config.hpp"
#include "engine/model/packed_writer.hpp"
#include "engine/model/tensor_plan.hpp"
#include "kernels/quantisers.hpp"

namespace tessera {
namespace {

// SplitMix64 (Steele, Lea and Flood, 2014).
class RandomStream {
 public:
  explicit RandomStream(std::uint64_t seed) : state_(seed) {}

  // Uniform in [-1, 1).
  float next() {
    state_ += 0x9E3779B97F4A7C15U;
    std::uint64_t mixed = state_;
    mixed = (mixed ^ (mixed >> 30U)) * 0xBF58476D1CE4E5B9U;
    mixed = (mixed ^ (mixed >> 27U)) * 0x94D049BB133111EBU;
    mixed ^= mixed >> 31U;
    return static_cast<float>(mixed >> 40U) * 0x1p-23F - 1.0F;
  }

  // `count` values around `center`, none further from it than `radius`.
  std::vector<float> values(std::size_t count, float center, float radius) {
    std::vector<float> out(count);
    for (float& value : out) value = center + radius * next();
    return out;
  }

 private:
  std::uint64_t state_;
};

// Weights of about the size that a freshly initialised model has.
WeightBuffers random_matrix(const PlannedTensor& part, RandomStream& random) {
  const auto count = static_cast<std::size_t>(part.rows) * static_cast<std::size_t>(part.cols);
  const bool table = part.role == TensorRole::kTable;
  const float radius = table ? 1.0F : std::sqrt(3.0F / static_cast<float>(part.cols));
  return quantize_matrix(table ? QuantForm::kBf16 : QuantForm::kNf4,
                         random.values(count, 0.0F, radius), part.rows, part.cols);
}

// Norms are about 1, biases and routers about 0.
std::vector<float> random_values(const PlannedTensor& part, RandomStream& random) {
  const auto count = static_cast<std::size_t>(part.rows) * static_cast<std::size_t>(part.cols);
  const bool norm = part.section.ends_with("norm");
  return random.values(count, norm ? 1.0F : 0.0F, 0.1F);
}

}  // namespace

Result<BaseDigest> write_random_model(const ModelSpec& spec, std::uint64_t seed,
                                      const std::filesystem::path& destination,
                                      const ModelInfo& info) {
  if (auto checked = check_spec(spec); !checked) return checked.error();
  auto created = packed::Writer::create(destination, spec);
  if (!created) return created.error();
  packed::Writer& writer = **created;
  RandomStream random(seed);
  for (const PlannedTensor& part : planned_sections(spec)) {
    auto added = packed::is_matrix(part)
                     ? writer.add_matrix(part.section, random_matrix(part, random).view())
                     : writer.add_values(part.section, random_values(part, random));
    if (!added) return added.error();
  }
  return writer.finish(info);
}

}  // namespace tessera
