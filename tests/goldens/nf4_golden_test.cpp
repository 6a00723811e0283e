// nf4_golden_test.cpp — our NF4 against bitsandbytes', bit for bit.
//
// Random matrices (data/nf4.safetensors) are quantised by quantize_nf4(); the demo model's matrices
// are read back from the packed file that quantize_model() writes, so the whole way from a bf16
// checkpoint to the served file is covered. Floats are compared as bits.
#include <bit>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/nf4.hpp"
#include "storage/digest.hpp"
#include "tests/goldens/goldens.hpp"

namespace tessera {
namespace {

std::vector<std::uint32_t> bits(std::span<const float> values) {
  std::vector<std::uint32_t> result;
  for (const float value : values) result.push_back(std::bit_cast<std::uint32_t>(value));
  return result;
}

template <class T>
std::string sha256_hex(std::span<const T> values) {
  return to_hex(std::span<const std::uint8_t>(sha256(std::as_bytes(values))));
}

template <class Matrix>
std::size_t num_weights(const Matrix& matrix) {
  return static_cast<std::size_t>(matrix.rows) * static_cast<std::size_t>(matrix.cols);
}

std::vector<float> decoded_absmax(const Nf4Matrix& matrix) {
  std::vector<float> absmax(num_weights(matrix) / kNf4Block);
  decode_absmax(matrix, absmax);
  return absmax;
}

TEST(Nf4Golden, RandomMatricesAreQuantisedAsBitsandbytesDoes) {
  const goldens::Tensors golden(goldens::kData / "nf4.safetensors");
  const auto descriptions = goldens::read_json(goldens::kData / "nf4.json");
  ASSERT_FALSE(descriptions.at("random").empty());
  for (const auto& described : descriptions.at("random")) {
    const std::string name = described.at("name");
    SCOPED_TRACE(name);
    const int rows = golden.dimension(name + ".input", 0);
    const int cols = golden.dimension(name + ".input", 1);
    const auto ours = quantize_nf4(golden.values<float>(name + ".input"), rows, cols);

    EXPECT_EQ(ours.codes, golden.values<std::uint8_t>(name + ".codes"));
    EXPECT_EQ(ours.absmax_codes, golden.values<std::uint8_t>(name + ".absmax_codes"));
    EXPECT_EQ(bits(ours.absmax_scales), bits(golden.values<float>(name + ".absmax_scales")));
    EXPECT_EQ(bits({&ours.offset, 1}), bits(golden.values<float>(name + ".offset")));
    EXPECT_EQ(bits(decoded_absmax(ours.view())), bits(golden.values<float>(name + ".absmax")));

    std::vector<float> weights(num_weights(ours.view()));
    dequantize_nf4(ours.view(), weights);
    EXPECT_EQ(sha256_hex<float>(weights), described.at("weights_sha256"));
  }
}

std::vector<float> decoded_scales(const WeightMatrix& matrix) {
  std::vector<float> scales(num_weights(matrix) / kNf4Block);
  decode_scales(matrix, 0, matrix.rows, scales);
  return scales;
}

// "model.layers.3.mlp.up_proj.weight" in the packed model.
const WeightMatrix& matrix_called(const ModelWeights& weights, const std::string& name) {
  const std::string prefix = "model.layers.";
  const auto layer = static_cast<std::size_t>(std::stoi(name.substr(prefix.size())));
  for (const Linear linear : kAllLinears) {
    if (name.find("." + std::string(linear_name(linear)) + ".") != name.npos) {
      return weights.layers.at(layer).linears.at(static_cast<std::size_t>(linear));
    }
  }
  throw std::runtime_error("no matrix " + name);
}

TEST(Nf4Golden, ThePackedDemoHoldsWhatBitsandbytesMakesOfItsWeights) {
  const auto demo = goldens::pack_model(goldens::kDemo / "base");
  const auto described = goldens::read_json(goldens::kData / "nf4.json").at("demo");
  EXPECT_EQ(described.size(), demo->weights().layers.size() * kNumLinears);
  for (const auto& golden : described) {
    SCOPED_TRACE(golden.at("name").get<std::string>());
    const WeightMatrix& matrix = matrix_called(demo->weights(), golden.at("name"));
    const std::size_t blocks = num_weights(matrix) / kNf4Block;
    const std::size_t groups = (blocks + kAbsmaxBlock - 1) / kAbsmaxBlock;
    EXPECT_EQ(sha256_hex<std::uint8_t>({matrix.codes, num_weights(matrix) / 2}),
              golden.at("codes"));
    EXPECT_EQ(sha256_hex<std::uint8_t>({matrix.absmax_codes, blocks}), golden.at("absmax_codes"));
    EXPECT_EQ(sha256_hex<float>({matrix.absmax_scales, groups}), golden.at("absmax_scales"));
    EXPECT_EQ(sha256_hex<float>({&matrix.absmax_offset, 1}), golden.at("offset"));
    EXPECT_EQ(sha256_hex<float>(decoded_scales(matrix)), golden.at("absmax"));
  }
}

}  // namespace
}  // namespace tessera
