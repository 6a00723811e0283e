// peft_variants_test.cpp — what a LoRA adapter can have beyond its pairs, by hand.
//
// That PEFT means the same by it is the corpus's business (tests/adapters/corpus).
#include <cmath>
#include <functional>

#include <gtest/gtest.h>

#include "adapters/dora.hpp"
#include "adapters/packed_adapter.hpp"
#include "tests/adapters/tiny_weights.hpp"

namespace tessera {
namespace {

using Codes = std::set<std::string>;

constexpr std::string_view kQ0 = "model.layers.0.self_attn.q_proj";
constexpr std::string_view kEmbed = "model.embed_tokens";

// A package for one module of a base with numbers.
struct Upload {
  TinyWeights base;
  TestPackage package;

  explicit Upload(std::string_view path = kQ0, int rank = 4) {
    package.tensors.clear();
    package.config["target_modules"] = {path};
    package.config["r"] = rank;
    for (const BaseModule& module : base_modules(test_base().spec)) {
      if (module.path == path) package.add_pair(module, rank);
    }
  }

  TestTensor& add(std::string_view path, std::string_view part, std::vector<std::int64_t> shape) {
    std::string name(kPeftPrefix);
    name.append(path).append(part);
    return package.tensors[name] = package.random_tensor(std::move(shape));
  }

  Validation validate() { return package.validate(base.model()); }

  Adapter adapter() {
    auto validation = validate();
    if (!validation.adapter) {
      ADD_FAILURE() << to_json(validation.report).dump(1);
      return {};
    }
    return std::move(*validation.adapter);
  }

  Codes codes() { return error_codes(validate().report.findings); }
};

// |W + s B A| of one row, as the paper has it.
double norm_of_row(const AdapterModule& module, const WeightMatrix& weight, int row) {
  std::vector<float> values(static_cast<std::size_t>(weight.cols));
  decode_row(weight, row, values);
  double sum = 0.0;
  for (std::size_t k = 0; k < values.size(); ++k) {
    double value = static_cast<double>(values[k]);
    for (std::size_t j = 0; j < static_cast<std::size_t>(module.rank); ++j) {
      const auto b = static_cast<std::size_t>(row) * static_cast<std::size_t>(module.rank) + j;
      value += static_cast<double>(module.scale) * static_cast<double>(module.b[b]) *
               static_cast<double>(module.a[j * values.size() + k]);
    }
    sum += value * value;
  }
  return std::sqrt(sum);
}

TEST(Dora, TheOutputScaleIsTheMagnitudeOverTheNormOfTheAdaptedRow) {
  for (const int rank : {1, 3, 4, 7}) {
    Upload upload(kQ0, rank);
    upload.package.config["use_dora"] = true;
    const auto magnitude = upload.add(kQ0, ".lora_magnitude_vector", {64}).values;
    const Adapter adapter = upload.adapter();
    ASSERT_EQ(adapter.modules.size(), 1U);
    const AdapterModule& module = adapter.modules[0];
    EXPECT_FALSE(adapter.is_plain());
    EXPECT_EQ(module.magnitude, magnitude);
    const WeightMatrix& weight = upload.base.weights().layers[0].linears[0];
    for (int row = 0; row < 64; ++row) {
      const auto n = static_cast<std::size_t>(row);
      const double expected = static_cast<double>(magnitude[n]) / norm_of_row(module, weight, row);
      EXPECT_NEAR(static_cast<double>(module.out_scale[n]), expected, 1e-6) << row;
    }
  }
}

TEST(Dora, OfTheEmbeddingTheNormIsOfAColumnOfItsTable) {
  Upload upload(kEmbed);
  upload.package.config["use_dora"] = true;
  const auto magnitude = upload.add(kEmbed, ".lora_magnitude_vector", {64}).values;
  const Adapter adapter = upload.adapter();
  ASSERT_EQ(adapter.modules.size(), 1U);
  const AdapterModule& module = adapter.modules[0];
  std::vector<float> row(64);
  for (std::size_t n = 0; n < 64; ++n) {
    double sum = 0.0;
    for (std::size_t token = 0; token < 96; ++token) {
      decode_row(upload.base.weights().embedding, static_cast<int>(token), row);
      double value = static_cast<double>(row[n]);
      for (std::size_t j = 0; j < 4; ++j) {
        value += static_cast<double>(module.scale) * static_cast<double>(module.b[n * 4 + j]) *
                 static_cast<double>(module.a[j * 96 + token]);
      }
      sum += value * value;
    }
    const double expected = static_cast<double>(magnitude[n]) / std::sqrt(sum);
    EXPECT_NEAR(static_cast<double>(module.out_scale[n]), expected, 1e-6) << n;
  }
}

TEST(Dora, OnesThatWereNotTrainedDoNothing) {
  Upload upload;
  upload.package.config["use_dora"] = true;
  std::ranges::fill(upload.package.tensor(std::string(kQ0) + ".lora_B.weight").values, 0.0F);
  TestTensor& magnitude = upload.add(kQ0, ".lora_magnitude_vector", {64});
  const AdapterModule zero{.base = base_modules(test_base().spec)[0]};
  magnitude.values = dora_norms(zero, upload.base.weights(), {});
  const auto validation = upload.validate();
  ASSERT_TRUE(validation.adapter);
  EXPECT_EQ(warning_codes(validation.report.findings), Codes{"adapter_is_noop"});
  magnitude.values[5] *= 1.01F;
  EXPECT_TRUE(upload.validate().report.findings.empty());
}

TEST(Dora, ANormOfZeroIsRefused) {
  Upload upload;
  upload.package.config["use_dora"] = true;
  upload.add(kQ0, ".lora_magnitude_vector", {64});
  std::vector<Bf16> zeros(64 * 64, 0);
  ModelWeights weights = upload.base.weights();
  weights.layers[0].linears[0] = bf16_matrix(zeros.data(), 64, 64);
  upload.base.model().weights = &weights;
  std::ranges::fill(upload.package.tensor(std::string(kQ0) + ".lora_A.weight").values, 0.0F);
  EXPECT_EQ(upload.codes(), Codes{"non_finite_value"});
}

TEST(LoraBias, IsScaledAsBIs) {
  Upload upload;
  upload.package.config["lora_bias"] = true;
  const auto bias = upload.add(kQ0, ".lora_B.bias", {64}).values;
  const Adapter adapter = upload.adapter();
  ASSERT_EQ(adapter.modules.size(), 1U);
  for (std::size_t i = 0; i < 64; ++i) EXPECT_EQ(adapter.modules[0].bias[i], 2.0F * bias[i]);
}

TEST(TrainedBias, IsKeptAsTheDifferenceFromTheBases) {
  Upload upload;
  upload.package.config["bias"] = "lora_only";
  const auto bias = upload.add(kQ0, ".base_layer.bias", {64}).values;
  const Adapter adapter = upload.adapter();
  ASSERT_EQ(adapter.modules.size(), 1U);
  const float* own = upload.base.weights().layers[0].biases[0];
  for (std::size_t i = 0; i < 64; ++i) EXPECT_EQ(adapter.modules[0].bias[i], bias[i] - own[i]);
}

TEST(TrainedBias, AllMeansThatModulesWithoutPairsHaveThem) {
  Upload upload;
  upload.package.config["bias"] = "all";
  for (const char* layer : {"model.layers.0.self_attn.", "model.layers.1.self_attn."}) {
    for (const char* linear : {"q_proj", "k_proj", "v_proj"}) {
      const bool is_q = std::string_view(linear) == "q_proj";
      const std::string path = std::string(layer) + linear;
      upload.add(path, path == kQ0 ? ".base_layer.bias" : ".bias", {is_q ? 64 : 32});
    }
  }
  const auto validation = upload.validate();
  ASSERT_TRUE(validation.adapter) << to_json(validation.report).dump(1);
  ASSERT_EQ(validation.adapter->modules.size(), 6U);
  EXPECT_EQ(validation.adapter->modules[1].rank, 0);
  EXPECT_EQ(validation.adapter->modules[1].bias.size(), 32U);
  EXPECT_EQ(validation.report.rank_min, 4);
  upload.package.tensors.erase("base_model.model.model.layers.1.self_attn.v_proj.bias");
  EXPECT_EQ(upload.codes(), Codes{"missing_bias"});
}

TEST(TrainedBias, OfAModuleWithoutOneIsRefused) {
  Upload upload("model.layers.0.self_attn.o_proj");
  upload.package.config["bias"] = "lora_only";
  upload.add("model.layers.0.self_attn.o_proj", ".base_layer.bias", {64});
  EXPECT_EQ(upload.codes(), Codes{"undeclared_tensor"});
}

TEST(BdLora, BlocksBecomeTheDenseMatrix) {
  Upload upload;
  upload.package.config["use_bdlora"] = {{"target_modules_bd_b", {"q_proj"}}, {"nblocks", 2}};
  TestTensor& stored = upload.package.tensor(std::string(kQ0) + ".lora_B.weight");
  stored = upload.package.random_tensor({64, 2});
  const Adapter adapter = upload.adapter();
  ASSERT_EQ(adapter.modules.size(), 1U);
  const AdapterModule& module = adapter.modules[0];
  ASSERT_EQ(module.b.size(), 64U * 4U);
  for (std::size_t row = 0; row < 64; ++row) {
    for (std::size_t col = 0; col < 4; ++col) {
      const bool in_block = row / 32 == col / 2;
      EXPECT_EQ(module.b[row * 4 + col], in_block ? stored.values[row * 2 + col % 2] : 0.0F);
    }
  }
  EXPECT_TRUE(adapter.is_plain());
}

TEST(BdLora, WhatCannotBeDividedOrIsInNoListIsRefused) {
  Upload upload(kQ0, 3);
  upload.package.config["use_bdlora"] = {{"target_modules_bd_a", {"q_proj"}}, {"nblocks", 2}};
  EXPECT_EQ(upload.codes(), Codes{"invalid_config_value"});
  upload.package.config["use_bdlora"] = {{"target_modules_bd_a", {"o_proj"}}, {"nblocks", 1}};
  EXPECT_EQ(upload.codes(), Codes{"invalid_config_value"});
}

TEST(ActivatedLora, KeepsItsInvocation) {
  Upload upload;
  upload.package.config["alora_invocation_tokens"] = {7, 95, 7};
  const Adapter adapter = upload.adapter();
  EXPECT_EQ(adapter.invocation, (std::vector<TokenId>{7, 95, 7}));
  const auto packed = pack_adapter(adapter, PageType::kBf16);
  EXPECT_TRUE(std::ranges::equal(packed->invocation(), adapter.invocation));
}

TEST(ActivatedLora, CannotHaveTheEmbedding) {
  Upload upload(kEmbed);
  upload.package.config["alora_invocation_tokens"] = {7};
  EXPECT_EQ(upload.codes(), Codes{"invalid_config_value"});
}

TEST(TrainedTokens, AreSortedByTheirIds) {
  Upload upload;
  upload.package.config["trainable_token_indices"] = {9, 2};
  const auto rows = upload.add(kEmbed, ".token_adapter.trainable_tokens_delta", {2, 64}).values;
  const Adapter adapter = upload.adapter();
  EXPECT_EQ(adapter.embed_rows.ids, (std::vector<TokenId>{2, 9}));
  ASSERT_EQ(adapter.embed_rows.rows.size(), 128U);
  EXPECT_TRUE(std::equal(rows.begin(), rows.begin() + 64, adapter.embed_rows.rows.begin() + 64));
  EXPECT_TRUE(adapter.head_rows.ids.empty());
}

TEST(TrainedTokens, OfATiedBaseAreTheHeadsToo) {
  Upload upload;
  upload.base.tie();
  upload.package.config["trainable_token_indices"] = {9, 2};
  upload.add(kEmbed, ".token_adapter.trainable_tokens_delta", {2, 64});
  const Adapter adapter = upload.adapter();
  EXPECT_EQ(adapter.head_rows.ids, (std::vector<TokenId>{2, 9}));
  EXPECT_EQ(adapter.head_rows.rows, adapter.embed_rows.rows);
}

TEST(TrainedTokens, OtherIdsOfTheHeadAreItsOwnUnlessTheyMustBeTied) {
  Upload upload;
  upload.base.tie();
  upload.package.config["trainable_token_indices"] = {{"embed_tokens", {9, 2}}, {"lm_head", {4}}};
  upload.add(kEmbed, ".token_adapter.trainable_tokens_delta", {2, 64});
  upload.add("lm_head", ".token_adapter.trainable_tokens_delta", {1, 64});
  EXPECT_EQ(upload.adapter().head_rows.ids, std::vector<TokenId>{4});
  upload.package.config["ensure_weight_tying"] = true;
  EXPECT_TRUE(upload.codes().contains("invalid_config_value"));
}

TEST(TrainedTokens, OfATableThatIsTargetedAreRefused) {
  Upload upload(kEmbed);
  upload.package.config["trainable_token_indices"] = {1};
  upload.add(kEmbed, ".token_adapter.trainable_tokens_delta", {1, 64});
  EXPECT_EQ(upload.codes(), Codes{"unsupported_trainable_tokens"});
}

TEST(SavedModules, AreTheRowsThatDiffer) {
  Upload upload;
  upload.package.config["modules_to_save"] = {"lm_head"};
  TestTensor& table = upload.add("lm_head", ".weight", {96, 64});
  for (int row = 0; row < 96; ++row) {
    if (row == 5 || row == 90) continue;
    decode_row(upload.base.weights().head, row,
               std::span(table.values).subspan(static_cast<std::size_t>(row) * 64, 64));
  }
  EXPECT_EQ(upload.adapter().head_rows.ids, (std::vector<TokenId>{5, 90}));
  upload.base.model().weights = nullptr;
  EXPECT_EQ(upload.codes(), Codes{"base_weights_needed"});
}

TEST(SavedModules, TiedOnesMustBeOneTable) {
  Upload upload;
  upload.base.tie();
  upload.package.config["modules_to_save"] = {"embed_tokens"};
  upload.package.config["ensure_weight_tying"] = true;
  const TestTensor table = upload.add(kEmbed, ".weight", {96, 64});
  EXPECT_EQ(upload.adapter().head_rows.ids.size(), 96U);
  upload.add("lm_head", ".weight", {96, 64}) = table;
  EXPECT_EQ(upload.adapter().head_rows.ids.size(), 96U);
  upload.package.tensor("lm_head.weight").values[1] += 1.0F;
  EXPECT_EQ(upload.codes(), Codes{"unsupported_weight_tying"});
}

TEST(TiedPairs, MustBeEachOthersTranspose) {
  Upload upload(kEmbed);
  upload.base.tie();
  upload.package.config["ensure_weight_tying"] = true;
  const auto transpose = [&](std::string_view from, std::string_view to) {
    const TestTensor source = upload.package.tensor(from);
    TestTensor& target = upload.add("lm_head", to, {source.shape[1], source.shape[0]});
    const auto rows = static_cast<std::size_t>(source.shape[0]);
    const auto cols = static_cast<std::size_t>(source.shape[1]);
    for (std::size_t i = 0; i < source.values.size(); ++i) {
      target.values[i % cols * rows + i / cols] = source.values[i];
    }
  };
  EXPECT_EQ(upload.codes(), Codes{"target_without_tensors"});
  transpose("model.embed_tokens.lora_embedding_B", ".lora_A.weight");
  transpose("model.embed_tokens.lora_embedding_A", ".lora_B.weight");
  EXPECT_EQ(upload.adapter().modules.size(), 2U);
  upload.package.tensor("lm_head.lora_A.weight").values[3] += 1.0F;
  EXPECT_EQ(upload.codes(), Codes{"unsupported_weight_tying"});
}

TEST(AdapterDigest, CoversEverythingThatIsMoreThanPairs) {
  Upload upload;
  const Adapter plain = upload.adapter();
  std::set<AdapterDigest> digests = {adapter_digest(plain, {})};
  const std::vector<std::function<void(Adapter&)>> changes = {
      [](Adapter& adapter) { adapter.modules[0].bias.assign(64, 1.0F); },
      [](Adapter& adapter) { adapter.modules[0].bias.assign(64, 2.0F); },
      [](Adapter& adapter) {
        adapter.modules[0].out_scale.assign(64, 1.0F);
        adapter.modules[0].magnitude.assign(64, 1.0F);
      },
      [](Adapter& adapter) {
        adapter.modules[0].out_scale.assign(64, 1.0F);
        adapter.modules[0].magnitude.assign(64, 2.0F);
      },
      [](Adapter& adapter) {
        adapter.embed_rows = {{3}, std::vector<float>(64)};
      },
      [](Adapter& adapter) {
        adapter.embed_rows = {{4}, std::vector<float>(64)};
      },
      [](Adapter& adapter) {
        adapter.head_rows = {{3}, std::vector<float>(64)};
      },
      [](Adapter& adapter) { adapter.invocation = {3}; },
  };
  for (const auto& change : changes) {
    Adapter changed = plain;
    change(changed);
    EXPECT_FALSE(changed.is_plain());
    digests.insert(adapter_digest(changed, {}));
  }
  EXPECT_EQ(digests.size(), changes.size() + 1);
}

TEST(AdapterDigest, OfDoraDoesNotDependOnHowTheOutputScaleWasRounded) {
  Upload upload;
  upload.package.config["use_dora"] = true;
  upload.add(kQ0, ".lora_magnitude_vector", {64});
  Adapter adapter = upload.adapter();
  const AdapterDigest digest = adapter_digest(adapter, {});
  adapter.modules[0].out_scale[3] = std::nextafter(adapter.modules[0].out_scale[3], 1e3F);
  EXPECT_EQ(adapter_digest(adapter, {}), digest);
}

TEST(PackedBytes, CountScalesBiasesAndRows) {
  Adapter adapter = Upload().adapter();
  const std::size_t plain = layout_of(adapter, PageType::kBf16).bytes;
  adapter.modules[0].out_scale.assign(64, 1.0F);
  adapter.modules[0].bias.assign(64, 1.0F);
  adapter.embed_rows = {{1, 2, 3}, std::vector<float>(3 * 64)};
  EXPECT_GE(layout_of(adapter, PageType::kBf16).bytes, plain + 2 * 64 * 4 + 3 * 64 * 2);
}

}  // namespace
}  // namespace tessera
