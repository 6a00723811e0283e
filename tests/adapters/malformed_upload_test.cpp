// malformed_upload_test.cpp — uploads that are wrong in one way each, and the one code that says
// so.
//
// A corpus in code: each entry bends a valid package. The claim is strict: exactly this error and
// no other, so that a tenant is told the cause and not its consequences.
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>

#include <gtest/gtest.h>

#include "tests/adapters/test_package.hpp"

namespace tessera {
namespace {

// A package on its way: the parts, and then the bytes they became.
struct Upload {
  TestPackage package;
  std::string config_text;
  std::vector<std::byte> tensors;

  TestTensor& a() { return package.tensor("model.layers.0.self_attn.q_proj.lora_A.weight"); }
  TestTensor& b() { return package.tensor("model.layers.0.self_attn.q_proj.lora_B.weight"); }
  void add(const std::string& name, std::vector<std::int64_t> shape) {
    package.tensors[std::string(kPeftPrefix) + name] = package.random_tensor(std::move(shape));
  }
  void remove(const std::string& name) {
    ASSERT_EQ(package.tensors.erase(std::string(kPeftPrefix) + name), 1U) << name;
  }
  // Replaces text in the header of the tensors file by text of the same length.
  void patch_header(std::string_view from, std::string_view to) {
    ASSERT_EQ(from.size(), to.size());
    const std::string_view text(reinterpret_cast<const char*>(tensors.data()), tensors.size());
    const auto at = text.find(from);
    ASSERT_NE(at, text.npos) << from;
    std::memcpy(tensors.data() + at, to.data(), to.size());
  }
};

struct Malformed {
  std::string_view name;
  std::string_view code;
  std::function<void(Upload&)> bend_package = [](Upload&) {};  // before it becomes bytes
  std::function<void(Upload&)> bend_bytes = [](Upload&) {};    // after
};

void PrintTo(const Malformed& malformed, std::ostream* out) {
  *out << malformed.name;
}

Malformed set_field(std::string_view name, std::string_view code, std::string field,
                    nlohmann::ordered_json value) {
  return {.name = name, .code = code, .bend_package = [=](Upload& upload) {
            upload.package.config[field] = value;
          }};
}

Malformed bend_package(std::string_view name, std::string_view code,
                       std::function<void(Upload&)> bend) {
  return {.name = name, .code = code, .bend_package = std::move(bend)};
}

Malformed bend_bytes(std::string_view name, std::string_view code,
                     std::function<void(Upload&)> bend) {
  return {.name = name, .code = code, .bend_bytes = std::move(bend)};
}

constexpr std::string_view kQ0 = "model.layers.0.self_attn.q_proj";

const std::vector<Malformed>& corpus() {
  static const std::vector<Malformed> kCorpus = {
      // the tensors file as a container
      bend_bytes("EmptyFile", "safetensors_truncated", [](Upload& u) { u.tensors.clear(); }),
      bend_bytes("CutInTheHeader", "safetensors_truncated",
                 [](Upload& u) { u.tensors.resize(99); }),
      bend_bytes("CutInTheData", "safetensors_truncated",
                 [](Upload& u) { u.tensors.resize(u.tensors.size() - 1); }),
      bend_bytes("TrailingData", "safetensors_trailing_data",
                 [](Upload& u) { u.tensors.resize(u.tensors.size() + 1); }),
      bend_bytes("HugeHeader", "safetensors_header_too_large",
                 [](Upload& u) { u.tensors[5] = std::byte{1}; }),
      bend_bytes("HeaderIsNotJson", "safetensors_header_invalid",
                 [](Upload& u) { u.patch_header("{\"base", "{{base"); }),
      bend_bytes("Overlap", "safetensors_overlap",
                 [](Upload& u) { u.patch_header("[1024,2048]", "[1023,2047]"); }),
      bend_bytes("Hole", "safetensors_hole",
                 [](Upload& u) { u.patch_header("[1024,2048]", "[1025,2049]"); }),
      bend_bytes("ReversedOffsets", "safetensors_bad_offsets",
                 [](Upload& u) { u.patch_header("[1024,2048]", "[2048,1024]"); }),
      bend_bytes("WrongSize", "safetensors_size_mismatch",
                 [](Upload& u) { u.patch_header("[4,64]", "[4,32]"); }),
      bend_bytes("ShapeOverflow", "safetensors_overflow",
                 [](Upload& u) {
                   u.tensors = write_safetensors(std::vector<StoredTensor>{
                       {.name = "x", .shape = {1LL << 62, 1LL << 62}, .bytes = {}}});
                 }),
      bend_bytes("NegativeShape", "safetensors_bad_shape",
                 [](Upload& u) { u.patch_header("[4,64]", "[4,-6]"); }),
      bend_bytes("UnknownDtype", "safetensors_bad_dtype",
                 [](Upload& u) { u.patch_header("\"F32\"", "\"F3X\""); }),
      bend_bytes("DuplicateTensor", "safetensors_duplicate_key",
                 [](Upload& u) {
                   u.patch_header("q_proj.lora_B.weight\":{\"dtype\"",
                                  "q_proj.lora_A.weight\":{\"dtype\"");
                 }),
      bend_bytes("UnknownEntryKey", "safetensors_unknown_key",
                 [](Upload& u) { u.patch_header("\"shape\"", "\"shade\""); }),
      bend_bytes("BadMetadata", "safetensors_bad_metadata",
                 [](Upload& u) {
                   constexpr std::string_view kHeader = R"({"__metadata__":{"k":1}})";
                   u.tensors.assign(8 + kHeader.size(), std::byte{0});
                   u.tensors[0] = static_cast<std::byte>(kHeader.size());
                   std::memcpy(u.tensors.data() + 8, kHeader.data(), kHeader.size());
                 }),
      bend_bytes("Pickle", "pickle_not_accepted",
                 [](Upload& u) { std::memcpy(u.tensors.data(), "PK\x03\x04\x2d\0\0\x08", 8); }),
      bend_bytes("NoTensors", "no_tensors", [](Upload& u) { u.tensors = write_safetensors({}); }),
      // the config
      bend_bytes("ConfigIsNotJson", "config_invalid_json",
                 [](Upload& u) { u.config_text.pop_back(); }),
      bend_bytes("ConfigKeyTwice", "config_duplicate_key",
                 [](Upload& u) { u.config_text.insert(1, R"("r":4,)"); }),
      bend_bytes("ConfigTooLarge", "config_too_large",
                 [](Upload& u) { u.config_text.resize(1 << 20, ' '); }),
      set_field("UnknownField", "unknown_config_field", "use_frobnication", true),
      set_field("BadValue", "invalid_config_value", "lora_alpha", -1),
      set_field("RankTooLarge", "rank_too_large", "r", 512),
      set_field("AnotherPeftType", "unsupported_peft_type", "peft_type", "LOKR"),
      set_field("DoraWithoutMagnitudes", "missing_magnitude", "use_dora", true),
      set_field("BiasesWithoutTensors", "missing_lora_bias", "lora_bias", true),
      set_field("RowsWithoutTensors", "missing_rows", "trainable_token_indices", {1, 2}),
      set_field("QaLora", "unsupported_qalora", "use_qalora", true),
      set_field("Pissa", "unsupported_init_lora_weights", "init_lora_weights", "pissa"),
      set_field("AnotherBase", "base_model_mismatch", "base_model_name_or_path", "acme/other"),
      set_field("PatternOfNothing", "pattern_matches_nothing", "alpha_pattern", {{"nothing", 3}}),
      set_field("LookAhead", "unsupported_regex", "rank_pattern", {{"(?!x)q_proj", 4}}),
      set_field("TargetsNothing", "target_matches_nothing", "target_modules", {"nothing"}),
      bend_package("NoRank", "missing_config_field",
                   [](Upload& u) { u.package.config.erase("r"); }),
      bend_package("TwoVariants", "invalid_config_value",
                   [](Upload& u) {
                     u.package.config["use_dora"] = true;
                     u.package.config["alora_invocation_tokens"] = {5};
                   }),
      bend_package("DoraWithoutTheBasesWeights", "base_weights_needed",
                   [](Upload& u) {
                     u.package.config["target_modules"] = {"model.layers.0.self_attn.q_proj"};
                     u.package.config["use_dora"] = true;
                     std::erase_if(u.package.tensors, [](const auto& tensor) {
                       return tensor.first.find(kQ0) == std::string::npos;
                     });
                     u.add(std::string(kQ0) + ".lora_magnitude_vector", {64});
                   }),
      bend_package("TokensOfAnotherShape", "tensor_shape_mismatch",
                   [](Upload& u) {
                     u.package.config["trainable_token_indices"] = {1, 2};
                     u.add("model.embed_tokens.token_adapter.trainable_tokens_delta", {3, 64});
                   }),
      bend_package("TokenThatTheBaseHasNot", "invalid_config_value",
                   [](Upload& u) {
                     u.package.config["trainable_token_indices"] = {1, 96};
                     u.add("model.embed_tokens.token_adapter.trainable_tokens_delta", {2, 64});
                   }),
      set_field("InvocationThatTheBaseHasNot", "invalid_config_value", "alora_invocation_tokens",
                {95, 96}),
      // the tensors
      bend_package("LayerThatIsNotThere", "unbound_tensor",
                   [](Upload& u) {
                     u.add("model.layers.2.self_attn.q_proj.lora_A.weight", {4, 64});
                   }),
      bend_package("DriftedPrefix", "unbound_tensor",
                   [](Upload& u) {
                     u.add("model.language_model.layers.0.self_attn.q_proj.lora_A.weight", {4, 64});
                   }),
      bend_package(
          "NoPrefix", "unbound_tensor",
          [](Upload& u) { u.package.tensors["layers.0.self_attn.q_proj.lora_A.weight"] = u.a(); }),
      bend_package("DoraMagnitude", "undeclared_tensor",
                   [](Upload& u) { u.add(std::string(kQ0) + ".lora_magnitude_vector", {64}); }),
      bend_package("BiasOfB", "undeclared_tensor",
                   [](Upload& u) { u.add(std::string(kQ0) + ".lora_B.bias", {64}); }),
      bend_package("BaseBias", "undeclared_tensor",
                   [](Upload& u) { u.add(std::string(kQ0) + ".base_layer.bias", {64}); }),
      bend_package("KasaDiagonal", "unsupported_kasa",
                   [](Upload& u) { u.add(std::string(kQ0) + ".lora_diag", {4}); }),
      bend_package("TrainedTokens", "undeclared_tensor",
                   [](Upload& u) {
                     u.add("model.embed_tokens.token_adapter.trainable_tokens_delta", {2, 64});
                   }),
      bend_package("TrainedRowsOfALinear", "unsupported_trainable_tokens",
                   [](Upload& u) {
                     u.add(std::string(kQ0) + ".token_adapter.trainable_tokens_delta", {2, 64});
                   }),
      bend_package("BiasOfANorm", "unsupported_bias",
                   [](Upload& u) { u.add("model.norm.bias", {64}); }),
      bend_package("SavedModule", "unsupported_modules_to_save",
                   [](Upload& u) { u.add("model.norm.weight", {64}); }),
      bend_package("SavedEmbedding", "embedding_weights_present",
                   [](Upload& u) {
                     u.add("model.embed_tokens.weight", {96, 64});
                   }),
      bend_package("LinearPairOnTheEmbedding", "unsupported_tensor",
                   [](Upload& u) {
                     u.add("model.embed_tokens.lora_A.weight", {4, 96});
                   }),
      bend_package("WrongInput", "tensor_shape_mismatch",
                   [](Upload& u) {
                     u.a() = u.package.random_tensor({4, 32});
                   }),
      bend_package("OneDimension", "tensor_shape_mismatch",
                   [](Upload& u) { u.a() = u.package.random_tensor({256}); }),
      bend_package("Transposed", "tensor_shape_mismatch",
                   [](Upload& u) {
                     u.b() = u.package.random_tensor({4, 64});
                   }),
      bend_package("WrongRank", "rank_mismatch",
                   [](Upload& u) {
                     u.a() = u.package.random_tensor({5, 64});
                   }),
      bend_package("WithoutA", "missing_lora_a",
                   [](Upload& u) { u.remove(std::string(kQ0) + ".lora_A.weight"); }),
      bend_package("WithoutB", "missing_lora_b",
                   [](Upload& u) { u.remove(std::string(kQ0) + ".lora_B.weight"); }),
      bend_package("TargetWithoutTensors", "target_without_tensors",
                   [](Upload& u) {
                     u.remove(std::string(kQ0) + ".lora_A.weight");
                     u.remove(std::string(kQ0) + ".lora_B.weight");
                   }),
      bend_package("TensorsWithoutTarget", "module_not_targeted",
                   [](Upload& u) {
                     u.add("model.layers.0.self_attn.k_proj.lora_A.weight", {4, 64});
                     u.add("model.layers.0.self_attn.k_proj.lora_B.weight", {32, 4});
                   }),
      bend_package("SameMatrixTwice", "duplicate_tensor",
                   [](Upload& u) {
                     u.package.tensors = [&] {
                       auto tensors = u.package.tensors;
                       std::map<std::string, TestTensor> named;
                       for (auto& [name, tensor] : tensors) {
                         named[name.substr(0, name.size() - 6) + "default.weight"] = tensor;
                       }
                       const std::string stem = std::string(kPeftPrefix).append(kQ0);
                       named[stem + ".lora_A.other.weight"] =
                           named[stem + ".lora_A.default.weight"];
                       return named;
                     }();
                   }),
      bend_package("TwoAdapterNames", "mixed_adapter_names",
                   [](Upload& u) {
                     const std::string stem = std::string(kPeftPrefix).append(kQ0) + ".lora_A.";
                     auto node = u.package.tensors.extract(stem + "weight");
                     node.key() = stem + "default.weight";
                     u.package.tensors.insert(std::move(node));
                   }),
      bend_package("DoublePrecision", "unsupported_tensor_dtype",
                   [](Upload& u) { u.a().dtype = Dtype::kF64; }),
      bend_package("NaN", "non_finite_value", [](Upload& u) { u.a().values[7] = NAN; }),
      bend_package("Infinity", "non_finite_value",
                   [](Upload& u) { u.b().values[7] = -std::numeric_limits<float>::infinity(); }),
      bend_package("AbsurdValue", "value_too_large",
                   [](Upload& u) { u.a().values[7] = 10'001.0F; }),
      bend_package("AbsurdOnceScaled", "value_too_large",
                   [](Upload& u) { u.b().values[7] = 9'000.0F; }),
      set_field("AbsurdAlpha", "value_too_large", "lora_alpha", 1e300),
  };
  return kCorpus;
}

class MalformedUpload : public testing::TestWithParam<Malformed> {};

TEST_P(MalformedUpload, IsAnsweredByItsOwnCode) {
  Upload upload;
  GetParam().bend_package(upload);
  upload.config_text = upload.package.config_text();
  upload.tensors = upload.package.tensor_bytes();
  GetParam().bend_bytes(upload);
  const auto validation = validate_adapter(upload.config_text, upload.tensors, test_base());
  EXPECT_FALSE(validation.adapter);
  EXPECT_EQ(error_codes(validation.report.findings),
            std::set<std::string>{std::string(GetParam().code)})
      << to_json(validation.report).dump(1);
}

INSTANTIATE_TEST_SUITE_P(Corpus, MalformedUpload, testing::ValuesIn(corpus()),
                         [](const auto& test) { return std::string(test.param.name); });

TEST(MalformedUploads, AreManyAndTheirCodesDiffer) {
  std::set<std::string_view> codes;
  for (const Malformed& malformed : corpus()) codes.insert(malformed.code);
  EXPECT_GE(codes.size(), 30U);
}

}  // namespace
}  // namespace tessera
