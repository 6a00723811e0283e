#include "engine/model/random_model.hpp"

#include <cmath>
#include <vector>

#include "engine/model/model_config.hpp"
#include "engine/model/packed_writer.hpp"
#include "kernels/bf16.hpp"
#include "kernels/nf4.hpp"

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

std::vector<Bf16> random_table(const ModelSpec& spec, RandomStream& random) {
  std::vector<Bf16> out(static_cast<std::size_t>(spec.vocab_size) *
                        static_cast<std::size_t>(spec.hidden));
  for (Bf16& value : out) value = float_to_bf16(random.next());
  return out;
}

Nf4Buffers random_matrix(LinearShape shape, RandomStream& random) {
  const auto count =
      static_cast<std::size_t>(shape.out_features) * static_cast<std::size_t>(shape.in_features);
  const float radius = std::sqrt(3.0F / static_cast<float>(shape.in_features));
  return quantize_nf4(random.values(count, 0.0F, radius), shape.out_features, shape.in_features);
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
  const auto hidden = static_cast<std::size_t>(spec.hidden);
  const auto add_values = [&](const std::string& section, std::size_t count, float center) {
    return writer.add(section, std::span<const float>(random.values(count, center, 0.1F)));
  };

  auto done = writer.add("embedding", std::span<const Bf16>(random_table(spec, random)));
  for (int i = 0; i < spec.num_layers(); ++i) {
    if (done) done = add_values(packed::layer_name(i, "attention_norm"), hidden, 1.0F);
    if (done) done = add_values(packed::layer_name(i, "mlp_norm"), hidden, 1.0F);
    for (const Linear linear : kAllLinears) {
      const LinearShape shape = spec.shape(linear);
      const std::string name = packed::layer_name(i, linear_name(linear));
      if (done) done = writer.add_matrix(name, random_matrix(shape, random));
      if (done && packed::has_bias(spec.layers[static_cast<std::size_t>(i)], linear)) {
        done = add_values(name + ".bias", static_cast<std::size_t>(shape.out_features), 0.0F);
      }
    }
  }
  if (done) done = add_values("final_norm", hidden, 1.0F);
  if (done && !spec.tied_embeddings) {
    done = writer.add("head", std::span<const Bf16>(random_table(spec, random)));
  }
  if (!done) return done.error();
  return writer.finish(info);
}

}  // namespace tessera
