#include "adapters/module_plan.hpp"

#include <cmath>

#include <gtest/gtest.h>

#include "adapters/module_regex.hpp"
#include "tests/adapters/test_package.hpp"

namespace tessera {
namespace {

using Codes = std::set<std::string>;
using Names = std::set<std::string>;

PeftConfig config_of(std::vector<std::string> names) {
  PeftConfig config{.r = 8, .lora_alpha = 16};
  config.target_modules = {.kind = ModuleSelector::Kind::kNames, .names = std::move(names)};
  return config;
}

PeftConfig config_of_regex(std::string regex) {
  PeftConfig config{.r = 8, .lora_alpha = 16};
  config.target_modules = {.kind = ModuleSelector::Kind::kRegex, .regex = std::move(regex)};
  return config;
}

struct Planned {
  std::vector<PlannedModule> modules;
  Findings findings;

  Names targets() const {
    Names names;
    for (const PlannedModule& module : modules) {
      if (module.is_targeted) names.insert(module.base.path);
    }
    return names;
  }
  const PlannedModule& at(std::string_view path) const {
    return *std::ranges::find(modules, path, [](const auto& m) { return m.base.path; });
  }
};

Planned plan(const PeftConfig& config) {
  Planned planned;
  planned.modules = plan_modules(config, test_base().spec, planned.findings);
  return planned;
}

TEST(ModulePlan, CanonicalOrderIsLayersThenEmbeddingThenHead) {
  const auto modules = base_modules(test_base().spec);
  ASSERT_EQ(modules.size(), 16U);
  EXPECT_EQ(modules[0].path, "model.layers.0.self_attn.q_proj");
  EXPECT_EQ(modules[6].path, "model.layers.0.mlp.down_proj");
  EXPECT_EQ(modules[7].path, "model.layers.1.self_attn.q_proj");
  EXPECT_EQ(modules[14].path, "model.embed_tokens");
  EXPECT_EQ(modules[15].path, "lm_head");
  EXPECT_EQ(modules[14].shape.in_features, 96);
  EXPECT_EQ(modules[15].shape.out_features, 96);
}

TEST(ModulePlan, AListMatchesWholePathsAndWholeSuffixes) {
  EXPECT_EQ(plan(config_of({"q_proj"})).targets(),
            (Names{"model.layers.0.self_attn.q_proj", "model.layers.1.self_attn.q_proj"}));
  EXPECT_EQ(plan(config_of({"1.mlp.up_proj", "lm_head"})).targets(),
            (Names{"model.layers.1.mlp.up_proj", "lm_head"}));
  EXPECT_EQ(plan(config_of({"model.embed_tokens"})).targets(), Names{"model.embed_tokens"});
}

TEST(ModulePlan, AListDoesNotMatchPartsOfNames) {
  const auto planned = plan(config_of({"proj"}));
  EXPECT_TRUE(planned.targets().empty());
  EXPECT_EQ(error_codes(planned.findings), Codes{"target_matches_nothing"});
}

TEST(ModulePlan, ANameThatTheBaseLacksIsToldAsAWarning) {
  const auto planned = plan(config_of({"q_proj", "query_key_value"}));
  EXPECT_FALSE(has_errors(planned.findings));
  EXPECT_EQ(warning_codes(planned.findings), Codes{"target_matches_nothing"});
}

TEST(ModulePlan, AStringMatchesThePathAsAWhole) {
  EXPECT_EQ(plan(config_of_regex(R"(.*\.1\.self_attn\.(q|v)_proj)")).targets(),
            (Names{"model.layers.1.self_attn.q_proj", "model.layers.1.self_attn.v_proj"}));
  EXPECT_TRUE(plan(config_of_regex("q_proj")).targets().empty());
}

TEST(ModulePlan, AllLinearIsEveryLinearModuleButTheHead) {
  PeftConfig config{.r = 8, .lora_alpha = 16};
  config.target_modules.kind = ModuleSelector::Kind::kAllLinear;
  const Names targets = plan(config).targets();
  EXPECT_EQ(targets.size(), 14U);
  EXPECT_FALSE(targets.contains("lm_head"));
  EXPECT_FALSE(targets.contains("model.embed_tokens"));
}

TEST(ModulePlan, ExcludedModulesAreLeftOut) {
  PeftConfig config = config_of({"q_proj"});
  config.exclude_modules = {.kind = ModuleSelector::Kind::kNames,
                            .names = {"layers.0.self_attn.q_proj"}};
  EXPECT_EQ(plan(config).targets(), Names{"model.layers.1.self_attn.q_proj"});
  config.exclude_modules = {.kind = ModuleSelector::Kind::kRegex, .regex = R"(.*\.1\..*)"};
  EXPECT_EQ(plan(config).targets(), Names{"model.layers.0.self_attn.q_proj"});
}

TEST(ModulePlan, LayersToTransformRestrainsSuffixesButNotWholePaths) {
  PeftConfig config = config_of({"q_proj", "lm_head", "model.layers.0.mlp.up_proj"});
  config.layers_to_transform = {1};
  EXPECT_EQ(plan(config).targets(),
            (Names{"model.layers.1.self_attn.q_proj", "lm_head", "model.layers.0.mlp.up_proj"}));
}

TEST(ModulePlan, ASuffixWithoutALayerIsNotInAnyLayer) {
  PeftConfig config = config_of({"q_proj", "embed_tokens"});
  config.layers_to_transform = {0};
  EXPECT_EQ(plan(config).targets(), Names{"model.layers.0.self_attn.q_proj"});
}

TEST(ModulePlan, LayersPatternNamesTheNumberedList) {
  PeftConfig config = config_of({"q_proj"});
  config.layers_to_transform = {0};
  config.layers_pattern = {"h", "layers"};
  EXPECT_EQ(plan(config).targets(), Names{"model.layers.0.self_attn.q_proj"});
  config.layers_pattern = {"h"};
  EXPECT_TRUE(plan(config).targets().empty());
}

TEST(ModulePlan, TheFirstKeyThatMatchesWins) {
  PeftConfig config = config_of({"q_proj", "v_proj"});
  config.rank_pattern = {{"layers.1.self_attn.q_proj", 2}, {"q_proj", 4}};
  config.alpha_pattern = {{"q_proj", 3.0}, {"layers.1.self_attn.q_proj", 5.0}};
  const auto planned = plan(config);
  EXPECT_FALSE(has_errors(planned.findings));
  EXPECT_EQ(planned.at("model.layers.0.self_attn.q_proj").rank, 4);
  EXPECT_EQ(planned.at("model.layers.1.self_attn.q_proj").rank, 2);
  EXPECT_EQ(planned.at("model.layers.1.self_attn.q_proj").alpha, 3.0);
  EXPECT_EQ(planned.at("model.layers.1.self_attn.v_proj").rank, 8);
  EXPECT_EQ(planned.at("model.layers.1.self_attn.v_proj").alpha, 16.0);
}

TEST(ModulePlan, TheScaleIsOfTheModulesOwnAlphaAndRank) {
  PeftConfig config = config_of({"q_proj", "v_proj"});
  config.rank_pattern = {{"q_proj", 32}};
  config.alpha_pattern = {{"v_proj", 12.0}};
  const auto plain = plan(config);
  EXPECT_EQ(plain.at("model.layers.0.self_attn.q_proj").scale, 0.5F);
  EXPECT_EQ(plain.at("model.layers.0.self_attn.v_proj").scale, 1.5F);
  config.use_rslora = true;
  const auto rslora = plan(config);
  EXPECT_EQ(rslora.at("model.layers.0.self_attn.q_proj").scale,
            static_cast<float>(16.0 / std::sqrt(32.0)));
  EXPECT_EQ(rslora.at("model.layers.0.self_attn.v_proj").scale,
            static_cast<float>(12.0 / std::sqrt(8.0)));
}

TEST(ModulePlan, APatternThatMatchesNoTargetIsRefused) {
  PeftConfig config = config_of({"q_proj"});
  config.rank_pattern = {{"k_proj", 4}};
  config.alpha_pattern = {{"nowhere", 4.0}};
  const auto planned = plan(config);
  EXPECT_EQ(error_codes(planned.findings), Codes{"pattern_matches_nothing"});
  EXPECT_EQ(planned.findings.size(), 2U);
}

TEST(ModulePlan, RegexesThatCannotBeRunAreRefusedEverywhere) {
  PeftConfig config = config_of({"q_proj"});
  config.rank_pattern = {{"(?=q)q_proj", 4}};
  EXPECT_EQ(error_codes(plan(config).findings), Codes{"unsupported_regex"});
  config = config_of({"q_proj"});
  config.exclude_modules = {.kind = ModuleSelector::Kind::kRegex, .regex = "("};
  EXPECT_EQ(error_codes(plan(config).findings), Codes{"unsupported_regex"});
  config = config_of({"q_proj"});
  config.layers_to_transform = {0};
  config.layers_pattern = {R"((a)\1)"};
  EXPECT_TRUE(error_codes(plan(config).findings).contains("unsupported_regex"));
}

// Expected values are those of Python's `re` for the same pattern and path.
TEST(ModuleRegex, SuffixIsPeftsPatternKeyMatch) {
  const auto matches = [](std::string_view key, std::string_view path) {
    const auto regex = ModuleRegex::suffix(key);
    return regex && regex->matches(path);
  };
  constexpr std::string_view kPath = "model.layers.10.self_attn.q_proj";
  EXPECT_TRUE(matches("q_proj", kPath));
  EXPECT_TRUE(matches("self_attn.q_proj", kPath));
  EXPECT_TRUE(matches(R"(layers\.1\d\..*)", kPath));
  EXPECT_TRUE(matches("model.layers.10.self_attn.q_proj", kPath));
  EXPECT_TRUE(matches("k_proj|q_proj", kPath));
  EXPECT_TRUE(matches("self.attn.q.proj", kPath)) << "a dot is any character";
  EXPECT_TRUE(matches("^model.*q_proj", kPath));
  EXPECT_FALSE(matches("proj", kPath)) << "a suffix begins after a dot";
  EXPECT_FALSE(matches("self_attn", kPath)) << "a key reaches to the end";
  EXPECT_FALSE(matches("layers.1.self_attn.q_proj", kPath));
  EXPECT_FALSE(matches("Q_PROJ", kPath));
  EXPECT_TRUE(matches("(?i)Q_PROJ", kPath));
}

TEST(ModuleRegex, LayerIsTheFirstNumberedListOfThatName) {
  const auto index = [](std::string_view pattern, std::string_view path) {
    const auto regex = ModuleRegex::layer(pattern);
    return regex ? regex->layer_index(path) : std::nullopt;
  };
  EXPECT_EQ(index("layers", "model.layers.12.mlp.up_proj"), 12);
  EXPECT_EQ(index("(?:h|layers)", "model.layers.3.experts.7.up_proj"), 3);
  EXPECT_EQ(index("experts", "model.layers.3.experts.7.up_proj"), 7);
  EXPECT_EQ(index("layers", "layers.5.x"), 5);
  EXPECT_EQ(index("ayers", "model.layers.5.x"), std::nullopt);
  EXPECT_EQ(index("layers", "model.layers.5"), std::nullopt);
}

TEST(ModuleRegex, WhatRe2ReadsOtherwiseThanPythonIsRefused) {
  for (const char* regex : {"(?=a)", "(?!a)", R"((a)\1)", "a++", "(", "a)(b", R"(\pL)",
                            "[[:alpha:]]", "a{,3}", R"(\Qa\E)", "(?<n>a)", R"(\C)", "a{2000}"}) {
    EXPECT_FALSE(ModuleRegex::suffix(regex)) << regex;
  }
  EXPECT_FALSE(ModuleRegex::whole(std::string(2000, 'a')));
}

TEST(ModuleRegex, ARegexThatBacktracksForEverInPythonIsAnsweredAtOnce) {
  const auto regex = ModuleRegex::whole("(a+)+b");
  ASSERT_TRUE(regex);
  EXPECT_FALSE(regex->matches(std::string(5'000, 'a')));
}

}  // namespace
}  // namespace tessera
