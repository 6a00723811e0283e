#include "engine/model/spec_json.hpp"

#include <algorithm>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include <nlohmann/json.hpp>

namespace tessera {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::pair<Activation, std::string_view> kActivations[] = {
    {Activation::kSilu, "silu"}, {Activation::kGeluTanh, "gelu_tanh"}};
constexpr std::pair<QkNorm, std::string_view> kQkNorms[] = {
    {QkNorm::kNone, "none"}, {QkNorm::kPerHead, "per_head"}, {QkNorm::kWhole, "whole"}};

template <class Value, std::size_t kCount>
std::string_view name_of(const std::pair<Value, std::string_view> (&names)[kCount], Value value) {
  const auto found =
      std::find_if(names, names + kCount, [&](const auto& entry) { return entry.first == value; });
  return found->second;
}

template <class Value, std::size_t kCount>
Value value_of(const std::pair<Value, std::string_view> (&names)[kCount], const Json& name) {
  const auto found = std::find_if(names, names + kCount, [&](const auto& entry) {
    return entry.second == name.get_ref<const std::string&>();
  });
  if (found == names + kCount) throw std::out_of_range("it has an unknown name in its spec");
  return found->first;
}

Json rope_json(const RopeSpec& rope) {
  return {{"inv_freq", rope.inv_freq},
          {"scale", rope.scale},
          {"long_inv_freq", rope.long_inv_freq},
          {"short_positions", rope.short_positions}};
}

RopeSpec read_rope(const Json& node) {
  return {.inv_freq = node.at("inv_freq").get<std::vector<float>>(),
          .scale = node.at("scale").get<float>(),
          .long_inv_freq = node.at("long_inv_freq").get<std::vector<float>>(),
          .short_positions = node.at("short_positions").get<int>()};
}

Json layer_json(const LayerSpec& layer) {
  return {{"rms_eps", layer.rms_eps},
          {"rope", layer.rope},
          {"attention_scale", layer.attention_scale},
          {"attention_softcap", layer.attention_softcap},
          {"window", layer.window},
          {"qk_norm", name_of(kQkNorms, layer.qk_norm)},
          {"pre_norms", layer.pre_norms},
          {"post_norms", layer.post_norms},
          {"biases", layer.biases},
          {"activation", name_of(kActivations, layer.activation)},
          {"residual_scale", layer.residual_scale},
          {"experts", layer.experts}};
}

LayerSpec read_layer(const Json& node) {
  return {.rms_eps = node.at("rms_eps").get<float>(),
          .rope = node.at("rope").get<int>(),
          .attention_scale = node.at("attention_scale").get<float>(),
          .attention_softcap = node.at("attention_softcap").get<float>(),
          .window = node.at("window").get<int>(),
          .qk_norm = value_of(kQkNorms, node.at("qk_norm")),
          .pre_norms = node.at("pre_norms").get<bool>(),
          .post_norms = node.at("post_norms").get<bool>(),
          .biases = node.at("biases").get<std::uint8_t>(),
          .activation = value_of(kActivations, node.at("activation")),
          .residual_scale = node.at("residual_scale").get<float>(),
          .experts = node.at("experts").get<bool>()};
}

void add_layers(const ModelSpec& spec, Json& node) {
  Json kinds = Json::array();
  Json kind_of_layer = Json::array();
  for (const LayerSpec& layer : spec.layers) {
    Json kind = layer_json(layer);
    auto found = std::find(kinds.begin(), kinds.end(), kind);
    if (found == kinds.end()) found = kinds.insert(kinds.end(), std::move(kind));
    kind_of_layer.push_back(found - kinds.begin());
  }
  node["layers"] = std::move(kinds);
  node["layer_kinds"] = std::move(kind_of_layer);
}

}  // namespace

Json spec_to_json(const ModelSpec& spec) {
  Json node = {{"vocab_size", spec.vocab_size},
               {"hidden", spec.hidden},
               {"intermediate", spec.intermediate},
               {"num_heads", spec.num_heads},
               {"num_kv_heads", spec.num_kv_heads},
               {"head_dim", spec.head_dim},
               {"max_positions", spec.max_positions},
               {"tied_embeddings", spec.tied_embeddings},
               {"final_rms_eps", spec.final_rms_eps},
               {"embedding_scale", spec.embedding_scale},
               {"logit_scale", spec.logit_scale},
               {"logit_softcap", spec.logit_softcap},
               {"num_experts", spec.num_experts},
               {"experts_per_token", spec.experts_per_token},
               {"expert_intermediate", spec.expert_intermediate},
               {"normalise_expert_weights", spec.normalise_expert_weights},
               {"ropes", Json::array()}};
  for (const RopeSpec& rope : spec.ropes) node["ropes"].push_back(rope_json(rope));
  add_layers(spec, node);
  return node;
}

ModelSpec spec_from_json(const Json& node) {
  ModelSpec spec;
  spec.vocab_size = node.at("vocab_size").get<int>();
  spec.hidden = node.at("hidden").get<int>();
  spec.intermediate = node.at("intermediate").get<int>();
  spec.num_heads = node.at("num_heads").get<int>();
  spec.num_kv_heads = node.at("num_kv_heads").get<int>();
  spec.head_dim = node.at("head_dim").get<int>();
  spec.max_positions = node.at("max_positions").get<int>();
  spec.tied_embeddings = node.at("tied_embeddings").get<bool>();
  spec.final_rms_eps = node.at("final_rms_eps").get<float>();
  spec.embedding_scale = node.at("embedding_scale").get<float>();
  spec.logit_scale = node.at("logit_scale").get<float>();
  spec.logit_softcap = node.at("logit_softcap").get<float>();
  spec.num_experts = node.at("num_experts").get<int>();
  spec.experts_per_token = node.at("experts_per_token").get<int>();
  spec.expert_intermediate = node.at("expert_intermediate").get<int>();
  spec.normalise_expert_weights = node.at("normalise_expert_weights").get<bool>();
  for (const Json& rope : node.at("ropes")) spec.ropes.push_back(read_rope(rope));
  const Json& kinds = node.at("layers");
  for (const Json& kind : node.at("layer_kinds")) {
    spec.layers.push_back(read_layer(kinds.at(kind.get<std::size_t>())));
  }
  return spec;
}

}  // namespace tessera
