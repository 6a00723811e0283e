#include "engine/model/model_config.hpp"

#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "engine/model/spec_json.hpp"

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
  EXPECT_EQ(spec->ropes.at(0).inv_freq, plain_inv_freq(10000.0F, 32));
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
    EXPECT_EQ(spec->ropes.at(0).inv_freq, plain_inv_freq(500000.0F, spec->head_dim)) << patch;
  }
}

std::string text_of(const ModelSpec& spec) {
  return spec_to_json(spec).dump();
}

ModelSpec parse(const char* config) {
  auto spec = parse_model_config(config);
  EXPECT_TRUE(spec) << spec.error().message;
  return spec ? *spec : ModelSpec();
}

TEST(ModelConfig, OlderAndNewerFilesSayTheSame) {
  const std::pair<const char*, const char*> pairs[] = {
      {R"({"rope_theta": 500000.0, "rope_scaling": {"rope_type": "llama3", "factor": 8.0,
           "low_freq_factor": 1.0, "high_freq_factor": 4.0,
           "original_max_position_embeddings": 64}, "torch_dtype": "bfloat16"})",
       R"({"rope_parameters": {"rope_type": "llama3", "factor": 8.0, "rope_theta": 500000.0,
           "low_freq_factor": 1.0, "high_freq_factor": 4.0,
           "original_max_position_embeddings": 64}, "dtype": "bfloat16"})"},
      {R"({"rope_scaling": {"type": "linear", "factor": 2.0}})",
       R"({"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 10000.0}})"},
      {R"({"rope_scaling": {"type": "dynamic", "factor": 2.0}})", R"({"rope_scaling": null})"},
      {R"({"rope_scaling": {"type": "yarn", "factor": 4.0}})",
       R"({"rope_parameters": {"rope_type": "yarn", "factor": 4.0,
           "original_max_position_embeddings": 256, "beta_fast": 32, "beta_slow": 1}})"}};
  for (const auto& [older, newer] : pairs) {
    auto one = parse_with(older);
    auto other = parse_with(newer);
    ASSERT_TRUE(one && other) << older;
    EXPECT_EQ(text_of(*one), text_of(*other)) << older;
  }
}

TEST(ModelConfig, LinearScalingDividesTheFrequencies) {
  auto spec = parse_with(R"({"rope_scaling": {"rope_type": "linear", "factor": 4.0}})");
  ASSERT_TRUE(spec);
  const auto plain = plain_inv_freq(10000.0F, 32);
  for (std::size_t i = 0; i < plain.size(); ++i) {
    EXPECT_EQ(spec->ropes[0].inv_freq[i], plain[i] / 4.0F);
  }
  EXPECT_EQ(spec->max_positions, 256);
}

TEST(ModelConfig, YarnReachesAsFarAsItWasScaledTo) {
  auto spec = parse_with(R"({"rope_scaling": {"rope_type": "yarn", "factor": 4.0,
                             "original_max_position_embeddings": 256}})");
  ASSERT_TRUE(spec);
  EXPECT_EQ(spec->max_positions, 1024);
  EXPECT_FLOAT_EQ(spec->ropes[0].scale, 0.1F * std::log(4.0F) + 1.0F);
}

TEST(ModelConfig, BiasesAreThoseOfTheFlags) {
  const ModelSpec none = *parse_with("{}");
  const ModelSpec attention = *parse_with(R"({"attention_bias": true})");
  const ModelSpec mlp = *parse_with(R"({"mlp_bias": true})");
  EXPECT_EQ(none.layers[0].biases, 0);
  EXPECT_EQ(attention.layers[2].biases, 0b0001111);
  EXPECT_EQ(mlp.layers[2].biases, 0b1110000);
}

// The sizes and fields of published configs.

TEST(ModelConfig, Mistral7B) {
  const ModelSpec spec = parse(R"({"architectures": ["MistralForCausalLM"],
      "model_type": "mistral", "hidden_size": 4096, "intermediate_size": 14336,
      "num_attention_heads": 32, "num_key_value_heads": 8, "num_hidden_layers": 32,
      "vocab_size": 32000, "max_position_embeddings": 32768, "sliding_window": 4096,
      "rms_norm_eps": 1e-05, "rope_theta": 10000.0, "hidden_act": "silu"})");
  EXPECT_EQ(spec.head_dim, 128);
  EXPECT_EQ(spec.layers.at(31).window, 4096);
}

TEST(ModelConfig, ANullWindowIsNoneAndAMissingOneIsTheFamilys) {
  Json config = good_config();
  config["architectures"] = {"MistralForCausalLM"};
  config["model_type"] = "mistral";
  EXPECT_EQ(parse_model_config(config.dump())->layers.at(0).window, 4096);
  config["sliding_window"] = nullptr;
  EXPECT_EQ(parse_model_config(config.dump())->layers.at(0).window, 0);
}

TEST(ModelConfig, Mixtral8x7B) {
  const ModelSpec spec = parse(R"({"architectures": ["MixtralForCausalLM"],
      "model_type": "mixtral", "hidden_size": 4096, "intermediate_size": 14336,
      "num_attention_heads": 32, "num_key_value_heads": 8, "num_hidden_layers": 32,
      "num_local_experts": 8, "num_experts_per_tok": 2, "vocab_size": 32000,
      "max_position_embeddings": 32768, "sliding_window": null, "rope_theta": 1000000.0,
      "rms_norm_eps": 1e-05, "router_aux_loss_coef": 0.02})");
  EXPECT_EQ(spec.num_experts, 8);
  EXPECT_EQ(spec.experts_per_token, 2);
  EXPECT_EQ(spec.expert_intermediate, 14336);
  EXPECT_EQ(spec.intermediate, 0);
  EXPECT_TRUE(spec.normalise_expert_weights);
  EXPECT_TRUE(spec.layers.at(31).experts);
}

TEST(ModelConfig, Qwen25HasBiasesOfQueriesKeysAndValues) {
  const char* config = R"({"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2",
      "hidden_size": 3584, "intermediate_size": 18944, "num_attention_heads": 28,
      "num_key_value_heads": 4, "num_hidden_layers": 28, "vocab_size": 152064,
      "max_position_embeddings": 32768, "max_window_layers": 21, "rms_norm_eps": 1e-06,
      "rope_theta": 1000000.0, "sliding_window": 131072, "use_sliding_window": false})";
  const ModelSpec spec = parse(config);
  EXPECT_EQ(spec.layers.at(27).biases, 0b0000111);
  EXPECT_EQ(spec.layers.at(27).window, 0);
  Json windowed = Json::parse(config);
  windowed["use_sliding_window"] = true;
  const ModelSpec with = parse(windowed.dump().c_str());
  EXPECT_EQ(with.layers.at(20).window, 0);
  EXPECT_EQ(with.layers.at(21).window, 131072);
}

TEST(ModelConfig, Qwen3MoeSaysWhichLayersHaveExperts) {
  const ModelSpec spec = parse(R"({"architectures": ["Qwen3MoeForCausalLM"],
      "model_type": "qwen3_moe", "attention_bias": false, "decoder_sparse_step": 2,
      "head_dim": 128, "hidden_size": 2048, "intermediate_size": 6144,
      "max_position_embeddings": 40960, "max_window_layers": 48, "mlp_only_layers": [3],
      "moe_intermediate_size": 768, "norm_topk_prob": true, "num_attention_heads": 32,
      "num_experts": 128, "num_experts_per_tok": 8, "num_hidden_layers": 6,
      "num_key_value_heads": 4, "rms_norm_eps": 1e-06, "rope_theta": 1000000.0,
      "sliding_window": null, "use_sliding_window": false, "vocab_size": 151936})");
  std::vector<int> with_experts;
  for (int i = 0; i < spec.num_layers(); ++i) {
    if (spec.layers[static_cast<std::size_t>(i)].experts) with_experts.push_back(i);
  }
  EXPECT_EQ(with_experts, (std::vector<int>{1, 5}));
  EXPECT_EQ(spec.intermediate, 6144);
  EXPECT_EQ(spec.expert_intermediate, 768);
  EXPECT_TRUE(spec.normalise_expert_weights);
  EXPECT_EQ(spec.layers[0].qk_norm, QkNorm::kPerHead);
}

TEST(ModelConfig, Gemma2) {
  const ModelSpec spec = parse(R"({"architectures": ["Gemma2ForCausalLM"], "model_type": "gemma2",
      "attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0, "head_dim": 256,
      "hidden_act": "gelu_pytorch_tanh", "hidden_activation": "gelu_pytorch_tanh",
      "hidden_size": 4608, "intermediate_size": 36864, "max_position_embeddings": 8192,
      "num_attention_heads": 32, "num_hidden_layers": 46, "num_key_value_heads": 16,
      "query_pre_attn_scalar": 144, "rms_norm_eps": 1e-06, "rope_theta": 10000.0,
      "sliding_window": 4096, "vocab_size": 256000})");
  EXPECT_TRUE(spec.tied_embeddings);
  EXPECT_FLOAT_EQ(spec.embedding_scale, std::sqrt(4608.0F));
  EXPECT_EQ(spec.logit_softcap, 30.0F);
  EXPECT_EQ(spec.layers[0].window, 4096);
  EXPECT_EQ(spec.layers[1].window, 0);
  EXPECT_EQ(spec.layers[1].attention_softcap, 50.0F);
  EXPECT_FLOAT_EQ(spec.layers[1].attention_scale, 1.0F / 12.0F);
  EXPECT_EQ(spec.layers[1].activation, Activation::kGeluTanh);
  EXPECT_TRUE(spec.layers[1].pre_norms && spec.layers[1].post_norms);
}

// What google/gemma-3-4b-it says: the rest is Gemma 3's own defaults.
TEST(ModelConfig, Gemma3WithItsTextConfigNested) {
  const ModelSpec spec = parse(R"({"architectures": ["Gemma3ForConditionalGeneration"],
      "model_type": "gemma3", "boi_token_index": 255999, "image_token_index": 262144,
      "text_config": {"hidden_size": 2560, "intermediate_size": 10240,
        "model_type": "gemma3_text", "num_hidden_layers": 34,
        "rope_scaling": {"factor": 8.0, "rope_type": "linear"}, "sliding_window": 1024},
      "vision_config": {"hidden_size": 1152, "num_hidden_layers": 27}})");
  EXPECT_EQ(spec.vocab_size, 262208);
  EXPECT_EQ(spec.q_dim(), 2048);
  EXPECT_EQ(spec.kv_dim(), 1024);
  EXPECT_TRUE(spec.tied_embeddings);
  EXPECT_EQ(spec.max_positions, 131072);
  ASSERT_EQ(spec.ropes.size(), 2U);
  EXPECT_EQ(spec.ropes[0].inv_freq[0], 1.0F / 8.0F);
  EXPECT_EQ(spec.ropes[1].inv_freq, plain_inv_freq(10000.0F, 256));
  for (int i = 0; i < 34; ++i) {
    const LayerSpec& layer = spec.layers.at(static_cast<std::size_t>(i));
    const bool is_global = (i + 1) % 6 == 0;
    EXPECT_EQ(layer.window, is_global ? 0 : 1024);
    EXPECT_EQ(layer.rope, is_global ? 0 : 1);
    EXPECT_FLOAT_EQ(layer.attention_scale, 1.0F / 16.0F);
  }
}

Json phi4_mini() {
  return {{"architectures", {"Phi3ForCausalLM"}},
          {"model_type", "phi3"},
          {"attention_bias", false},
          {"lm_head_bias", false},
          {"mlp_bias", false},
          {"hidden_act", "silu"},
          {"hidden_size", 3072},
          {"intermediate_size", 8192},
          {"num_attention_heads", 24},
          {"num_key_value_heads", 8},
          {"num_hidden_layers", 32},
          {"vocab_size", 200064},
          {"max_position_embeddings", 131072},
          {"original_max_position_embeddings", 4096},
          {"partial_rotary_factor", 0.75},
          {"rms_norm_eps", 1e-5},
          {"rope_theta", 10000.0},
          {"rope_scaling",
           {{"type", "longrope"},
            {"short_factor", std::vector<double>(48, 1.0)},
            {"long_factor", std::vector<double>(48, 2.0)}}},
          {"sliding_window", 262144},
          {"tie_word_embeddings", true}};
}

TEST(ModelConfig, Phi4MiniRotatesThreeQuartersOfAHeadAndHasTwoSetsOfFrequencies) {
  const ModelSpec spec = parse(phi4_mini().dump().c_str());
  const RopeSpec& rope = spec.ropes.at(0);
  EXPECT_EQ(rope.inv_freq, plain_inv_freq(10000.0F, 96));
  ASSERT_EQ(rope.long_inv_freq.size(), 48U);
  EXPECT_FLOAT_EQ(rope.long_inv_freq[1], rope.inv_freq[1] / 2.0F);
  EXPECT_EQ(rope.short_positions, 4096);
  EXPECT_EQ(spec.short_positions(), 4096);
  EXPECT_FLOAT_EQ(rope.scale, std::sqrt(1.0F + std::log(32.0F) / std::log(4096.0F)));
}

TEST(ModelConfig, OlderPhi3FilesCallLongRopeOtherwise) {
  for (const char* name : {"su", "yarn"}) {
    Json config = phi4_mini();
    config["rope_scaling"]["type"] = name;
    EXPECT_EQ(text_of(parse(config.dump().c_str())), text_of(parse(phi4_mini().dump().c_str())));
  }
}

TEST(ModelConfig, LongRopeWithAFactorMissingIsRefused) {
  Json config = phi4_mini();
  config["rope_scaling"]["long_factor"] = {1.0, 2.0};
  auto spec = parse_model_config(config.dump());
  ASSERT_FALSE(spec);
  EXPECT_EQ(spec.error().param, "rope_scaling.long_factor");
}

TEST(ModelConfig, SmolLM3LeavesEveryFourthLayerUnrotated) {
  const char* config = R"({"architectures": ["SmolLM3ForCausalLM"], "model_type": "smollm3",
      "hidden_size": 2048, "intermediate_size": 11008, "num_attention_heads": 16,
      "num_key_value_heads": 4, "num_hidden_layers": 8, "vocab_size": 128256,
      "max_position_embeddings": 65536, "no_rope_layer_interval": 4, "rope_theta": 5000000.0,
      "rope_scaling": null, "sliding_window": null, "use_sliding_window": false,
      "attention_bias": false, "mlp_bias": false})";
  const ModelSpec spec = parse(config);
  EXPECT_TRUE(spec.tied_embeddings);
  for (std::size_t i = 0; i < 8; ++i) EXPECT_EQ(spec.layers[i].rope, i % 4 == 3 ? kNoRope : 0);
  Json listed = Json::parse(config);
  listed["no_rope_layers"] = {0, 1, 1, 1, 1, 1, 1, 1};  // 1: rotated
  EXPECT_EQ(parse(listed.dump().c_str()).layers[0].rope, kNoRope);
  EXPECT_EQ(parse(listed.dump().c_str()).layers[3].rope, 0);
}

TEST(ModelConfig, GranitesFourMultipliers) {
  Json config = good_config();
  config["architectures"] = {"GraniteForCausalLM"};
  config["model_type"] = "granite";
  config["embedding_multiplier"] = 12.0;
  config["logits_scaling"] = 16.0;
  config["residual_multiplier"] = 0.22;
  config["attention_multiplier"] = 0.0078125;
  const ModelSpec spec = parse(config.dump().c_str());
  EXPECT_EQ(spec.embedding_scale, 12.0F);
  EXPECT_EQ(spec.logit_scale, 0.0625F);
  EXPECT_EQ(spec.layers[1].residual_scale, 0.22F);
  EXPECT_EQ(spec.layers[1].attention_scale, 0.0078125F);
}

TEST(ModelConfig, Olmo2NormalisesWhatComesOutOnly) {
  Json config = good_config();
  config["architectures"] = {"Olmo2ForCausalLM"};
  config["model_type"] = "olmo2";
  const LayerSpec layer = parse(config.dump().c_str()).layers.at(0);
  EXPECT_FALSE(layer.pre_norms);
  EXPECT_TRUE(layer.post_norms);
  EXPECT_EQ(layer.qk_norm, QkNorm::kWhole);
}

TEST(ModelConfig, AnUnknownArchitectureIsToldWhichAreKnown) {
  auto spec = parse_with(R"({"architectures": ["MambaForCausalLM"]})");
  ASSERT_FALSE(spec);
  for (const char* word : {"MambaForCausalLM", "LlamaForCausalLM", "Olmo2ForCausalLM"}) {
    EXPECT_NE(spec.error().message.find(word), std::string::npos) << word;
  }
  EXPECT_EQ(*parse_architecture(good_config().dump()), "LlamaForCausalLM");
}

struct SpecRefusal {
  const char* name;
  const char* field;
  void (*break_it)(ModelSpec& spec);
};
void PrintTo(const SpecRefusal& refusal, std::ostream* out) {
  *out << refusal.name;
}

class CheckSpecRefuses : public testing::TestWithParam<SpecRefusal> {};

TEST_P(CheckSpecRefuses, NamingTheField) {
  Json config = good_config();
  config["architectures"] = {"MixtralForCausalLM"};
  config["model_type"] = "mixtral";
  config["num_local_experts"] = 4;
  config["num_experts_per_tok"] = 2;
  ModelSpec spec = parse(config.dump().c_str());
  ASSERT_TRUE(check_spec(spec));
  GetParam().break_it(spec);
  const auto checked = check_spec(spec);
  ASSERT_FALSE(checked);
  EXPECT_EQ(checked.error().param, GetParam().field);
}

INSTANTIATE_TEST_SUITE_P(
    Fields, CheckSpecRefuses,
    testing::Values(SpecRefusal{"NegativeWindow", "sliding_window",
                                [](ModelSpec& spec) { spec.layers[0].window = -1; }},
                    SpecRefusal{"RopeBeyondTheList", "rope_parameters",
                                [](ModelSpec& spec) { spec.layers[0].rope = 1; }},
                    SpecRefusal{"RopeBelowNone", "rope_parameters",
                                [](ModelSpec& spec) { spec.layers[0].rope = -2; }},
                    SpecRefusal{"RopeWiderThanAHead", "rope_parameters",
                                [](ModelSpec& spec) { spec.ropes[0].inv_freq.resize(17, 1.0F); }},
                    SpecRefusal{"RopeWithoutFrequencies", "rope_parameters",
                                [](ModelSpec& spec) { spec.ropes[0].inv_freq.clear(); }},
                    SpecRefusal{"RopeNotFinite", "rope_parameters",
                                [](ModelSpec& spec) { spec.ropes[0].inv_freq[0] = INFINITY; }},
                    SpecRefusal{"LongRopeOfAnotherSize", "rope_parameters",
                                [](ModelSpec& spec) { spec.ropes[0].long_inv_freq = {1.0F}; }},
                    SpecRefusal{"TooManyRopes", "rope_parameters",
                                [](ModelSpec& spec) { spec.ropes.resize(17, spec.ropes[0]); }},
                    SpecRefusal{"TooManyExperts", "num_experts",
                                [](ModelSpec& spec) { spec.num_experts = 1 << 20; }},
                    SpecRefusal{"NoExperts", "num_experts",
                                [](ModelSpec& spec) { spec.num_experts = 0; }},
                    SpecRefusal{"MoreExpertsATokenThanThereAre", "num_experts_per_tok",
                                [](ModelSpec& spec) { spec.experts_per_token = 5; }},
                    SpecRefusal{"ExpertNotBlocks", "moe_intermediate_size",
                                [](ModelSpec& spec) { spec.expert_intermediate = 100; }},
                    SpecRefusal{"BiasOfAnExpert", "mlp_bias",
                                [](ModelSpec& spec) { spec.layers[0].set_bias(Linear::kUp); }},
                    SpecRefusal{"BiasOfNothing", "mlp_bias",
                                [](ModelSpec& spec) { spec.layers[0].biases = 128; }},
                    SpecRefusal{"ScaleNotANumber", "attention_multiplier",
                                [](ModelSpec& spec) { spec.layers[0].attention_scale = NAN; }},
                    SpecRefusal{"NegativeCap", "attn_logit_softcapping",
                                [](ModelSpec& spec) { spec.layers[0].attention_softcap = -1.0F; }},
                    SpecRefusal{"NoResidual", "residual_multiplier",
                                [](ModelSpec& spec) { spec.layers[0].residual_scale = 0.0F; }},
                    SpecRefusal{"NoEmbedding", "embedding_multiplier",
                                [](ModelSpec& spec) { spec.embedding_scale = 0.0F; }},
                    SpecRefusal{"LogitScale", "logits_scaling",
                                [](ModelSpec& spec) { spec.logit_scale = INFINITY; }},
                    SpecRefusal{"LogitCap", "final_logit_softcapping",
                                [](ModelSpec& spec) { spec.logit_softcap = NAN; }}),
    [](const auto& param) { return param.param.name; });

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
        Refusal{"Flag", R"({"attention_bias": "yes"})", "attention_bias"},
        Refusal{"RopeType", R"({"rope_scaling": {"rope_type": "mrope", "factor": 8.0}})",
                "rope_scaling.rope_type"},
        Refusal{"OldRopeType", R"({"rope_scaling": {"type": "mrope"}})", "rope_scaling.type"},
        Refusal{"RopeFactorMissing", R"({"rope_scaling": {"type": "linear"}})",
                "rope_scaling.factor"},
        Refusal{"RopeFactorZero", R"({"rope_scaling": {"type": "linear", "factor": 0}})",
                "rope_scaling.factor"},
        Refusal{"Llama3Factors",
                R"({"rope_parameters": {"rope_type": "llama3", "factor": 8.0,
                    "low_freq_factor": 4.0, "high_freq_factor": 1.0}})",
                "rope_parameters.high_freq_factor"},
        Refusal{"RopeTheta", R"({"rope_theta": -1})", "rope_parameters.rope_theta"},
        Refusal{"RopeNoObject", R"({"rope_parameters": 3})", "rope_parameters"},
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
