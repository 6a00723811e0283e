// model_sources_test.cpp — every format's tensors have the values that its own code reads from
// them.
//
// The files in data/sources are made by data/make_source_goldens.py, which says with what.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "adapters/tensor_values.hpp"
#include "engine/model/gguf_blocks.hpp"
#include "engine/model/gguf_file.hpp"
#include "engine/model/safetensors_source.hpp"
#include "kernels/quantisers.hpp"

namespace tessera {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

const fs::path kSources = fs::path(TESSERA_TEST_DIR) / "data" / "sources";

std::string read_whole(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  EXPECT_TRUE(in) << path;
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

// A checkpoint of one format with what its reference reads from it.
struct Golden {
  explicit Golden(const std::string& name) : text(read_whole(kSources / (name + ".safetensors"))) {
    auto parsed = parse_safetensors(std::as_bytes(std::span(text)));
    EXPECT_TRUE(parsed);
    for (StoredTensor& tensor : parsed->tensors) {
      const std::string full = tensor.name;
      if (full.starts_with("expected.")) {
        expected[full.substr(9)] = read_values(tensor);
      } else if (full.starts_with("source.")) {
        weights[full.substr(7)] = read_values(tensor);
      } else {
        raw.emplace(full, std::move(tensor));
      }
    }
  }

  std::string text;
  RawTensors raw;
  std::map<std::string, std::vector<float>> expected;
  std::map<std::string, std::vector<float>> weights;  // that were quantised
};

std::vector<float> read_all(const TensorSource& source) {
  std::vector<float> values(static_cast<std::size_t>(source.rows() * source.cols()));
  EXPECT_TRUE(source.read(0, values));
  return values;
}

std::vector<float> take_all(const TensorSource& source) {
  std::vector<float> values(static_cast<std::size_t>(source.rows() * source.cols()));
  const auto taken = source.take(0, static_cast<int>(source.rows()));
  EXPECT_TRUE(taken);
  if (taken) dequantize(taken->view(), values);
  return values;
}

// Some of the rows must be those rows of the whole.
void expect_slices(const TensorSource& source, const std::vector<float>& whole) {
  const auto cols = static_cast<std::size_t>(source.cols());
  for (std::int64_t row = 0; row + 2 <= source.rows(); ++row) {
    const auto first = whole.begin() + row * source.cols();
    const std::vector<float> expected(first, first + 2 * source.cols());
    std::vector<float> values(2 * cols);
    ASSERT_TRUE(source.read(row, values));
    EXPECT_EQ(values, expected) << "row " << row;
    const auto taken = source.take(row, 2);
    if (!taken) continue;
    dequantize(taken->view(), values);
    EXPECT_EQ(values, expected) << "row " << row;
  }
}

// Checks every module of a file; those in `not_taken` have a layout that WeightMatrix lacks.
void expect_golden(const Golden& golden, const CheckpointForm& form,
                   const std::vector<std::string>& not_taken = {}) {
  auto sources = make_safetensors_sources(golden.raw, form);
  ASSERT_TRUE(sources) << sources.error().message;
  EXPECT_EQ(sources->size(), golden.expected.size());
  for (const auto& [name, expected] : golden.expected) {
    SCOPED_TRACE(name);
    const auto found = sources->find(name + ".weight");
    ASSERT_NE(found, sources->end());
    const TensorSource& source = *found->second;
    EXPECT_TRUE(source.is_quantised());
    EXPECT_EQ(read_all(source), expected);
    const bool taken = std::ranges::find(not_taken, name) == not_taken.end();
    EXPECT_EQ(source.take(0, 1).has_value(), taken);
    if (taken) {
      EXPECT_EQ(take_all(source), expected);
    }
    expect_slices(source, expected);
  }
}

TEST(ModelSources, BitsandbytesIsReadAsBitsandbytesReadsIt) {
  expect_golden(Golden("bitsandbytes"), {.name = "bitsandbytes"}, {"odd_blocks"});
}

TEST(ModelSources, BitsandbytesCodesAreTakenUnchangedAndNestedScalesStayNested) {
  const Golden golden("bitsandbytes");
  auto sources = make_safetensors_sources(golden.raw, {.name = "bitsandbytes"});
  ASSERT_TRUE(sources);
  const auto taken = sources->at("nf4_nested.weight")->take(0, 66);
  ASSERT_TRUE(taken);
  const auto codes = golden.raw.at("nf4_nested.weight").bytes;
  EXPECT_TRUE(std::ranges::equal(std::as_bytes(std::span(taken->codes)), codes));
  EXPECT_EQ(taken->absmax_scales.size(), 2U);
  EXPECT_TRUE(taken->scales.empty());
  // Row 1 begins within a block of scales.
  const auto part = sources->at("nf4_nested.weight")->take(1, 2);
  ASSERT_TRUE(part);
  EXPECT_EQ(part->scales.size(), 8U);
}

TEST(ModelSources, OurQuantisersGiveTheCodesOfBitsandbytes) {
  const Golden golden("bitsandbytes");
  const std::pair<const char*, QuantForm> cases[] = {{"nf4_plain", QuantForm::kNf4Plain},
                                                     {"fp4_plain", QuantForm::kFp4}};
  for (const auto& [name, form] : cases) {
    SCOPED_TRACE(name);
    const std::string module = name;
    const WeightBuffers ours = quantize_matrix(form, golden.weights.at(module), 8, 128);
    EXPECT_TRUE(std::ranges::equal(std::as_bytes(std::span(ours.codes)),
                                   golden.raw.at(module + ".weight").bytes));
    std::vector<float> values(golden.weights.at(module).size());
    dequantize(ours.view(), values);
    EXPECT_EQ(values, golden.expected.at(module));
  }
}

TEST(ModelSources, GptqIsReadByItsLayout) {
  Golden golden("gptq");
  Golden second("gptq");
  std::erase_if(golden.raw, [](const auto& entry) { return entry.first.starts_with("v2."); });
  golden.expected.erase("v2");
  expect_golden(golden, {.name = "gptq"}, {"uneven"});
  std::erase_if(second.raw, [](const auto& entry) { return !entry.first.starts_with("v2."); });
  std::erase_if(second.expected, [](const auto& entry) { return entry.first != "v2"; });
  expect_golden(second, {.name = "gptq", .zeros_less_one = false});
}

TEST(ModelSources, GptqKeepsActOrderAndLeavesOffsetsOutWhereItIsSymmetric) {
  const Golden golden("gptq");
  auto sources = make_safetensors_sources(golden.raw, {.name = "gptq"});
  ASSERT_TRUE(sources);
  const auto symmetric = sources->at("sym_g32.weight")->take(0, 16);
  ASSERT_TRUE(symmetric);
  EXPECT_TRUE(symmetric->offsets.empty());
  EXPECT_TRUE(symmetric->order.empty());
  EXPECT_EQ(symmetric->book, kSignedInt4Values);
  const auto ordered = sources->at("order_g32.weight")->take(0, 16);
  ASSERT_TRUE(ordered);
  EXPECT_EQ(ordered->order.size(), 128U);
  EXPECT_TRUE(is_permutation(ordered->order));
  EXPECT_EQ(ordered->offsets.size(), 64U);
}

TEST(ModelSources, AwqIsReadAsAutoAwqReadsIt) {
  expect_golden(Golden("awq"), {.name = "awq"});
}

TEST(ModelSources, CompressedTensorsIsReadAsCompressedTensorsReadsIt) {
  expect_golden(Golden("compressed"), {.name = "compressed-tensors"});
}

TEST(ModelSources, Fp8IsReadAsTorchReadsIt) {
  expect_golden(Golden("fp8"), {.name = "fp8"}, {"blocks", "channel", "tensor"});
}

TEST(ModelSources, GgufBlocksAreReadAsGgufReadsThem) {
  const std::string text = read_whole(kSources / "blocks.gguf");
  auto file = parse_gguf(std::as_bytes(std::span(text)));
  ASSERT_TRUE(file) << file.error().message;
  EXPECT_EQ(file->integer("test.u32"), 7);
  EXPECT_EQ(*file->strings("test.strings"), (GgufStrings{"a", "", "b c"}));
  const Golden golden("blocks");
  EXPECT_EQ(file->tensors.size(), golden.expected.size());
  for (const auto& [name, expected] : golden.expected) {
    SCOPED_TRACE(name);
    const GgufTensor* tensor = file->find(name);
    ASSERT_NE(tensor, nullptr);
    const auto source = make_gguf_source(*tensor, {4, 512}, 0, {});
    EXPECT_EQ(source->form(), name);
    EXPECT_EQ(read_all(*source), expected);
    if (source->is_quantised()) {
      EXPECT_EQ(take_all(*source), expected);
    }
    expect_slices(*source, expected);
  }
}

TEST(ModelSources, PairedRowsAreReadInTheOrderOfHalves) {
  // llama.cpp stores row 2i + t of a head where Hugging Face has row t * half + i.
  const RowOrder order{.head_dim = 8};
  const std::vector<std::int64_t> expected = {0, 2, 4, 6, 1, 3, 5, 7, 8, 10, 12, 14, 9, 11, 13, 15};
  for (std::size_t row = 0; row < expected.size(); ++row) {
    EXPECT_EQ(order.stored_row(static_cast<std::int64_t>(row)), expected[row]);
  }
}

TEST(ModelSources, ModulesThatAreStoredPlainlyStayPlain) {
  Golden golden("awq");
  const std::vector<float> plain(128 * 24, 0.5F);
  golden.raw["lm_head.weight"] = {.name = "lm_head.weight",
                                  .dtype = Dtype::kF32,
                                  .shape = {24, 128},
                                  .bytes = std::as_bytes(std::span(plain))};
  auto sources = make_safetensors_sources(golden.raw, {.name = "awq"});
  ASSERT_TRUE(sources);
  EXPECT_FALSE(sources->at("lm_head.weight")->is_quantised());
  EXPECT_EQ(sources->at("lm_head.weight")->form(), "F32");
}

// One tensor of a module at a time: gone, of another dtype, of another shape.
void expect_damage_is_refused(const std::string& name, const CheckpointForm& form) {
  const Golden golden(name);
  for (const auto& [tensor_name, tensor] : golden.raw) {
    SCOPED_TRACE(tensor_name);
    const auto refused = [&](const RawTensors& raw) {
      auto sources = make_safetensors_sources(raw, form);
      if (sources) return;  // what is left is a checkpoint too, without that module
      EXPECT_EQ(sources.error().message.find('\n'), std::string::npos);
      EXPECT_NE(sources.error().message.find("tensor "), std::string::npos);
    };
    RawTensors raw = golden.raw;
    raw.erase(tensor_name);
    refused(raw);
    raw = golden.raw;
    raw[tensor_name].dtype = tensor.dtype == Dtype::kF64 ? Dtype::kU8 : Dtype::kF64;
    refused(raw);
    raw = golden.raw;
    raw[tensor_name].shape.push_back(1);
    refused(raw);
    if (tensor.shape.empty() || tensor.shape[0] < 2) continue;
    raw = golden.raw;
    const auto half = tensor.shape[0] / 2;
    raw[tensor_name].bytes =
        tensor.bytes.first(tensor.bytes.size() / static_cast<std::size_t>(tensor.shape[0]) *
                           static_cast<std::size_t>(half));
    raw[tensor_name].shape[0] = half;
    refused(raw);
  }
}

TEST(ModelSources, TensorsThatDoNotFitEachOtherAreRefusedInOneLine) {
  expect_damage_is_refused("bitsandbytes", {.name = "bitsandbytes"});
  expect_damage_is_refused("gptq", {.name = "gptq"});
  expect_damage_is_refused("awq", {.name = "awq"});
  expect_damage_is_refused("compressed", {.name = "compressed-tensors"});
  expect_damage_is_refused("fp8", {.name = "fp8"});
}

TEST(ModelSources, AGroupIndexOutsideOfTheGroupsIsRefused) {
  Golden golden("gptq");
  std::vector<std::int32_t> wild(128, 99);
  golden.raw.at("order_g32.g_idx").bytes = std::as_bytes(std::span(wild));
  auto sources = make_safetensors_sources(golden.raw, {.name = "gptq"});
  ASSERT_FALSE(sources);
  EXPECT_NE(sources.error().message.find("g_idx"), std::string::npos) << sources.error().message;
}

TEST(CheckpointForms, WhatIsNotSupportedIsRefusedByTheNameOfItsField) {
  const std::pair<Json, std::string> refused[] = {
      {{{"quant_method", "hqq"}}, "quantization_config.quant_method"},
      {{{"quant_method", "bitsandbytes"}, {"load_in_8bit", true}},
       "quantization_config.load_in_8bit"},
      {{{"quant_method", "awq"}, {"version", "gemv"}}, "quantization_config.version"},
      {{{"quant_method", "gptq"}, {"checkpoint_format", "marlin"}},
       "quantization_config.checkpoint_format"},
      {{{"quant_method", "compressed-tensors"}, {"format", "nvfp4-pack-quantized"}},
       "quantization_config.format"},
      {{{"quant_method", "fp8"}, {"weight_block_size", {0, 128}}},
       "quantization_config.weight_block_size"},
      {Json::array(), "quantization_config.quant_method"},
  };
  for (const auto& [config, field] : refused) {
    const auto form = parse_checkpoint_form(config);
    ASSERT_FALSE(form) << config;
    EXPECT_EQ(form.error().code, Code::kUnsupportedModel);
    EXPECT_EQ(form.error().param, field);
    EXPECT_NE(form.error().message.find(field), std::string::npos);
  }
}

TEST(CheckpointForms, TheUsualOnesAreKnown) {
  EXPECT_EQ(parse_checkpoint_form({{"quant_method", "gptq"}, {"bits", 4}})->name, "gptq");
  EXPECT_TRUE(parse_checkpoint_form({{"quant_method", "gptq"}})->zeros_less_one);
  EXPECT_FALSE(parse_checkpoint_form({{"quant_method", "gptq"}, {"checkpoint_format", "gptq_v2"}})
                   ->zeros_less_one);
  EXPECT_EQ(parse_checkpoint_form({{"quant_method", "awq"}, {"version", "gemm"}})->name, "awq");
  const auto fp8 =
      parse_checkpoint_form({{"quant_method", "fp8"}, {"weight_block_size", {64, 32}}});
  ASSERT_TRUE(fp8);
  EXPECT_EQ(fp8->blocks.rows, 64);
  EXPECT_EQ(fp8->blocks.cols, 32);
}

}  // namespace
}  // namespace tessera
