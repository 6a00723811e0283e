// window_attention_test.cpp — attention over a window, with or without a cap, on each path against
// its definition in fp64, of keys and values that fp16 holds exactly; and the cost of a window.
#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/backend.hpp"
#include "kernels/cpu/cpu_path.hpp"
#include "kernels/cpu/kv_layout.hpp"
#include "tests/kernels/random_model.hpp"

namespace tessera {
namespace {

struct Shape {
  int head_dim;
  int group;
  int block_size;
  int window;
  int first_position;
  int num_rows;
  float softcap;
};

// A sequence's keys and values, and the queries of its last rows.
class Attention {
 public:
  Attention(Random& random, const Shape& shape, const KernelTable& kernels)
      : shape_(shape),
        kernels_(kernels),
        layout_(make_kv_layout(shape.head_dim, 1, shape.block_size, num_blocks(), KvForm::kF16)),
        cache_(layout_.layer_bytes, std::byte{0x7E}),  // NaNs, where nothing is written
        blocks_(static_cast<std::size_t>(num_blocks())),
        queries_(
            normal_values(random, row_floats() * static_cast<std::size_t>(shape.num_rows), 1.0F)) {
    std::iota(blocks_.begin(), blocks_.end(), 0);
    std::shuffle(blocks_.begin(), blocks_.end(), random);
    for (int position = 0; position < context(); ++position) {
      keys_.push_back(halves(random));
      values_.push_back(halves(random));
      // Before every row's window the cache holds poison.
      if (shape.window > 0 && position < shape.first_position + 1 - shape.window) continue;
      const auto block =
          static_cast<std::size_t>(blocks_[static_cast<std::size_t>(position / shape.block_size)]);
      kernels.store_kv(layout_, keys_.back().data(), values_.back().data(),
                       cache_.data() + block * layout_.block_bytes, position % shape.block_size);
    }
  }

  // (rows; group, head_dim), of rows [first, first + count) as one task, whole or by parts.
  std::vector<float> attend(int first, int count, bool by_parts) {
    std::vector<float> output(row_floats() * static_cast<std::size_t>(count));
    const int position = shape_.first_position + first;
    const AttendTask task{
        .query = {queries_.data() + row_floats() * static_cast<std::size_t>(first), row_floats()},
        .output = {output.data(), row_floats()},
        .layer = cache_.data(),
        .blocks = blocks_.data(),
        .first_position = position,
        .num_rows = count,
        .group = shape_.group,
        .kv_head = 0,
        .scale = 0.2F,
        .softcap = shape_.softcap,
        .window = shape_.window};
    if (!by_parts) {
      kernels_.attend(layout_, task);
      return output;
    }
    const int first_part =
        shape_.window == 0 ? 0 : std::max(0, position + 1 - shape_.window) / kAttentionSplit;
    const int end = (position + count - 1) / kAttentionSplit + 1;
    std::vector<float> records(layout_.record_floats *
                               static_cast<std::size_t>((end - first_part) * count * shape_.group));
    for (int part = first_part; part < end; ++part) {
      kernels_.attend_parts(layout_, task, part, part + 1, records.data());
    }
    kernels_.join_parts(layout_, task, records.data());
    return output;
  }

  // One row's, by definition.
  std::vector<double> exact(int row) const {
    const int end = shape_.first_position + row + 1;
    const int begin = shape_.window == 0 ? 0 : std::max(0, end - shape_.window);
    std::vector<double> output;
    for (int head = 0; head < shape_.group; ++head) {
      const float* query =
          queries_.data() + row_floats() * static_cast<std::size_t>(row) + head * shape_.head_dim;
      std::vector<double> sums(static_cast<std::size_t>(shape_.head_dim));
      double total = 0.0;
      for (int position = begin; position < end; ++position) {
        const double weight = std::exp(score(query, position));
        total += weight;
        for (std::size_t i = 0; i < sums.size(); ++i) {
          sums[i] += weight * static_cast<double>(values_[static_cast<std::size_t>(position)][i]);
        }
      }
      for (const double sum : sums) output.push_back(sum / total);
    }
    return output;
  }

  std::size_t row_floats() const {
    return static_cast<std::size_t>(shape_.group * shape_.head_dim);
  }

 private:
  int context() const { return shape_.first_position + shape_.num_rows; }
  int num_blocks() const { return (context() + shape_.block_size - 1) / shape_.block_size; }

  std::vector<float> halves(Random& random) const {
    std::vector<float> values(static_cast<std::size_t>(shape_.head_dim));
    for (float& value : values) value = static_cast<float>(uniform(random, -1024, 1024)) / 512.0F;
    return values;
  }
  double score(const float* query, int position) const {
    double sum = 0.0;
    for (std::size_t i = 0; i < static_cast<std::size_t>(shape_.head_dim); ++i) {
      sum += static_cast<double>(query[i]) *
             static_cast<double>(keys_[static_cast<std::size_t>(position)][i]);
    }
    const double scaled = 0.2 * sum;
    const auto cap = static_cast<double>(shape_.softcap);
    return shape_.softcap == 0.0F ? scaled : cap * std::tanh(scaled / cap);
  }

  const Shape shape_;
  const KernelTable& kernels_;
  KvLayout layout_;
  std::vector<std::byte> cache_;
  std::vector<std::int32_t> blocks_;
  std::vector<float> queries_;
  std::vector<std::vector<float>> keys_;
  std::vector<std::vector<float>> values_;
};

class WindowAttention : public testing::TestWithParam<CpuPath> {
 protected:
  void SetUp() override {
    if (!machine_has(GetParam())) GTEST_SKIP() << "this machine has no such path";
  }

  static void expect_exact(std::uint32_t seed, const Shape& shape) {
    SCOPED_TRACE(testing::Message()
                 << "seed " << seed << " head_dim " << shape.head_dim << " group " << shape.group
                 << " block " << shape.block_size << " window " << shape.window << " first "
                 << shape.first_position << " rows " << shape.num_rows << " cap " << shape.softcap);
    Random random(seed);
    Attention attention(random, shape, kernels_of(GetParam()));
    const auto together = attention.attend(0, shape.num_rows, false);
    EXPECT_EQ(attention.attend(0, shape.num_rows, true), together) << "by parts";
    for (int row = 0; row < shape.num_rows; ++row) {
      const auto first =
          together.begin() + static_cast<std::ptrdiff_t>(attention.row_floats()) * row;
      const std::vector<float> actual(first,
                                      first + static_cast<std::ptrdiff_t>(attention.row_floats()));
      EXPECT_EQ(attention.attend(row, 1, row % 2 == 0), actual) << "row " << row << " alone";
      const auto exact = attention.exact(row);
      for (std::size_t i = 0; i < exact.size(); ++i) {
        ASSERT_NEAR(static_cast<double>(actual[i]), exact[i], 1e-5) << row << " " << i;
      }
    }
  }
};

TEST_P(WindowAttention, IsExactWhereverItsBordersFall) {
  std::uint32_t seed = 1;
  for (const int window : {1, 2, 15, 16, 17, 32, 33, 64}) {
    for (const int first : {0, 8, 24, 248, 264}) {
      expect_exact(++seed, {16, 3, 16, window, first, 8, 0.0F});
    }
  }
}

TEST_P(WindowAttention, IsExactAcrossParts) {
  std::uint32_t seed = 100;
  for (const int window : {248, 255, 256, 257, 260, 264, 500, 512, 600}) {
    for (const int first : {248, 256, 504, 512, 760, 768}) {
      expect_exact(++seed, {24, 2, 32, window, first, 8, 0.0F});
    }
  }
}

TEST_P(WindowAttention, IsExactForEveryHeadSizeThatModelsHave) {
  for (const int head_dim : {64, 80, 96, 112, 128, 256}) {
    for (const float softcap : {0.0F, 50.0F, 2.0F}) {
      for (const int window : {0, 100}) {
        expect_exact(static_cast<std::uint32_t>(head_dim),
                     {head_dim, 4, 16, window, 296, 8, softcap});
      }
    }
  }
}

TEST_P(WindowAttention, IsExactForRandomShapes) {
  for (std::uint32_t seed = 1000; seed < 1040; ++seed) {
    Random random(seed);
    const int group = uniform(random, 1, 40);
    int rows = 1;
    while (2 * rows * group <= kMaxQueries) rows *= 2;
    const int head_dim = 8 * uniform(random, 1, 8);
    const int first = rows * uniform(random, 0, 640 / rows);
    const int window = chance(random, 0.8) ? uniform(random, 1, 600) : 0;
    expect_exact(seed, {head_dim, group, 1 << uniform(random, 2, 8), window, first,
                        uniform(random, 1, rows), chance(random, 0.5) ? 5.0F : 0.0F});
  }
}

std::string path_name(const testing::TestParamInfo<CpuPath>& test) {
  constexpr const char* kNames[] = {"portable", "avx2", "avx512"};
  return kNames[static_cast<std::size_t>(test.param)];
}

INSTANTIATE_TEST_SUITE_P(Paths, WindowAttention,
                         testing::Values(CpuPath::kPortable, CpuPath::kAvx2, CpuPath::kAvx512),
                         path_name);

}  // namespace
}  // namespace tessera
