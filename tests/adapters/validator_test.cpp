#include "adapters/validator.hpp"

#include <cmath>
#include <limits>

#include <gtest/gtest.h>

#include "tests/adapters/test_package.hpp"

namespace tessera {
namespace {

using Codes = std::set<std::string>;

const BaseModule& module_named(std::string_view path) {
  static const auto kModules = base_modules(test_base().spec);
  return *std::ranges::find(kModules, path, &BaseModule::path);
}

// The copy of a table that PEFT saves beside the adapter, and the base that has it.
struct WithTable {
  BaseModel base = test_base();
  std::vector<Bf16> table;
  ModelWeights weights;
  TestPackage package;

  WithTable() {
    package.config["target_modules"] = {"q_proj", "v_proj", "embed_tokens"};
    package.add_pair(module_named("model.embed_tokens"), 4);
    TestTensor copy = package.random_tensor({96, 64});
    for (const float value : copy.values) table.push_back(float_to_bf16(value));
    package.tensors["base_model.model.model.embed_tokens.base_layer.weight"] = std::move(copy);
    weights.embedding = weights.head = bf16_matrix(table.data(), 96, 64);
    base.weights = &weights;
  }
};

TEST(Validator, APlainAdapterBecomesMatricesInFp32WithItsScale) {
  TestPackage package;
  const auto validation = package.validate();
  ASSERT_TRUE(validation.adapter) << to_json(validation.report).dump(1);
  EXPECT_TRUE(validation.report.findings.empty());
  const Adapter& adapter = *validation.adapter;
  EXPECT_EQ(adapter.num_layers, 2);
  ASSERT_EQ(adapter.modules.size(), 4U);
  const AdapterModule& q = adapter.modules[0];
  EXPECT_EQ(q.base.path, "model.layers.0.self_attn.q_proj");
  EXPECT_EQ(q.rank, 4);
  EXPECT_EQ(q.scale, 2.0F);
  EXPECT_EQ(q.a, package.tensor(q.base.path + ".lora_A.weight").values);
  EXPECT_EQ(q.b, package.tensor(q.base.path + ".lora_B.weight").values);
}

TEST(Validator, TheReportSaysWhatWasBound) {
  const auto report = TestPackage().validate().report;
  EXPECT_EQ(report.coverage.tensors_total, 8);
  EXPECT_EQ(report.coverage.tensors_bound, 8);
  EXPECT_EQ(report.coverage.modules_bound, 4);
  EXPECT_EQ(report.coverage.modules_by_target,
            (std::map<std::string, int>{{"q_proj", 2}, {"v_proj", 2}}));
  EXPECT_EQ(report.rank_min, 4);
  EXPECT_EQ(report.rank_max, 4);
  EXPECT_GT(report.max_norm_a, 0.0);
  EXPECT_GT(report.max_norm_b, 0.0);
}

TEST(Validator, ThreeDtypesWithEqualValuesAreOneAdapter) {
  const BaseDigest base = test_base().digest;
  std::set<AdapterDigest> digests;
  for (const Dtype dtype : {Dtype::kF32, Dtype::kF16, Dtype::kBf16}) {
    TestPackage package;
    for (auto& [name, tensor] : package.tensors) tensor.dtype = dtype;
    const auto validation = package.validate();
    ASSERT_TRUE(validation.adapter) << dtype_name(dtype);
    digests.insert(adapter_digest(*validation.adapter, base));
  }
  EXPECT_EQ(digests.size(), 1U);
}

TEST(Validator, EveryModuleCanBeTargeted) {
  TestPackage package;
  package.tensors.clear();
  package.config["target_modules"] = ".*";
  for (const BaseModule& module : base_modules(test_base().spec)) package.add_pair(module, 4);
  const auto validation = package.validate();
  ASSERT_TRUE(validation.adapter) << to_json(validation.report).dump(1);
  EXPECT_EQ(validation.adapter->modules.size(), 16U);
  EXPECT_EQ(validation.adapter->modules[14].base.kind, ModuleKind::kEmbed);
}

TEST(Validator, RanksMayDifferByPattern) {
  TestPackage package;
  package.tensors.clear();
  package.config["rank_pattern"] = {{"v_proj", 2}};
  for (const BaseModule& module : base_modules(test_base().spec)) {
    if (module.target() == "q_proj") package.add_pair(module, 4);
    if (module.target() == "v_proj") package.add_pair(module, 2);
  }
  const auto validation = package.validate();
  ASSERT_TRUE(validation.adapter) << to_json(validation.report).dump(1);
  EXPECT_EQ(validation.adapter->modules[1].rank, 2);
  EXPECT_EQ(validation.adapter->modules[1].scale, 4.0F);
}

TEST(Validator, ARawStateDictsAdapterNameIsRemovedAndTold) {
  TestPackage package;
  std::map<std::string, TestTensor> renamed;
  for (auto& [name, tensor] : package.tensors) {
    renamed[name.substr(0, name.size() - 6) + "default.weight"] = tensor;
  }
  const auto plain = package.validate();
  package.tensors = std::move(renamed);
  const auto validation = package.validate();
  ASSERT_TRUE(validation.adapter);
  EXPECT_EQ(validation.report.renamed.size(), 8U);
  EXPECT_EQ(validation.report.renamed[0].to, "model.layers.0.self_attn.q_proj.lora_A.weight");
  EXPECT_EQ(adapter_digest(*validation.adapter, {}), adapter_digest(*plain.adapter, {}));
}

TEST(Validator, TheBaseMayBeNamedByAliasOrByThePathItWasTrainedFrom) {
  for (const char* name : {"tiny", "acme/tiny-llama", "/home/me/tiny-llama", "models/tiny/"}) {
    TestPackage package;
    package.config["base_model_name_or_path"] = name;
    EXPECT_TRUE(package.validate().adapter) << name;
  }
  BaseModel lenient = test_base();
  lenient.aliases.emplace_back();
  TestPackage package;
  package.config["base_model_name_or_path"] = nullptr;
  EXPECT_FALSE(package.validate().adapter);
  EXPECT_TRUE(package.validate(lenient).adapter);
}

TEST(Validator, ATrueCopyOfTheBasesEmbeddingIsLeftOutAndTold) {
  WithTable with;
  const auto validation = with.package.validate(with.base);
  ASSERT_TRUE(validation.adapter) << to_json(validation.report).dump(1);
  EXPECT_EQ(warning_codes(validation.report.findings), Codes{"ignored_tensor"});
  EXPECT_EQ(validation.adapter->modules.size(), 5U);
}

TEST(Validator, TheRowsInWhichASavedEmbeddingDiffersReplaceTheBases) {
  WithTable with;
  with.table[3 * 64 + 17] ^= 1;
  const auto validation = with.package.validate(with.base);
  ASSERT_TRUE(validation.adapter) << to_json(validation.report).dump(1);
  EXPECT_EQ(warning_codes(validation.report.findings), Codes{"embedding_weights_present"});
  EXPECT_EQ(validation.adapter->embed_rows.ids, std::vector<TokenId>{3});
  EXPECT_EQ(validation.adapter->embed_rows.rows.size(), 64U);
  EXPECT_TRUE(validation.adapter->head_rows.ids.empty());
  EXPECT_EQ(validation.report.coverage.rows_replaced, 1);
}

TEST(Validator, ASavedEmbeddingIsTheHeadToo) {
  WithTable with;
  with.base.spec.tied_embeddings = true;
  with.table[3 * 64 + 17] ^= 1;
  const auto validation = with.package.validate(with.base);
  ASSERT_TRUE(validation.adapter) << to_json(validation.report).dump(1);
  EXPECT_EQ(validation.adapter->head_rows.ids, std::vector<TokenId>{3});
  EXPECT_EQ(validation.adapter->head_rows.rows, validation.adapter->embed_rows.rows);
}

TEST(Validator, ASavedEmbeddingThatCannotBeComparedIsRefused) {
  WithTable with;
  with.base.weights = nullptr;
  EXPECT_EQ(error_codes(with.package.validate(with.base).report.findings),
            Codes{"embedding_weights_present"});
}

TEST(Validator, AnAdapterThatDoesNothingIsTold) {
  TestPackage package;
  for (auto& [name, tensor] : package.tensors) {
    if (name.find("lora_B") != name.npos) std::ranges::fill(tensor.values, 0.0F);
  }
  const auto validation = package.validate();
  EXPECT_TRUE(validation.adapter);
  EXPECT_EQ(warning_codes(validation.report.findings), Codes{"adapter_is_noop"});
}

TEST(Validator, FaultsOfConfigAndTensorsAreToldTogether) {
  TestPackage package;
  package.config["use_qalora"] = true;
  package.tensor("model.layers.0.self_attn.q_proj.lora_A.weight").values[0] = NAN;
  package.tensors["base_model.model.model.layers.9.self_attn.q_proj.lora_A.weight"] =
      package.random_tensor({4, 64});
  EXPECT_EQ(error_codes(package.validate().report.findings),
            (Codes{"unsupported_qalora", "non_finite_value", "unbound_tensor"}));
}

TEST(Validator, ALongReportIsCutAndSaysSo) {
  TestPackage package;
  for (int i = 0; i < 400; ++i) {
    package.tensors["x" + std::to_string(i)] = package.random_tensor({1, 1});
  }
  const auto report = package.validate().report;
  EXPECT_EQ(report.findings.size(), Report::kMaxFindings);
  EXPECT_EQ(report.findings_left_out, 400 - static_cast<int>(Report::kMaxFindings));
  EXPECT_FALSE(report.ok());
}

TEST(Validator, FindingsNameTensorExpectationAndFact) {
  TestPackage package;
  package.tensor("model.layers.1.self_attn.v_proj.lora_B.weight") = package.random_tensor({64, 4});
  const auto json = to_json(package.validate().report);
  EXPECT_EQ(json["ok"], false);
  ASSERT_EQ(json["findings"].size(), 1U);
  const auto& finding = json["findings"][0];
  EXPECT_EQ(finding["severity"], "error");
  EXPECT_EQ(finding["code"], "tensor_shape_mismatch");
  EXPECT_EQ(finding["tensor"], "base_model.model.model.layers.1.self_attn.v_proj.lora_B.weight");
  EXPECT_EQ(finding["expected"], "[32, 4]");
  EXPECT_EQ(finding["actual"], "[64, 4]");
}

TEST(Validator, AHeaderMayNotDwarfItsFile) {
  const AdapterLimits limits;
  EXPECT_EQ(limits.header_limit(0), std::size_t{64} << 10);
  EXPECT_EQ(limits.header_limit(100'000'000), 1'000'000 + (std::size_t{64} << 10));
  EXPECT_EQ(limits.header_limit(std::size_t{4} << 30), limits.max_header_bytes);
}

TEST(Validator, MutatedUploadsAreAnsweredAndNeverPassWithAnError) {
  TestPackage package;
  const std::string config = package.config_text();
  const std::vector<std::byte> tensors = package.tensor_bytes();
  for (unsigned seed = 0; seed < 2'000; ++seed) {
    std::mt19937 random(seed);
    std::vector<std::byte> file = tensors;
    const std::size_t reach = random() % 2 == 0 ? 1500 : file.size();  // header, or anything
    for (unsigned i = 0; i <= random() % 8; ++i) {
      file[random() % reach] = static_cast<std::byte>(random() % 256);
    }
    const auto validation = validate_adapter(config, file, test_base());
    ASSERT_EQ(validation.adapter.has_value(), validation.report.ok()) << "seed " << seed;
  }
}

}  // namespace
}  // namespace tessera
