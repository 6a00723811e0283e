#include "adapters/module_naming.hpp"

#include <algorithm>

#include <gtest/gtest.h>

#include "tests/adapters/test_package.hpp"

namespace tessera {
namespace {

using Codes = std::set<std::string>;

// Two layers, the second with three experts.
BaseModel expert_base() {
  BaseModel base = test_base();
  base.spec.num_experts = 3;
  base.spec.experts_per_token = 2;
  base.spec.expert_intermediate = 64;
  base.spec.layers[1].experts = true;
  return base;
}

// An adapter of given targets on one layer, with no tensors yet.
TestPackage package_of(std::vector<std::string> targets, int layer) {
  TestPackage package;
  package.tensors.clear();
  package.config["target_modules"] = std::move(targets);
  package.config["layers_to_transform"] = {layer};
  return package;
}

void add_pair(TestPackage& package, const std::string& path, int in, int out, int rank_rows = 4) {
  const std::string stem = std::string(kPeftPrefix) + path;
  package.tensors[stem + ".lora_A.weight"] = package.random_tensor({rank_rows, in});
  package.tensors[stem + ".lora_B.weight"] = package.random_tensor({out, rank_rows});
}

const AdapterModule& module_at(const Adapter& adapter, std::string_view path) {
  const auto found = std::ranges::find(
      adapter.modules, path,
      [](const AdapterModule& module) -> std::string_view { return module.base.path; });
  if (found == adapter.modules.end()) throw std::runtime_error("no " + std::string(path));
  return *found;
}

TEST(ModuleNaming, ExpertsComeInCanonicalOrder) {
  std::vector<std::string> paths;
  for (const BaseModule& module : base_modules(expert_base().spec)) paths.push_back(module.path);
  ASSERT_EQ(paths.size(), 7U + 4U + 9U + 2U);
  EXPECT_EQ(paths[10], "model.layers.1.self_attn.o_proj");
  EXPECT_EQ(paths[11], "model.layers.1.mlp.experts.0.gate_proj");
  EXPECT_EQ(paths[12], "model.layers.1.mlp.experts.0.up_proj");
  EXPECT_EQ(paths[16], "model.layers.1.mlp.experts.1.down_proj");
}

TEST(ModuleNaming, FusedRowsShareAAndDivideB) {
  TestPackage package = package_of({"qkv_proj", "gate_up_proj"}, 0);
  add_pair(package, "model.layers.0.self_attn.qkv_proj", 64, 64 + 2 * 32);
  add_pair(package, "model.layers.0.mlp.gate_up_proj", 64, 2 * 128);
  const auto validation = package.validate();
  ASSERT_TRUE(validation.adapter) << to_json(validation.report).dump(1);
  EXPECT_EQ(validation.adapter->modules.size(), 5U);
  EXPECT_EQ(validation.report.coverage.tensors_bound, 4);
  EXPECT_EQ(validation.report.coverage.modules_by_target.at("qkv_proj"), 1);

  const TestTensor& a = package.tensor("model.layers.0.self_attn.qkv_proj.lora_A.weight");
  const TestTensor& b = package.tensor("model.layers.0.self_attn.qkv_proj.lora_B.weight");
  const auto rows = [&](int first, int count) {
    return std::vector<float>(b.values.begin() + first * 4, b.values.begin() + (first + count) * 4);
  };
  const AdapterModule& q = module_at(*validation.adapter, "model.layers.0.self_attn.q_proj");
  const AdapterModule& v = module_at(*validation.adapter, "model.layers.0.self_attn.v_proj");
  EXPECT_EQ(q.a, a.values);
  EXPECT_EQ(v.a, a.values);
  EXPECT_EQ(q.b, rows(0, 64));
  EXPECT_EQ(v.b, rows(96, 32));
  EXPECT_EQ(v.base.shape.out_features, 32);
  EXPECT_EQ(module_at(*validation.adapter, "model.layers.0.mlp.up_proj").b.size(), 128U * 4U);
}

TEST(ModuleNaming, ATargetedFusedModuleWithoutTensorsIsTold) {
  TestPackage package = package_of({"qkv_proj", "o_proj"}, 0);
  add_pair(package, "model.layers.0.self_attn.o_proj", 64, 64);
  EXPECT_EQ(error_codes(package.validate().report.findings), Codes{"target_without_tensors"});
}

TEST(ModuleNaming, FusedAndSplitNamesTogetherAreRefused) {
  TestPackage package = package_of({"qkv_proj", "q_proj"}, 0);
  add_pair(package, "model.layers.0.self_attn.qkv_proj", 64, 128);
  add_pair(package, "model.layers.0.self_attn.q_proj", 64, 64);
  EXPECT_EQ(error_codes(package.validate().report.findings), Codes{"unbound_tensor"});
}

TEST(ModuleNaming, AFusedShapeMustFitAll) {
  TestPackage package = package_of({"qkv_proj"}, 0);
  add_pair(package, "model.layers.0.self_attn.qkv_proj", 64, 64);
  EXPECT_EQ(error_codes(package.validate().report.findings), Codes{"tensor_shape_mismatch"});
}

// Both names that experts have had as modules mean the same adapter.
TEST(ModuleNaming, ExpertsAsModules) {
  TestPackage package = package_of({"gate_proj"}, 1);
  TestPackage mixtral = package_of({"w1"}, 1);
  for (int expert = 0; expert < 3; ++expert) {
    const std::string index = std::to_string(expert);
    add_pair(package, "model.layers.1.mlp.experts." + index + ".gate_proj", 64, 64);
    add_pair(mixtral, "model.layers.1.block_sparse_moe.experts." + index + ".w1", 64, 64);
  }
  const BaseModel base = expert_base();
  const auto one = package.validate(base);
  const auto other = mixtral.validate(base);
  ASSERT_TRUE(one.adapter) << to_json(one.report).dump(1);
  ASSERT_TRUE(other.adapter) << to_json(other.report).dump(1);
  EXPECT_EQ(one.adapter->modules.size(), 3U);
  EXPECT_EQ(adapter_digest(*one.adapter, base.digest), adapter_digest(*other.adapter, base.digest));
}

TestPackage parameter_package(std::vector<std::string> parameters) {
  TestPackage package;
  package.tensors.clear();
  package.config["target_modules"] = nullptr;
  package.config["target_parameters"] = std::move(parameters);
  return package;
}

TEST(ModuleNaming, AParameterHoldsEveryExpertsPair) {
  TestPackage package = parameter_package({"mlp.experts.gate_up_proj", "mlp.experts.down_proj"});
  add_pair(package, "model.layers.1.mlp.experts.base_layer", 64, 2 * 64, 4 * 3);
  add_pair(package, "model.layers.1.mlp.experts", 64, 64, 4 * 3);
  const auto validation = package.validate(expert_base());
  ASSERT_TRUE(validation.adapter) << to_json(validation.report).dump(1);
  ASSERT_EQ(validation.adapter->modules.size(), 9U);
  EXPECT_EQ(validation.report.rank_max, 4);

  const TestTensor& a = package.tensor("model.layers.1.mlp.experts.base_layer.lora_A.weight");
  const TestTensor& b = package.tensor("model.layers.1.mlp.experts.base_layer.lora_B.weight");
  const AdapterModule& up = module_at(*validation.adapter, "model.layers.1.mlp.experts.2.up_proj");
  EXPECT_EQ(up.rank, 4);
  EXPECT_EQ(up.base.expert, 2);
  for (std::size_t j = 0; j < 4; ++j) {
    for (std::size_t k = 0; k < 64; ++k) EXPECT_EQ(up.a[j * 64 + k], a.values[(8 + j) * 64 + k]);
    for (std::size_t n = 0; n < 64; ++n) {
      EXPECT_EQ(up.b[n * 4 + j], b.values[(64 + n) * 12 + j * 3 + 2]);
    }
  }
}

TEST(ModuleNaming, OneParameterIsToldByItsShape) {
  const BaseModel base = expert_base();
  TestPackage down = parameter_package({"down_proj"});
  add_pair(down, "model.layers.1.mlp.experts", 64, 64, 12);
  EXPECT_EQ(down.validate(base).adapter->modules.size(), 3U);
  TestPackage gate_up = parameter_package({"gate_up_proj"});
  add_pair(gate_up, "model.layers.1.mlp.experts", 64, 128, 12);
  EXPECT_EQ(gate_up.validate(base).adapter->modules.size(), 6U);
  TestPackage other = parameter_package({"gate_up_proj"});  // and holds down_proj
  add_pair(other, "model.layers.1.mlp.experts", 64, 64, 12);
  EXPECT_FALSE(other.validate(base).adapter);
}

TEST(ModuleNaming, RanksOfAParameterMustBeThoseOfAllExperts) {
  for (const int rows : {4, 11, 13, 24}) {
    TestPackage package = parameter_package({"down_proj"});
    add_pair(package, "model.layers.1.mlp.experts", 64, 64, rows);
    EXPECT_EQ(error_codes(package.validate(expert_base()).report.findings), Codes{"rank_mismatch"})
        << rows;
  }
}

TEST(ModuleNaming, ARankPatternNamesAParameterAsPeftDoes) {
  TestPackage package = parameter_package({"gate_up_proj", "down_proj"});
  package.config["rank_pattern"] = {{R"(.*\.gate_up_proj)", 8}};
  package.config["alpha_pattern"] = {{R"(.*\.gate_up_proj)", 16}};
  add_pair(package, "model.layers.1.mlp.experts.base_layer", 64, 128, 8 * 3);
  add_pair(package, "model.layers.1.mlp.experts", 64, 64, 4 * 3);
  const auto validation = package.validate(expert_base());
  ASSERT_TRUE(validation.adapter) << to_json(validation.report).dump(1);
  EXPECT_EQ(validation.adapter->modules[0].rank, 8);
  EXPECT_EQ(validation.adapter->modules[2].rank, 4);
}

TEST(ModuleNaming, OtherParametersAndParametersOfABaseWithoutExpertsAreRefusedByName) {
  TestPackage package = parameter_package({"gate.weight", "down_proj"});
  add_pair(package, "model.layers.1.mlp.experts", 64, 64, 12);
  const auto validation = package.validate(expert_base());
  EXPECT_EQ(error_codes(validation.report.findings), Codes{"unsupported_target_parameters"});
  EXPECT_EQ(validation.report.findings.at(0).actual, "gate.weight");
  EXPECT_TRUE(
      error_codes(package.validate().report.findings).contains("unsupported_target_parameters"));
}

TEST(ModuleNaming, ARouterIsRefusedByName) {
  for (const char* path : {"model.layers.1.mlp.gate", "model.layers.1.block_sparse_moe.gate"}) {
    TestPackage package = package_of({"q_proj", "gate"}, 1);
    add_pair(package, "model.layers.1.self_attn.q_proj", 64, 64);
    add_pair(package, path, 64, 3);
    const auto validation = package.validate(expert_base());
    EXPECT_EQ(error_codes(validation.report.findings), Codes{"unsupported_tensor"});
    EXPECT_NE(validation.report.findings.back().message.find("router"), std::string::npos);
  }
}

TEST(ModuleNaming, TheTextModelOfAMultimodalOneIsTheSame) {
  TestPackage plain = package_of({"q_proj"}, 0);
  add_pair(plain, "model.layers.0.self_attn.q_proj", 64, 64);
  const auto digest = adapter_digest(*plain.validate().adapter, {});
  for (const char* prefix : {"model.language_model.", "language_model.model."}) {
    TestPackage package = package_of({"q_proj"}, 0);
    add_pair(package, std::string(prefix) + "layers.0.self_attn.q_proj", 64, 64);
    const auto validation = package.validate();
    ASSERT_TRUE(validation.adapter) << to_json(validation.report).dump(1);
    EXPECT_EQ(adapter_digest(*validation.adapter, {}), digest);
  }
}

TEST(ModuleNaming, ATableOfPatternsForAHugeBaseIsBounded) {
  BaseModel base = expert_base();
  base.spec.num_experts = 1000;
  base.spec.layers.assign(4, base.spec.layers[1]);
  TestPackage package = package_of({"q_proj"}, 0);
  for (int i = 0; i < 2000; ++i) package.config["rank_pattern"]["x" + std::to_string(i)] = 4;
  add_pair(package, "model.layers.0.self_attn.q_proj", 64, 64);
  EXPECT_EQ(error_codes(package.validate(base).report.findings), Codes{"invalid_config_value"});
}

}  // namespace
}  // namespace tessera
