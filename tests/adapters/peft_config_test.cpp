#include "adapters/peft_config.hpp"

#include <random>

#include <gtest/gtest.h>

#include "tests/adapters/test_package.hpp"

namespace tessera {
namespace {

using Json = nlohmann::ordered_json;

Json plain_config() {
  return {{"peft_type", "LORA"}, {"r", 8}, {"lora_alpha", 16}, {"target_modules", {"q_proj"}}};
}

struct Parsed {
  std::optional<PeftConfig> config;
  Findings findings;
};

Parsed parse(std::string_view text, const PeftConfigLimits& limits = {}) {
  Parsed parsed;
  parsed.config = parse_peft_config(text, limits, parsed.findings);
  return parsed;
}

Parsed parse_with(const std::string& field, const Json& value) {
  Json config = plain_config();
  config[field] = value;
  return parse(config.dump());
}

using Codes = std::set<std::string>;

TEST(PeftConfig, WhatChangesTheMathsIsRead) {
  Json config = plain_config();
  config["base_model_name_or_path"] = "acme/tiny";
  config["lora_alpha"] = 11.5;
  config["use_rslora"] = true;
  config["rank_pattern"] = {{"z", 4}, {"a", 2}};
  config["alpha_pattern"] = {{"z", 1.5}};
  config["exclude_modules"] = "lm_head";
  config["layers_to_transform"] = 1;
  config["layers_pattern"] = "layers";
  const auto parsed = parse(config.dump());
  ASSERT_TRUE(parsed.config);
  EXPECT_TRUE(parsed.findings.empty());
  EXPECT_EQ(parsed.config->base_model_name_or_path, "acme/tiny");
  EXPECT_EQ(parsed.config->r, 8);
  EXPECT_EQ(parsed.config->lora_alpha, 11.5);
  EXPECT_TRUE(parsed.config->use_rslora);
  EXPECT_EQ(parsed.config->alpha_pattern.at(0).second, 1.5);
  EXPECT_EQ(parsed.config->target_modules.names, std::vector<std::string>{"q_proj"});
  EXPECT_EQ(parsed.config->exclude_modules.regex, "lm_head");
  EXPECT_EQ(parsed.config->layers_to_transform, std::vector<int>{1});
  EXPECT_EQ(parsed.config->layers_pattern, std::vector<std::string>{"layers"});
}

TEST(PeftConfig, PatternsKeepTheOrderOfTheFile) {
  const auto parsed = parse_with("rank_pattern", {{"z", 4}, {"a", 2}, {"m", 1}});
  ASSERT_TRUE(parsed.config);
  const auto& pattern = parsed.config->rank_pattern;
  ASSERT_EQ(pattern.size(), 3U);
  EXPECT_EQ(pattern[0].first, "z");
  EXPECT_EQ(pattern[1].first, "a");
  EXPECT_EQ(pattern[2].first, "m");
}

TEST(PeftConfig, AllLinearIsRecognisedInAnyCase) {
  for (const char* spelling : {"all-linear", "All-Linear", "ALL-LINEAR"}) {
    const auto parsed = parse_with("target_modules", spelling);
    ASSERT_TRUE(parsed.config);
    EXPECT_EQ(parsed.config->target_modules.kind, ModuleSelector::Kind::kAllLinear);
  }
}

TEST(PeftConfig, PeftsOwnDefaultsAreNotAssumed) {
  for (const char* field : {"peft_type", "r", "lora_alpha", "target_modules"}) {
    Json config = plain_config();
    config.erase(field);
    const auto parsed = parse(config.dump());
    EXPECT_FALSE(parsed.config) << field;
    ASSERT_EQ(parsed.findings.size(), 1U) << field;
    EXPECT_EQ(to_string(parsed.findings[0].code), "missing_config_field");
    EXPECT_EQ(parsed.findings[0].subject, field);
  }
}

TEST(PeftConfig, EveryNeutralValueOfAnUnknownFieldPassesAndNoOther) {
  for (const Json& neutral : {Json(), Json(false), Json(""), Json::array(), Json::object()}) {
    EXPECT_TRUE(parse_with("use_new_thing", neutral).config) << neutral;
  }
  for (const Json& value : {Json(true), Json(0), Json("x"), Json::array({1}), Json(0.0)}) {
    const auto parsed = parse_with("use_new_thing", value);
    EXPECT_FALSE(parsed.config) << value;
    EXPECT_EQ(error_codes(parsed.findings), Codes{"unknown_config_field"}) << value;
    EXPECT_EQ(parsed.findings.at(0).subject, "use_new_thing");
  }
}

TEST(PeftConfig, FieldsThatChangeNothingWhenServedPass) {
  for (const auto& [field, value] :
       std::vector<std::pair<std::string, Json>>{{"lora_dropout", 0.1},
                                                 {"inference_mode", true},
                                                 {"peft_version", "0.18.0"},
                                                 {"revision", "main"},
                                                 {"auto_mapping", {{"base_model_class", "X"}}},
                                                 {"megatron_core", "megatron.core"},
                                                 {"qalora_group_size", 16},
                                                 {"init_lora_weights", "gaussian"},
                                                 {"init_lora_weights", "eva"},
                                                 {"init_lora_weights", false},
                                                 {"bias", "none"},
                                                 {"task_type", nullptr}}) {
    const auto parsed = parse_with(field, value);
    EXPECT_TRUE(parsed.config) << field;
    EXPECT_TRUE(parsed.findings.empty()) << field;
  }
}

TEST(PeftConfig, WhatOnlyTrainingReadsIsToldAsAWarning) {
  for (const auto& [field, value] :
       std::vector<std::pair<std::string, Json>>{{"fan_in_fan_out", true},
                                                 {"eva_config", {{"rho", 2.0}}},
                                                 {"loftq_config", {{"loftq_bits", 4}}},
                                                 {"velora_config", {{"num_groups", 4}}}}) {
    const auto parsed = parse_with(field, value);
    EXPECT_TRUE(parsed.config) << field;
    EXPECT_EQ(warning_codes(parsed.findings), Codes{"ignored_config_field"}) << field;
  }
}

struct BadField {
  std::string_view field;
  const char* value;  // JSON
  std::string_view code;
};

void PrintTo(const BadField& bad, std::ostream* out) {
  *out << bad.field << ": " << bad.value;
}

class PeftConfigBadField : public testing::TestWithParam<BadField> {};

TEST_P(PeftConfigBadField, IsRefusedByItsCodeAndName) {
  const BadField& bad = GetParam();
  const auto parsed = parse_with(std::string(bad.field), Json::parse(bad.value));
  EXPECT_FALSE(parsed.config);
  EXPECT_EQ(error_codes(parsed.findings), Codes{std::string(bad.code)});
  EXPECT_EQ(parsed.findings.at(0).subject, bad.field);
}

INSTANTIATE_TEST_SUITE_P(
    Table, PeftConfigBadField,
    testing::Values(
        BadField{"peft_type", "\"LOHA\"", "unsupported_peft_type"},
        BadField{"peft_type", "7", "unsupported_peft_type"},
        BadField{"task_type", "\"SEQ_CLS\"", "unsupported_task_type"},
        BadField{"base_model_name_or_path", "3", "invalid_config_value"},
        BadField{"r", "0", "invalid_config_value"}, BadField{"r", "-8", "invalid_config_value"},
        BadField{"r", "8.0", "invalid_config_value"},
        BadField{"r", "\"8\"", "invalid_config_value"}, BadField{"r", "257", "rank_too_large"},
        BadField{"r", "18446744073709551615", "invalid_config_value"},
        BadField{"lora_alpha", "0", "invalid_config_value"},
        BadField{"lora_alpha", "-1", "invalid_config_value"},
        BadField{"lora_alpha", "\"16\"", "invalid_config_value"},
        BadField{"lora_alpha", "null", "invalid_config_value"},
        BadField{"use_rslora", "1", "invalid_config_value"},
        BadField{"rank_pattern", "[1]", "invalid_config_value"},
        BadField{"rank_pattern", "{\"q\":0}", "invalid_config_value"},
        BadField{"rank_pattern", "{\"q\":1000}", "rank_too_large"},
        BadField{"alpha_pattern", "{\"q\":\"x\"}", "invalid_config_value"},
        BadField{"target_modules", "[]", "missing_config_field"},
        BadField{"target_modules", "[1]", "invalid_config_value"},
        BadField{"target_modules", "{\"q\":1}", "invalid_config_value"},
        BadField{"exclude_modules", "5", "invalid_config_value"},
        BadField{"layers_to_transform", "-1", "invalid_config_value"},
        BadField{"layers_to_transform", "[\"1\"]", "invalid_config_value"},
        BadField{"layers_pattern", "\"layers\"", "invalid_config_value"},
        BadField{"bias", "true", "invalid_config_value"},
        BadField{"bias", "\"some\"", "invalid_config_value"},
        BadField{"lora_bias", "\"yes\"", "invalid_config_value"},
        BadField{"target_parameters", "[3]", "invalid_config_value"},
        BadField{"modules_to_save", "\"lm_head\"", "invalid_config_value"},
        BadField{"trainable_token_indices", "[1,2,1]", "invalid_config_value"},
        BadField{"trainable_token_indices", "[-1]", "invalid_config_value"},
        BadField{"trainable_token_indices", "{\"lm_head\":7}", "invalid_config_value"},
        BadField{"ensure_weight_tying", "1", "invalid_config_value"},
        BadField{"init_lora_weights", "\"pissa\"", "unsupported_init_lora_weights"},
        BadField{"init_lora_weights", "\"pissa_niter_16\"", "unsupported_init_lora_weights"},
        BadField{"init_lora_weights", "\"olora\"", "unsupported_init_lora_weights"},
        BadField{"init_lora_weights", "\"corda\"", "unsupported_init_lora_weights"},
        BadField{"init_lora_weights", "\"loftq\"", "unsupported_init_lora_weights"},
        BadField{"init_lora_weights", "\"lora_ga\"", "unsupported_init_lora_weights"},
        BadField{"init_lora_weights", "3", "invalid_config_value"},
        BadField{"use_dora", "\"true\"", "invalid_config_value"},
        BadField{"use_qalora", "true", "unsupported_qalora"},
        BadField{"alora_invocation_tokens", "[\"5\"]", "invalid_config_value"},
        BadField{"alora_invocation_tokens", "5", "invalid_config_value"},
        BadField{"layer_replication", "[[0,2]]", "unsupported_layer_replication"},
        BadField{"use_bdlora", "true", "invalid_config_value"},
        BadField{"use_bdlora", "{\"nblocks\":0}", "invalid_config_value"},
        BadField{"use_bdlora", "{\"target_modules_bd_a\":\"q\"}", "invalid_config_value"},
        BadField{"use_bdlora", "{\"new\":1}", "invalid_config_value"},
        BadField{"arrow_config", "{\"top_k\":1}", "unsupported_arrow"},
        BadField{"kasa_config", "{\"beta\":1}", "unsupported_kasa"},
        BadField{"monteclora_config", "{\"num_samples\":1}", "unsupported_monteclora"},
        BadField{"megatron_config", "{\"x\":1}", "unsupported_megatron"}));

TEST(PeftConfig, AllFaultsAreToldAtOnce) {
  Json config = plain_config();
  config["use_qalora"] = true;
  config["layer_replication"] = {{0, 2}};
  config["r"] = 0;
  config.erase("lora_alpha");
  EXPECT_EQ(error_codes(parse(config.dump()).findings),
            (Codes{"unsupported_qalora", "unsupported_layer_replication", "invalid_config_value",
                   "missing_config_field"}));
}

TEST(PeftConfig, VariantsAreRead) {
  Json config = plain_config();
  config["bias"] = "lora_only";
  config["use_dora"] = true;
  config["modules_to_save"] = {"lm_head"};
  config["trainable_token_indices"] = {{"embed_tokens", {3, 1}}};
  config["ensure_weight_tying"] = true;
  const auto parsed = parse(config.dump());
  ASSERT_TRUE(parsed.config) << error_codes(parsed.findings).size();
  EXPECT_EQ(parsed.config->bias, BiasTraining::kLoraOnly);
  EXPECT_TRUE(parsed.config->use_dora);
  EXPECT_EQ(parsed.config->modules_to_save, std::vector<std::string>{"lm_head"});
  ASSERT_EQ(parsed.config->trainable_tokens.size(), 1U);
  EXPECT_EQ(parsed.config->trainable_tokens[0].module, "embed_tokens");
  EXPECT_EQ(parsed.config->trainable_tokens[0].ids, (std::vector<TokenId>{3, 1}));
  EXPECT_TRUE(parsed.config->ensure_weight_tying);
}

TEST(PeftConfig, BlockDiagonalFactorsAndInvocationsAreRead) {
  const auto blocks = parse_with(
      "use_bdlora", {{"target_modules_bd_a", {"o_proj"}}, {"nblocks", 4}, {"match_strict", false}});
  ASSERT_TRUE(blocks.config);
  ASSERT_TRUE(blocks.config->bdlora);
  EXPECT_EQ(blocks.config->bdlora->block_a, std::vector<std::string>{"o_proj"});
  EXPECT_EQ(blocks.config->bdlora->num_blocks, 4);
  EXPECT_FALSE(blocks.config->bdlora->match_strict);
  const auto activated = parse_with("alora_invocation_tokens", {7, 7, 2});
  ASSERT_TRUE(activated.config);
  EXPECT_EQ(activated.config->invocation, (std::vector<TokenId>{7, 7, 2}));
}

TEST(PeftConfig, VariantsThatPeftDoesNotCombineAreRefused) {
  const auto codes = [](const Json& fields) {
    Json config = plain_config();
    config.update(fields);
    return error_codes(parse(config.dump()).findings);
  };
  EXPECT_EQ(codes({{"use_dora", true}, {"alora_invocation_tokens", {1}}}),
            Codes{"invalid_config_value"});
  EXPECT_EQ(codes({{"use_dora", true}, {"lora_bias", true}}), Codes{"invalid_config_value"});
  EXPECT_EQ(codes({{"bias", "all"}, {"alora_invocation_tokens", {1}}}), Codes{"unsupported_bias"});
  EXPECT_EQ(codes({{"modules_to_save", {"lm_head"}}, {"alora_invocation_tokens", {1}}}),
            Codes{"unsupported_modules_to_save"});
  EXPECT_EQ(codes({{"trainable_token_indices", {1}}, {"alora_invocation_tokens", {1}}}),
            Codes{"unsupported_trainable_tokens"});
  EXPECT_EQ(codes({{"use_dora", true}, {"target_parameters", {"mlp.experts.down_proj"}}}),
            Codes{"invalid_config_value"});
}

TEST(PeftConfig, ConvertibleInitialisationsSayHowToConvertThem) {
  const auto pissa = parse_with("init_lora_weights", "pissa").findings;
  EXPECT_NE(pissa.at(0).message.find("path_initial_model_for_weight_conversion"),
            std::string::npos);
  const auto loftq = parse_with("init_lora_weights", "loftq").findings;
  EXPECT_EQ(loftq.at(0).message.find("path_initial_model"), std::string::npos);
}

TEST(PeftConfig, LayersNeedAListOfTargets) {
  Json config = plain_config();
  config["target_modules"] = ".*q_proj";
  config["layers_to_transform"] = {0};
  EXPECT_EQ(error_codes(parse(config.dump()).findings), Codes{"invalid_config_value"});
}

TEST(PeftConfig, TextThatIsNotOneStrictObjectIsRefused) {
  const auto codes = [](std::string_view text) { return error_codes(parse(text).findings); };
  EXPECT_EQ(codes("{"), Codes{"config_invalid_json"});
  EXPECT_EQ(codes("[]"), Codes{"config_invalid_json"});
  EXPECT_EQ(codes(""), Codes{"config_invalid_json"});
  EXPECT_EQ(codes("{\"r\":NaN}"), Codes{"config_invalid_json"});
  EXPECT_EQ(codes(std::string(10'000, '[')), Codes{"config_invalid_json"});
  EXPECT_EQ(codes(std::string("{}\0{}", 5)), Codes{"config_invalid_json"});
  EXPECT_EQ(codes(R"({"r":8,"r":9})"), Codes{"config_duplicate_key"});
  EXPECT_EQ(codes(R"({"rank_pattern":{"q":8,"q":9}})"), Codes{"config_duplicate_key"});
  EXPECT_EQ(codes(std::string(300'000, ' ')), Codes{"config_too_large"});
}

TEST(PeftConfig, MutatedConfigsAreAnsweredAndNeverPassWithAnError) {
  const std::string original = plain_config().dump();
  for (unsigned seed = 0; seed < 5'000; ++seed) {
    std::mt19937 random(seed);
    std::string text = original;
    for (unsigned i = 0; i <= random() % 3; ++i) {
      text[random() % text.size()] = "\"{}[]:,0-9.eE\\xtrue\n"[random() % 20];
    }
    const auto parsed = parse(text);
    ASSERT_EQ(parsed.config.has_value(), !has_errors(parsed.findings)) << "seed " << seed;
  }
}

}  // namespace
}  // namespace tessera
