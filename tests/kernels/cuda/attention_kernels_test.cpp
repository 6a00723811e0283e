// attention_kernels_test.cpp — paged attention's kernels against plain loops, at random shapes, and
// rows in one chunk against the same rows in others and alone (P2).
#include "kernels/cuda/attention_kernels.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <numeric>
#include <string>

#include <gtest/gtest.h>

#include "kernels/cuda/half.hpp"
#include "kernels/reference/reference_math.hpp"
#include "tests/kernels/cuda/device_arrays.hpp"
#include "tests/kernels/random_model.hpp"

namespace tessera {
namespace {

// Of an output, as a fraction of the head's largest; as the CPU backend's of a logit. Keys, values
// and what the kernel reads of them are the same numbers on both sides, so what is left is the
// weights' rounding to fp16.
constexpr double kTolerance = 1e-3;

struct Shape {
  int head_dim = 64;
  int num_kv_heads = 2;
  int group = 2;
  int block_size = 16;
  int window = 0;
  float softcap = 0.0F;
  KvForm form = KvForm::kF16;

  int num_heads() const { return num_kv_heads * group; }
};

// A sequence whose last `num_rows` positions are in the step.
struct Sequence {
  int num_positions;
  int num_rows;
};

// Keys and values of all sequences, as the kernel finds them and as numbers.
struct Cache {
  std::vector<std::uint8_t> elements;  // NaNs and nonsense where nothing was written
  std::vector<float> scales;
  std::vector<float> keys;  // [sequence][position][kv head][feature], all sequences' adjacent
  std::vector<float> values;
};

struct Case {
  Shape shape;
  std::vector<Sequence> sequences;
  std::vector<std::int32_t> blocks;
  std::vector<std::int32_t> block_indptr;
  int num_blocks = 0;
  Cache cache;
  std::vector<std::vector<float>> queries;  // of each sequence: (positions, heads, head_dim)

  int first_position(std::size_t seq) const {
    return std::accumulate(sequences.begin(), sequences.begin() + static_cast<std::ptrdiff_t>(seq),
                           0, [](int sum, const Sequence& s) { return sum + s.num_positions; });
  }
};

constexpr int kNumLayers = 2;
constexpr int kLayer = 1;

KvCache layout_of(const Case& drawn) {
  KvCache cache;
  cache.form = drawn.shape.form;
  cache.block_size = drawn.shape.block_size;
  cache.num_kv_heads = drawn.shape.num_kv_heads;
  cache.head_dim = drawn.shape.head_dim;
  set_block_rows(cache, kNumLayers, 256);
  return cache;
}

void write_row(Case& drawn, std::size_t row, const float* values, float* kept) {
  Cache& cache = drawn.cache;
  const auto dim = static_cast<std::size_t>(drawn.shape.head_dim);
  float largest = 0.0F;
  for (std::size_t i = 0; i < dim; ++i) largest = std::max(largest, std::abs(values[i]));
  const float scale = largest / 127.0F;
  if (drawn.shape.form == KvForm::kInt8) cache.scales[row] = scale;
  for (std::size_t i = 0; i < dim; ++i) {
    if (drawn.shape.form == KvForm::kInt8) {
      const auto integer = static_cast<std::int8_t>(std::nearbyint(values[i] / scale));
      cache.elements[row * dim + i] = static_cast<std::uint8_t>(integer);
      kept[i] = static_cast<float>(integer) * scale;
    } else {
      const std::uint16_t half = half_from_float(values[i]);
      std::memcpy(&cache.elements[(row * dim + i) * 2], &half, sizeof half);
      kept[i] = float_from_half(half);
    }
  }
}

void fill_cache(Random& random, Case& drawn) {
  KvCache layout = layout_of(drawn);
  const std::size_t rows = layout.row(0, drawn.num_blocks, KvCache::kKey, 0, 0);
  const auto dim = static_cast<std::size_t>(drawn.shape.head_dim);
  drawn.cache.elements.assign(rows * dim * layout.element_bytes(), kPoison);
  drawn.cache.scales.assign(rows, std::nanf(""));
  const auto per_position = static_cast<std::size_t>(drawn.shape.num_kv_heads) * dim;
  for (std::size_t seq = 0; seq < drawn.sequences.size(); ++seq) {
    for (int position = 0; position < drawn.sequences[seq].num_positions; ++position) {
      const auto values = normal_values(random, 2 * per_position, 1.0F);
      const std::size_t at = drawn.cache.keys.size();
      drawn.cache.keys.resize(at + per_position);
      drawn.cache.values.resize(at + per_position);
      const BlockId block = drawn.blocks[static_cast<std::size_t>(
          drawn.block_indptr[seq] + position / drawn.shape.block_size)];
      for (int head = 0; head < drawn.shape.num_kv_heads; ++head) {
        const std::size_t own = static_cast<std::size_t>(head) * dim;
        const int offset = position % drawn.shape.block_size;
        write_row(drawn, layout.row(kLayer, block, KvCache::kKey, head, offset),
                  values.data() + own, drawn.cache.keys.data() + at + own);
        write_row(drawn, layout.row(kLayer, block, KvCache::kValue, head, offset),
                  values.data() + per_position + own, drawn.cache.values.data() + at + own);
      }
    }
  }
}

Case make_case(std::uint32_t seed, const Shape& shape, std::vector<Sequence> sequences) {
  Random random(seed);
  Case drawn;
  drawn.shape = shape;
  drawn.sequences = std::move(sequences);
  drawn.block_indptr = {0};
  for (const Sequence& sequence : drawn.sequences) {
    drawn.num_blocks += (sequence.num_positions + shape.block_size - 1) / shape.block_size;
    drawn.block_indptr.push_back(drawn.num_blocks);
  }
  drawn.blocks.resize(static_cast<std::size_t>(drawn.num_blocks));
  std::iota(drawn.blocks.begin(), drawn.blocks.end(), 0);
  std::shuffle(drawn.blocks.begin(), drawn.blocks.end(), random);
  fill_cache(random, drawn);
  for (const Sequence& sequence : drawn.sequences) {
    const auto count =
        static_cast<std::size_t>(sequence.num_positions * shape.num_heads() * shape.head_dim);
    // Some queries are large: they are scaled to fp16's range.
    drawn.queries.push_back(normal_values(random, count, chance(random, 0.3) ? 40.0F : 1.0F));
  }
  return drawn;
}

float scale_of(const Shape& shape) {
  return 1.0F / std::sqrt(static_cast<float>(shape.head_dim));
}

// Attention of the step's rows: (rows, heads, head_dim), row r of sequence s behind those before.
std::vector<float> attend_on_device(const Case& drawn,
                                    AttentionWidth which = AttentionWidth::kChosen) {
  CudaStream stream;
  DeviceArrays arrays(stream);
  const Shape& shape = drawn.shape;
  const int width = shape.num_heads() * shape.head_dim;
  const int stride = width + 24;  // queries lie between other things
  std::vector<std::int32_t> positions;
  std::vector<std::int32_t> seq_indptr = {0};
  std::vector<float> queries;
  for (std::size_t seq = 0; seq < drawn.sequences.size(); ++seq) {
    const Sequence& sequence = drawn.sequences[seq];
    for (int i = 0; i < sequence.num_rows; ++i) {
      const int position = sequence.num_positions - sequence.num_rows + i;
      positions.push_back(position);
      const auto* from = drawn.queries[seq].data() + position * width;
      queries.insert(queries.end(), from, from + width);
      queries.resize(queries.size() + static_cast<std::size_t>(stride - width), std::nanf(""));
    }
    seq_indptr.push_back(static_cast<std::int32_t>(positions.size()));
  }
  AttentionParams params;
  const auto num_rows = static_cast<std::int32_t>(positions.size());
  const auto num_seqs = static_cast<std::int32_t>(drawn.sequences.size());
  params.step.counts = arrays.keep(std::vector<StepCounts>{{num_rows, num_seqs, 0}});
  params.step.positions = arrays.keep(positions);
  params.step.seq_indptr = arrays.keep(seq_indptr);
  params.step.blocks = arrays.keep(drawn.blocks);
  params.step.block_indptr = arrays.keep(drawn.block_indptr);
  params.cache = layout_of(drawn);
  DeviceBuffer<std::uint8_t> elements = to_device(stream, drawn.cache.elements);
  DeviceBuffer<float> scales = to_device(stream, drawn.cache.scales);
  params.cache.elements = reinterpret_cast<std::byte*>(elements.data());
  params.cache.scales = scales.data();
  params.limits = {num_rows, num_seqs, drawn.num_blocks * shape.block_size, shape.num_heads(),
                   shape.head_dim};
  params.layer = kLayer;
  params.window = shape.window;
  params.scale = scale_of(shape);
  params.softcap = shape.softcap;
  params.q = arrays.keep(queries);
  params.q_stride = stride;
  auto output = poisoned<float>(stream, static_cast<std::size_t>(num_rows * width));
  auto workspace = poisoned<std::byte>(stream, attention_workspace_bytes(params.limits));
  params.output = output.data();
  params.workspace = workspace.data();
  params.width = which;
  attend(stream, params, num_rows);
  return to_host(stream, output);
}

std::vector<float> attend_reference(const Case& drawn, std::size_t seq, int position, int head) {
  const Shape& shape = drawn.shape;
  const auto dim = static_cast<std::size_t>(shape.head_dim);
  const int begin = shape.window == 0 ? 0 : std::max(0, position + 1 - shape.window);
  const float* query = drawn.queries[seq].data() +
                       static_cast<std::size_t>(position * shape.num_heads() + head) * dim;
  const auto at = [&](int key) {
    return static_cast<std::size_t>((drawn.first_position(seq) + key) * shape.num_kv_heads +
                                    head / shape.group) *
           dim;
  };
  std::vector<float> weights;
  for (int key = begin; key <= position; ++key) {
    const double dot = reference::dot({query, dim}, {drawn.cache.keys.data() + at(key), dim});
    weights.push_back(
        reference::soft_cap(scale_of(shape) * static_cast<float>(dot), shape.softcap));
  }
  reference::softmax(weights);
  std::vector<float> output(dim);
  for (std::size_t i = 0; i < dim; ++i) {
    double sum = 0.0;
    for (int key = begin; key <= position; ++key) {
      sum += static_cast<double>(weights[static_cast<std::size_t>(key - begin)]) *
             static_cast<double>(drawn.cache.values[at(key) + i]);
    }
    output[i] = static_cast<float>(sum);
  }
  return output;
}

// The largest error of any row and head, as a fraction of the head's largest output.
double worst_error(const Case& drawn, const std::vector<float>& actual) {
  const auto dim = static_cast<std::size_t>(drawn.shape.head_dim);
  double worst = 0.0;
  std::size_t at = 0;
  for (std::size_t seq = 0; seq < drawn.sequences.size(); ++seq) {
    const Sequence& sequence = drawn.sequences[seq];
    for (int i = 0; i < sequence.num_rows; ++i) {
      const int position = sequence.num_positions - sequence.num_rows + i;
      for (int head = 0; head < drawn.shape.num_heads(); ++head, at += dim) {
        const auto expected = attend_reference(drawn, seq, position, head);
        double largest = 0.0;
        double error = 0.0;
        for (std::size_t k = 0; k < dim; ++k) {
          largest = std::max(largest, std::abs(static_cast<double>(expected[k])));
          const double difference =
              std::abs(static_cast<double>(actual[at + k]) - static_cast<double>(expected[k]));
          error = std::isnan(difference) ? 1e9 : std::max(error, difference);
        }
        worst = std::max(worst, error / largest);
      }
    }
  }
  return worst;
}

// The step with only the last `num_rows` rows of sequence `seq`, and nobody else.
Case alone(const Case& drawn, std::size_t seq, int num_positions, int num_rows) {
  Case one = drawn;
  one.sequences = {{num_positions, num_rows}};
  one.queries = {drawn.queries[seq]};
  one.block_indptr = {0, drawn.block_indptr[seq + 1] - drawn.block_indptr[seq]};
  one.blocks.assign(drawn.blocks.begin() + drawn.block_indptr[seq],
                    drawn.blocks.begin() + drawn.block_indptr[seq + 1]);
  return one;
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

class AttentionKernels : public testing::Test {
 protected:
  void SetUp() override {
    if (num_devices() == 0) GTEST_SKIP() << "no CUDA device on this machine";
  }
};

TEST_F(AttentionKernels, AgreeWithTheReferenceAtEveryHeadDimension) {
  double worst = 0.0;
  std::uint32_t seed = 1;
  for (const int head_dim : {8, 32, 64, 80, 96, 128, 200, 256}) {
    for (const KvForm form : {KvForm::kF16, KvForm::kInt8}) {
      SCOPED_TRACE("seed " + std::to_string(seed) + " head_dim " + std::to_string(head_dim));
      const Shape shape{.head_dim = head_dim, .num_kv_heads = 2, .group = 3, .form = form};
      const Case drawn = make_case(seed++, shape, {{37, 9}, {5, 1}, {1, 1}, {24, 24}});
      const double error = worst_error(drawn, attend_on_device(drawn));
      EXPECT_LE(error, kTolerance);
      worst = std::max(worst, error);
    }
  }
  std::printf("    worst error of a head's largest: %.2e\n", worst);
}

TEST_F(AttentionKernels, AgreeWithTheReferenceAtRandomShapes) {
  double worst = 0.0;
  for (std::uint32_t seed = 101; seed <= 112; ++seed) {
    Random random(seed);
    const int dims[] = {16, 64, 72, 128};
    Shape shape;
    shape.head_dim = dims[uniform(random, 0, 3)];
    shape.num_kv_heads = uniform(random, 1, 3);
    shape.group = uniform(random, 1, 9);
    shape.block_size = 1 << uniform(random, 0, 6);
    shape.window = chance(random, 0.5) ? uniform(random, 1, 60) : 0;
    shape.softcap = chance(random, 0.4) ? 5.0F : 0.0F;
    shape.form = chance(random, 0.4) ? KvForm::kInt8 : KvForm::kF16;
    std::vector<Sequence> sequences;
    for (int i = uniform(random, 1, 4); i > 0; --i) {
      const int positions = uniform(random, 1, 90);
      sequences.push_back({positions, chance(random, 0.5) ? 1 : uniform(random, 1, positions)});
    }
    SCOPED_TRACE("seed " + std::to_string(seed) + " head_dim " + std::to_string(shape.head_dim) +
                 " group " + std::to_string(shape.group) + " window " +
                 std::to_string(shape.window));
    const Case drawn = make_case(seed, shape, sequences);
    const double error = worst_error(drawn, attend_on_device(drawn));
    EXPECT_LE(error, kTolerance);
    worst = std::max(worst, error);
  }
  std::printf("    worst error of a head's largest: %.2e\n", worst);
}

// Chunks of prompts in tiles of sixty-four queries, whose keys and values four warps share.
TEST_F(AttentionKernels, TheWideTileAgreesWithTheReferenceAndHasTheBitsOfTheNarrow) {
  std::uint32_t seed = 201;
  double worst = 0.0;
  for (const int head_dim : {24, 64, 96, 128, 200}) {
    for (const KvForm form : {KvForm::kF16, KvForm::kInt8}) {
      for (const int window : {0, 37}) {
        const Shape shape{.head_dim = head_dim,
                          .num_kv_heads = 2,
                          .group = 3,
                          .block_size = seed % 2 == 0 ? 16 : 4,
                          .window = window,
                          .softcap = window == 0 ? 0.0F : 5.0F,
                          .form = form};
        // Four full tiles and part of a fifth; one query short of four; one row; a whole prompt.
        const Case drawn = make_case(seed++, shape, {{90, 25}, {63, 21}, {70, 1}, {24, 24}});
        SCOPED_TRACE("head_dim " + std::to_string(head_dim) + " window " + std::to_string(window));
        const auto wide = attend_on_device(drawn, AttentionWidth::kWide);
        const double error = worst_error(drawn, wide);
        EXPECT_LE(error, kTolerance);
        EXPECT_TRUE(same_bits(wide, attend_on_device(drawn, AttentionWidth::kNarrow)));
        worst = std::max(worst, error);
      }
    }
  }
  std::printf("    worst error of a head's largest: %.2e\n", worst);
}

TEST_F(AttentionKernels, TheWideTileHasTheBitsOfTheNarrowAcrossSplits) {
  for (const int window : {0, 300}) {
    const Shape shape{.head_dim = 32, .num_kv_heads = 1, .group = 4, .window = window};
    const Case drawn = make_case(8, shape, {{700, 33}, {530, 20}, {300, 40}, {257, 1}});
    const auto wide = attend_on_device(drawn, AttentionWidth::kWide);
    EXPECT_LE(worst_error(drawn, wide), kTolerance) << "window " << window;
    EXPECT_TRUE(same_bits(wide, attend_on_device(drawn, AttentionWidth::kNarrow)));
  }
}

TEST_F(AttentionKernels, AgreeWithTheReferenceAcrossSplits) {
  for (const int window : {0, 300}) {
    const Shape shape{.head_dim = 32, .num_kv_heads = 1, .group = 4, .window = window};
    const Case drawn = make_case(7, shape, {{700, 1}, {530, 2}, {513, 7}, {256, 1}, {257, 1}});
    EXPECT_LE(worst_error(drawn, attend_on_device(drawn)), kTolerance) << "window " << window;
  }
}

TEST_F(AttentionKernels, RowsAreTheSameBitsAloneInOtherChunksAndInEveryOrder) {
  for (const KvForm form : {KvForm::kF16, KvForm::kInt8}) {
    const Shape shape{.head_dim = 64, .num_kv_heads = 1, .group = 3, .window = 290, .form = form};
    const Case drawn = make_case(11, shape, {{530, 9}, {40, 1}, {300, 1}});
    const auto together = attend_on_device(drawn);
    in_every_order([&] { EXPECT_EQ(attend_on_device(drawn), together); });
    const auto width = static_cast<std::size_t>(shape.num_heads() * shape.head_dim);
    std::size_t row = 0;
    for (std::size_t seq = 0; seq < drawn.sequences.size(); ++seq) {
      const Sequence& sequence = drawn.sequences[seq];
      for (int i = 0; i < sequence.num_rows; ++i, ++row) {
        // Decoded by itself, and as the last of a chunk of two or three.
        for (const int rows : {1, 2 + i % 2}) {
          const int end = sequence.num_positions - sequence.num_rows + i + 1;
          if (rows > end) continue;
          const auto other = attend_on_device(alone(drawn, seq, end, rows));
          EXPECT_EQ(std::memcmp(other.data() + other.size() - width, together.data() + row * width,
                                width * sizeof(float)),
                    0)
              << "sequence " << seq << " row " << i << " in a chunk of " << rows;
        }
      }
    }
  }
}

}  // namespace
}  // namespace tessera
