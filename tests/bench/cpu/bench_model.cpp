#include "tests/bench/cpu/bench_model.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <span>

namespace tessera {
namespace {

constexpr float kNf4Deviation = 0.6F;  // of kNf4Values, each as likely as another

// SplitMix64 (Steele, Lea, Flood, 2014): a gigabyte of bits in a fraction of a second.
class RandomWords {
 public:
  explicit RandomWords(std::uint64_t seed) : state_(seed) {}

  std::uint64_t next() {
    std::uint64_t z = (state_ += 0x9E3779B97F4A7C15U);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9U;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBU;
    return z ^ (z >> 31);
  }

  // Fills `bytes` with random bits of which `keep` are kept and `set` are set.
  void fill(std::span<std::byte> bytes, std::uint64_t keep = ~std::uint64_t{0},
            std::uint64_t set = 0) {
    for (std::size_t i = 0; i < bytes.size(); i += sizeof(std::uint64_t)) {
      const std::uint64_t word = (next() & keep) | set;
      std::memcpy(&bytes[i], &word, std::min(sizeof(word), bytes.size() - i));
    }
  }

 private:
  std::uint64_t state_;
};

// Signed values between 1/128 and 1/64: sign and mantissa are random, the exponent is not.
void fill_values(RandomWords& random, PageType type, std::span<std::byte> bytes) {
  if (type == PageType::kF32) {
    random.fill(bytes, 0x807FFFFF'807FFFFFU, 0x3C000000'3C000000U);
  } else {
    random.fill(bytes, 0x807F807F'807F807FU, 0x3C003C00'3C003C00U);
  }
}

Nf4Buffers random_matrix(RandomWords& random, LinearShape shape) {
  const auto size =
      static_cast<std::size_t>(shape.out_features) * static_cast<std::size_t>(shape.in_features);
  const std::size_t blocks = size / kNf4Block;
  const float scale = 1.0F / (kNf4Deviation * std::sqrt(static_cast<float>(shape.in_features)));
  Nf4Buffers matrix;
  matrix.rows = shape.out_features;
  matrix.cols = shape.in_features;
  matrix.codes.resize(size / 2);
  random.fill(std::as_writable_bytes(std::span(matrix.codes)));
  matrix.absmax_codes.resize(blocks);
  random.fill(std::as_writable_bytes(std::span(matrix.absmax_codes)));
  matrix.absmax_scales.assign((blocks + kAbsmaxBlock - 1) / kAbsmaxBlock, 0.3F * scale);
  matrix.offset = scale;
  return matrix;
}

// Elements of a module's pages for each of its inputs, or outputs.
std::size_t padded_rank(int rank) {
  return static_cast<std::size_t>(pages_of_rank(rank)) * kRanksPerPage;
}

}  // namespace

BenchModel::BenchModel(const ModelSpec& spec)
    : norm_(static_cast<std::size_t>(spec.hidden), 1.0F),
      bias_(static_cast<std::size_t>(spec.q_dim()), 0.1F) {
  RandomWords random(1);
  embedding_.resize(static_cast<std::size_t>(spec.vocab_size) *
                    static_cast<std::size_t>(spec.hidden));
  fill_values(random, PageType::kBf16, std::as_writable_bytes(std::span(embedding_)));
  weights_.spec = spec;
  weights_.embedding = weights_.head = bf16_matrix(embedding_.data(), spec.vocab_size, spec.hidden);
  weights_.final_norm = norm_.data();
  for (const LayerSpec& layer_spec : spec.layers) {
    LayerWeights& layer = weights_.layers.emplace_back();
    layer.attention_norm = layer.mlp_norm = norm_.data();
    for (const Linear linear : kAllLinears) {
      if (layer_spec.has_bias(linear)) {
        layer.biases[static_cast<std::size_t>(linear)] = bias_.data();
      }
    }
    for (const Linear linear : kAllLinears) {
      matrices_.push_back(random_matrix(random, spec.shape(linear)));
      layer.linears[static_cast<std::size_t>(linear)] = nf4_matrix(matrices_.back().view());
    }
  }
}

BenchAdapter::BenchAdapter(const ModelSpec& spec, int rank, PageType type) {
  std::size_t features = 0;
  for (const Linear linear : kAllLinears) {
    const LinearShape shape = spec.shape(linear);
    features +=
        static_cast<std::size_t>(shape.in_features) + static_cast<std::size_t>(shape.out_features);
  }
  const std::size_t feature_bytes = padded_rank(rank) * element_bytes(type);
  pages_.resize(features * spec.layers.size() * feature_bytes / sizeof(CacheLine));
  RandomWords random(2);
  fill_values(random, type, std::as_writable_bytes(std::span(pages_)));

  const auto* next = reinterpret_cast<const std::byte*>(pages_.data());
  view_.type = type;
  view_.layers.resize(spec.layers.size());
  for (auto& modules : view_.layers) {
    for (const Linear linear : kAllLinears) {
      const LinearShape shape = spec.shape(linear);
      LoraModule& module = modules[static_cast<std::size_t>(linear)];
      module.rank = rank;
      module.a = next;
      next += static_cast<std::size_t>(shape.in_features) * feature_bytes;
      module.b = next;
      next += static_cast<std::size_t>(shape.out_features) * feature_bytes;
    }
  }
}

}  // namespace tessera
