#include "engine/model/model_config.hpp"

#include <cmath>
#include <string>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace tessera {
namespace {

using Json = nlohmann::ordered_json;

Json good_config() {
  return {{"architectures", {"LlamaForCausalLM"}},
          {"model_type", "llama"},
          {"hidden_size", 128},
          {"intermediate_size", 192},
          {"num_attention_heads", 4},
          {"num_key_value_heads", 2},
          {"num_hidden_layers", 3},
          {"vocab_size", 500},
          {"max_position_embeddings", 256},
          {"rms_norm_eps", 1e-5},
          {"hidden_act", "silu"},
          {"tie_word_embeddings", true}};
}

Result<ModelSpec> parse_with(const char* patch) {
  Json config = good_config();
  config.merge_patch(Json::parse(patch));
  return parse_model_config(config.dump());
}

TEST(ModelConfig, LlamaShapeIsRead) {
  auto spec = parse_model_config(good_config().dump());
  ASSERT_TRUE(spec) << spec.error().message;
  EXPECT_EQ(spec->hidden, 128);
  EXPECT_EQ(spec->intermediate, 192);
  EXPECT_EQ(spec->num_heads, 4);
  EXPECT_EQ(spec->num_kv_heads, 2);
  EXPECT_EQ(spec->head_dim, 32);
  EXPECT_EQ(spec->num_layers(), 3);
  EXPECT_EQ(spec->vocab_size, 500);
  EXPECT_EQ(spec->max_positions, 256);
  EXPECT_TRUE(spec->tied_embeddings);
  EXPECT_FLOAT_EQ(spec->layers[2].attention_scale, 1.0F / std::sqrt(32.0F));
  EXPECT_FLOAT_EQ(spec->layers[2].rms_eps, 1e-5F);
  EXPECT_FLOAT_EQ(spec->layers[0].rope_theta, 10000.0F);
}

TEST(ModelConfig, HeadDimensionNeedNotBeHiddenOverHeads) {
  auto spec = parse_with(R"({"head_dim": 64})");
  ASSERT_TRUE(spec);
  EXPECT_EQ(spec->q_dim(), 256);
  EXPECT_EQ(spec->kv_dim(), 128);
}

TEST(ModelConfig, RopeThetaIsFoundInBothPlaces) {
  for (const char* patch :
       {R"({"rope_theta": 500000.0})",
        R"({"rope_parameters": {"rope_theta": 500000.0, "rope_type": "default"}})",
        R"({"rope_theta": 500000, "rope_scaling": null})"}) {
    auto spec = parse_with(patch);
    ASSERT_TRUE(spec) << patch;
    EXPECT_FLOAT_EQ(spec->layers[0].rope_theta, 500000.0F) << patch;
  }
}

struct Refusal {
  const char* name;
  const char* patch;
  const char* field;
};
void PrintTo(const Refusal& refusal, std::ostream* out) {
  *out << refusal.name;
}

class ModelConfigRefuses : public testing::TestWithParam<Refusal> {};

TEST_P(ModelConfigRefuses, NamingTheField) {
  auto spec = parse_with(GetParam().patch);
  ASSERT_FALSE(spec);
  EXPECT_EQ(spec.error().code, Code::kUnsupportedModel);
  EXPECT_EQ(spec.error().param, GetParam().field);
  EXPECT_NE(spec.error().message.find(GetParam().field), std::string::npos);
}

INSTANTIATE_TEST_SUITE_P(
    Fields, ModelConfigRefuses,
    testing::Values(
        Refusal{"Architecture", R"({"architectures": ["MambaForCausalLM"]})", "architectures"},
        Refusal{"NoArchitecture", R"({"architectures": null})", "architectures"},
        Refusal{"ModelType", R"({"model_type": "gemma"})", "model_type"},
        Refusal{"Activation", R"({"hidden_act": "gelu"})", "hidden_act"},
        Refusal{"AttentionBias", R"({"attention_bias": true})", "attention_bias"},
        Refusal{"MlpBias", R"({"mlp_bias": true})", "mlp_bias"},
        Refusal{"Quantised", R"({"quantization_config": {"bits": 4}})", "quantization_config"},
        Refusal{"RopeScaling", R"({"rope_scaling": {"rope_type": "llama3", "factor": 8.0}})",
                "rope_scaling.rope_type"},
        Refusal{"OldRopeScaling", R"({"rope_scaling": {"type": "linear", "factor": 2.0}})",
                "rope_scaling.type"},
        Refusal{"RopeParameters", R"({"rope_parameters": {"rope_type": "yarn"}})",
                "rope_parameters.rope_type"},
        Refusal{"PartialRotary", R"({"partial_rotary_factor": 0.5})", "partial_rotary_factor"},
        Refusal{"HiddenMissing", R"({"hidden_size": null})", "hidden_size"},
        Refusal{"HiddenText", R"({"hidden_size": "128"})", "hidden_size"},
        Refusal{"HiddenNotBlocks", R"({"hidden_size": 100, "head_dim": 64})", "hidden_size"},
        Refusal{"HiddenHuge", R"({"hidden_size": 134217728})", "hidden_size"},
        Refusal{"IntermediateNotBlocks", R"({"intermediate_size": 190})", "intermediate_size"},
        Refusal{"HeadsDoNotDivide", R"({"num_key_value_heads": 3})", "num_key_value_heads"},
        Refusal{"NoHeads", R"({"num_attention_heads": 0})", "num_attention_heads"},
        Refusal{"OddHead", R"({"head_dim": 33})", "head_dim"},
        Refusal{"Layers", R"({"num_hidden_layers": 100000})", "num_hidden_layers"},
        Refusal{"NegativeVocabulary", R"({"vocab_size": -1})", "vocab_size"},
        Refusal{"Epsilon", R"({"rms_norm_eps": "small"})", "rms_norm_eps"}),
    [](const auto& param) { return param.param.name; });

TEST(ModelConfig, TextThatIsNoJsonObjectIsRefused) {
  for (const char* text : {"", "[]", "{", "{\"a\":1,\"a\":2}", "nonsense"}) {
    EXPECT_FALSE(parse_model_config(text)) << text;
  }
}

TEST(EosIds, GenerationConfigComesFirst) {
  auto ids = parse_eos_ids(R"({"eos_token_id": 1})", R"({"eos_token_id": [9, 3, 9]})", 10);
  ASSERT_TRUE(ids);
  EXPECT_EQ(*ids, (std::vector<TokenId>{3, 9}));
}

TEST(EosIds, ConfigIsTheFallback) {
  for (const char* generation : {"", "{}", R"({"eos_token_id": null})"}) {
    auto ids = parse_eos_ids(R"({"eos_token_id": 1})", generation, 10);
    ASSERT_TRUE(ids);
    EXPECT_EQ(*ids, std::vector<TokenId>{1});
  }
}

TEST(EosIds, AnIdOutsideTheVocabularyIsRefused) {
  for (const char* config : {R"({"eos_token_id": 10})", R"({"eos_token_id": -1})",
                             R"({"eos_token_id": "x"})", R"({"eos_token_id": [[1], 77]})"}) {
    auto ids = parse_eos_ids(config, "", 10);
    ASSERT_FALSE(ids) << config;
    EXPECT_EQ(ids.error().param, "eos_token_id");
  }
}

}  // namespace
}  // namespace tessera
