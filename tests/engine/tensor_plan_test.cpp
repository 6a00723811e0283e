#include "engine/model/tensor_plan.hpp"

#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace tessera {
namespace {

using Names = std::set<std::string, std::less<>>;

const std::string kLayer = "model.layers.0.";

// One layer of 4 heads of 16, 2 of keys and values.
ModelSpec one_layer() {
  ModelSpec spec;
  spec.vocab_size = 80;
  spec.hidden = 64;
  spec.intermediate = 128;
  spec.num_heads = 4;
  spec.num_kv_heads = 2;
  spec.head_dim = 16;
  spec.layers.resize(1);
  return spec;
}

Names llama_names() {
  Names names = {"model.embed_tokens.weight", "model.norm.weight", "lm_head.weight"};
  for (const char* name :
       {"input_layernorm", "post_attention_layernorm", "self_attn.q_proj", "self_attn.k_proj",
        "self_attn.v_proj", "self_attn.o_proj", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"}) {
    names.insert(kLayer + name + ".weight");
  }
  return names;
}

Result<std::vector<PlannedTensor>> plan(const ModelSpec& spec, const Names& names,
                                        std::string_view architecture = "LlamaForCausalLM") {
  return plan_tensors(spec, architecture,
                      [&](std::string_view name) { return names.contains(name); });
}

PlannedTensor at(const std::vector<PlannedTensor>& plan, std::string_view section) {
  for (const PlannedTensor& planned : plan) {
    if (planned.section == section) return planned;
  }
  throw std::runtime_error("no section " + std::string(section));
}

TEST(TensorPlan, ALlamaHasItsTensorsInFileOrder) {
  const auto planned = plan(one_layer(), llama_names());
  ASSERT_TRUE(planned) << planned.error().message;
  std::vector<std::string> sections;
  for (const PlannedTensor& tensor : *planned) sections.push_back(tensor.section);
  EXPECT_EQ(sections,
            (std::vector<std::string>{"embedding", "layers.0.attention_norm", "layers.0.mlp_norm",
                                      "layers.0.q_proj", "layers.0.k_proj", "layers.0.v_proj",
                                      "layers.0.o_proj", "layers.0.gate_proj", "layers.0.up_proj",
                                      "layers.0.down_proj", "final_norm", "head"}));
  EXPECT_EQ(at(*planned, "layers.0.k_proj").rows, 32);
  EXPECT_EQ(at(*planned, "layers.0.k_proj").cols, 64);
  EXPECT_EQ(at(*planned, "layers.0.k_proj").role, TensorRole::kLinear);
  EXPECT_EQ(at(*planned, "head").role, TensorRole::kTable);
  EXPECT_EQ(at(*planned, "layers.0.mlp_norm").add, 0.0F);
}

TEST(TensorPlan, FusedMatricesAreTakenByRows) {
  Names names = llama_names();
  for (const char* name : {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj",
                           "mlp.gate_proj", "mlp.up_proj"}) {
    names.erase(kLayer + name + ".weight");
  }
  names.insert(kLayer + "self_attn.qkv_proj.weight");
  names.insert(kLayer + "mlp.gate_up_proj.weight");
  const auto planned = plan(one_layer(), names, "Phi3ForCausalLM");
  ASSERT_TRUE(planned) << planned.error().message;
  EXPECT_EQ(at(*planned, "layers.0.q_proj").first_row, 0);
  EXPECT_EQ(at(*planned, "layers.0.k_proj").first_row, 64);
  EXPECT_EQ(at(*planned, "layers.0.v_proj").first_row, 96);
  EXPECT_EQ(at(*planned, "layers.0.v_proj").tensor, kLayer + "self_attn.qkv_proj.weight");
  EXPECT_EQ(at(*planned, "layers.0.up_proj").first_row, 128);
}

TEST(TensorPlan, GemmasNormsAreStoredLessOneAndSaidToComeAfter) {
  ModelSpec spec = one_layer();
  spec.layers[0].post_norms = true;
  spec.layers[0].qk_norm = QkNorm::kPerHead;
  Names names = llama_names();
  for (const char* name : {"pre_feedforward_layernorm", "post_feedforward_layernorm",
                           "self_attn.q_norm", "self_attn.k_norm"}) {
    names.insert(kLayer + name + ".weight");
  }
  const auto planned = plan(spec, names, "Gemma3ForCausalLM");
  ASSERT_TRUE(planned) << planned.error().message;
  EXPECT_EQ(at(*planned, "layers.0.mlp_norm").tensor, kLayer + "pre_feedforward_layernorm.weight");
  EXPECT_EQ(at(*planned, "layers.0.post_attention_norm").tensor,
            kLayer + "post_attention_layernorm.weight");
  for (const char* norm : {"layers.0.attention_norm", "layers.0.q_norm", "final_norm"}) {
    EXPECT_EQ(at(*planned, norm).add, 1.0F) << norm;
  }
  EXPECT_EQ(at(*planned, "layers.0.q_proj").add, 0.0F);
}

TEST(TensorPlan, TheTextModelOfAMultimodalCheckpointIsFoundUnderBothItsPrefixes) {
  for (const std::string prefix : {"model.language_model.", "language_model.model."}) {
    Names names;
    for (const std::string& name : llama_names()) {
      names.insert(name.starts_with("model.") ? prefix + name.substr(6) : "language_model." + name);
    }
    const auto planned = plan(one_layer(), names, "Gemma3ForConditionalGeneration");
    ASSERT_TRUE(planned) << planned.error().message;
    EXPECT_EQ(at(*planned, "final_norm").tensor, prefix + "norm.weight");
    EXPECT_EQ(at(*planned, "head").tensor, "language_model.lm_head.weight");
  }
}

// Of two experts; as modules under either name, or all in one tensor of three dimensions.
TEST(TensorPlan, ExpertsHaveThreeNamings) {
  ModelSpec spec = one_layer();
  spec.num_experts = 2;
  spec.experts_per_token = 1;
  spec.expert_intermediate = 64;
  spec.layers[0].experts = true;
  Names modules = llama_names();
  Names mixtral = llama_names();
  Names fused = llama_names();
  modules.insert(kLayer + "mlp.gate.weight");
  mixtral.insert(kLayer + "block_sparse_moe.gate.weight");
  fused.insert({kLayer + "mlp.gate.weight", kLayer + "mlp.experts.gate_up_proj",
                kLayer + "mlp.experts.down_proj"});
  for (const std::string index : {"0.", "1."}) {
    for (const char* name : {"gate_proj", "up_proj", "down_proj"}) {
      modules.insert(kLayer + "mlp.experts." + index + name + ".weight");
    }
    for (const char* name : {"w1", "w2", "w3"}) {
      mixtral.insert(kLayer + "block_sparse_moe.experts." + index + name + ".weight");
    }
  }
  EXPECT_EQ(at(*plan(spec, modules), "layers.0.experts.1.up_proj").tensor,
            kLayer + "mlp.experts.1.up_proj.weight");
  EXPECT_EQ(at(*plan(spec, mixtral), "layers.0.experts.1.up_proj").tensor,
            kLayer + "block_sparse_moe.experts.1.w3.weight");
  EXPECT_EQ(at(*plan(spec, mixtral), "layers.0.router").tensor,
            kLayer + "block_sparse_moe.gate.weight");
  const auto planned = plan(spec, fused);
  ASSERT_TRUE(planned) << planned.error().message;
  EXPECT_EQ(at(*planned, "layers.0.experts.0.up_proj").first_row, 64);
  EXPECT_EQ(at(*planned, "layers.0.experts.1.gate_proj").first_row, 128);
  EXPECT_EQ(at(*planned, "layers.0.experts.1.down_proj").first_row, 64);
  EXPECT_EQ(at(*planned, "layers.0.router").rows, 2);
}

TEST(TensorPlan, AMissingTensorIsNamed) {
  Names names = llama_names();
  names.erase(kLayer + "mlp.up_proj.weight");
  const auto planned = plan(one_layer(), names);
  ASSERT_FALSE(planned);
  EXPECT_EQ(planned.error().code, Code::kCorrupt);
  EXPECT_NE(planned.error().message.find("mlp.up_proj.weight"), std::string::npos);
}

TEST(TensorPlan, WhatATextModelDoesNotNeedIsKnown) {
  ModelSpec spec = one_layer();
  EXPECT_TRUE(is_surplus(spec, "model.layers.0.self_attn.rotary_emb.inv_freq"));
  EXPECT_TRUE(is_surplus(spec, "vision_tower.vision_model.head.weight"));
  EXPECT_FALSE(is_surplus(spec, "lm_head.weight"));
  spec.tied_embeddings = true;
  EXPECT_TRUE(is_surplus(spec, "lm_head.weight"));
  EXPECT_FALSE(is_surplus(spec, "model.layers.0.mlp.fc1.weight"));
}

}  // namespace
}  // namespace tessera
