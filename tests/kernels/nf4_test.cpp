#include "kernels/nf4.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <fstream>
#include <numeric>
#include <string>

#include <gtest/gtest.h>

namespace tessera {
namespace {

// One case of data/nf4_golden.bin (data/make_nf4_golden.py says what is in it).
struct Golden {
  int rows = 0;
  int cols = 0;
  std::vector<float> weights;
  std::vector<std::uint8_t> codes;  // empty if the weights are made by `hashed`
  std::vector<std::uint8_t> absmax_codes;
  std::vector<float> absmax_scales;
  float offset = 0.0F;
  std::vector<float> absmax;
};

template <class T>
void read(std::istream& in, std::vector<T>& values, std::size_t count) {
  values.resize(count);
  in.read(reinterpret_cast<char*>(values.data()), static_cast<std::streamsize>(count * sizeof(T)));
}

// The generator's `hashed`, bit for bit.
std::vector<float> hashed(int rows, int cols) {
  std::vector<float> weights(static_cast<std::size_t>(rows) * static_cast<std::size_t>(cols));
  for (std::size_t i = 0; i < weights.size(); ++i) {
    const auto word = static_cast<std::uint32_t>(i * 2654435761U);
    const float unit = static_cast<float>(word >> 8) / 8388608.0F - 1.0F;
    const std::size_t row = i / static_cast<std::size_t>(cols);
    weights[i] = unit * (static_cast<float>(1 + row % 97) / 128.0F);
  }
  return weights;
}

std::vector<Golden> read_goldens() {
  std::ifstream in(std::string(TESSERA_TEST_DIR) + "/data/nf4_golden.bin", std::ios::binary);
  std::vector<Golden> goldens;
  for (std::int32_t header[3]; in.read(reinterpret_cast<char*>(header), sizeof(header));) {
    Golden& golden = goldens.emplace_back();
    golden.rows = header[0];
    golden.cols = header[1];
    const auto size = static_cast<std::size_t>(golden.rows) * static_cast<std::size_t>(golden.cols);
    const std::size_t blocks = size / kNf4Block;
    if (header[2] == 1) {
      read(in, golden.weights, size);
      read(in, golden.codes, size / 2);
    } else {
      golden.weights = hashed(golden.rows, golden.cols);
    }
    read(in, golden.absmax_codes, blocks);
    read(in, golden.absmax_scales, (blocks + kAbsmaxBlock - 1) / kAbsmaxBlock);
    in.read(reinterpret_cast<char*>(&golden.offset), sizeof(golden.offset));
    read(in, golden.absmax, blocks);
  }
  return goldens;
}

std::vector<std::uint32_t> bits(const std::vector<float>& values) {
  std::vector<std::uint32_t> result(values.size());
  std::memcpy(result.data(), values.data(), values.size() * sizeof(float));
  return result;
}

class Nf4Golden : public testing::TestWithParam<int> {
 protected:
  static const Golden& golden() {
    static const std::vector<Golden> goldens = read_goldens();
    return goldens.at(static_cast<std::size_t>(GetParam()));
  }
};

constexpr int kNumGoldens = 8;

TEST(Nf4Goldens, AreAllThere) {
  EXPECT_EQ(read_goldens().size(), kNumGoldens);
}

TEST_P(Nf4Golden, QuantisesBitEqualToBitsandbytes) {
  const Nf4Buffers buffers = quantize_nf4(golden().weights, golden().rows, golden().cols);
  if (!golden().codes.empty()) {
    EXPECT_EQ(buffers.codes, golden().codes);
  }
  EXPECT_EQ(std::bit_cast<std::uint32_t>(buffers.offset),
            std::bit_cast<std::uint32_t>(golden().offset));
  EXPECT_EQ(bits(buffers.absmax_scales), bits(golden().absmax_scales));
  EXPECT_EQ(buffers.absmax_codes, golden().absmax_codes);
}

TEST_P(Nf4Golden, DecodesScalesBitEqualToBitsandbytes) {
  const Nf4Matrix matrix{golden().rows,
                         golden().cols,
                         golden().codes.data(),
                         golden().absmax_codes.data(),
                         golden().absmax_scales.data(),
                         golden().offset};
  std::vector<float> absmax(golden().absmax.size());
  decode_absmax(matrix, absmax);
  EXPECT_EQ(bits(absmax), bits(golden().absmax));
}

TEST_P(Nf4Golden, DequantisesToValueTimesScale) {
  const Nf4Buffers buffers = quantize_nf4(golden().weights, golden().rows, golden().cols);
  std::vector<float> weights(golden().weights.size());
  dequantize_nf4(buffers.view(), weights);
  for (std::size_t i = 0; i < weights.size(); ++i) {
    const int shift = i % 2 == 0 ? 4 : 0;
    const float value = kNf4Values[static_cast<std::size_t>(buffers.codes[i / 2] >> shift) & 15U];
    ASSERT_EQ(weights[i], value * golden().absmax[i / kNf4Block]) << "weight " << i;
  }
}

INSTANTIATE_TEST_SUITE_P(Bitsandbytes, Nf4Golden, testing::Range(0, kNumGoldens));

TEST(Nf4, ValuesAscendAndHoldAnExactZero) {
  EXPECT_TRUE(std::is_sorted(kNf4Values.begin(), kNf4Values.end()));
  EXPECT_EQ(kNf4Values[7], 0.0F);
}

TEST(Nf4, DynamicMapIsStrictlyAscendingFromMinusToOne) {
  EXPECT_EQ(std::adjacent_find(kDynamicMap.begin(), kDynamicMap.end(), std::greater_equal<>()),
            kDynamicMap.end());
  EXPECT_EQ(kDynamicMap.back(), 1.0F);
}

TEST(Nf4, AnEmptyMatrixIsQuantisedToNothing) {
  const Nf4Buffers buffers = quantize_nf4({}, 0, 64);
  EXPECT_TRUE(buffers.codes.empty());
  EXPECT_TRUE(buffers.absmax_scales.empty());
}

}  // namespace
}  // namespace tessera
