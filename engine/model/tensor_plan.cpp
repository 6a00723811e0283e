#include "engine/model/tensor_plan.hpp"

#include <algorithm>
#include <array>
#include <optional>
#include <span>
#include <utility>

namespace tessera {
namespace {

// What a section is of the model; what its tensor's name is made from.
struct Place {
  enum class Kind : std::uint8_t { kVector, kLinear, kBias, kExpert, kRouter, kTable };

  Kind kind = Kind::kVector;
  int layer = -1;              // -1: of no layer
  Linear linear = Linear::kQ;  // of kLinear, kBias and kExpert
  int expert = -1;             // of kExpert
  std::string_view part = {};  // of kVector and kTable: "attention_norm"
};

struct Section {
  PlannedTensor planned;
  Place place;
};

class SectionList {
 public:
  explicit SectionList(const ModelSpec& spec) : spec_(spec) {
    table("embedding");
    for (int i = 0; i < spec.num_layers(); ++i) layer(i);
    vector({.part = "final_norm"}, spec.hidden);
    if (!spec.tied_embeddings) table("head");
  }

  std::vector<Section> take() && { return std::move(sections_); }

 private:
  using Kind = Place::Kind;

  void layer(int index) {
    const LayerSpec& layer = spec_.layers[static_cast<std::size_t>(index)];
    norms(index, layer);
    for (const Linear linear : kAllLinears) {
      const bool is_mlp = std::ranges::count(kExpertLinears, linear) != 0;
      if (!layer.experts || !is_mlp) this->linear(index, layer, linear);
    }
    if (layer.experts) experts(index);
  }

  void norms(int layer, const LayerSpec& spec) {
    const auto norm = [&](std::string_view part, int size) {
      vector({.layer = layer, .part = part}, size);
    };
    if (spec.pre_norms) {
      norm("attention_norm", spec_.hidden);
      norm("mlp_norm", spec_.hidden);
    }
    if (spec.post_norms) {
      norm("post_attention_norm", spec_.hidden);
      norm("post_mlp_norm", spec_.hidden);
    }
    if (spec.qk_norm == QkNorm::kNone) return;
    const bool whole = spec.qk_norm == QkNorm::kWhole;
    norm("q_norm", whole ? spec_.q_dim() : spec_.head_dim);
    norm("k_norm", whole ? spec_.kv_dim() : spec_.head_dim);
  }

  void linear(int layer, const LayerSpec& spec, Linear linear) {
    const LinearShape shape = spec_.shape(linear);
    add({.kind = Kind::kLinear, .layer = layer, .linear = linear}, TensorRole::kLinear,
        shape.out_features, shape.in_features);
    if (spec.has_bias(linear)) {
      vector({.kind = Kind::kBias, .layer = layer, .linear = linear}, shape.out_features);
    }
  }

  void experts(int layer) {
    add({.kind = Kind::kRouter, .layer = layer}, TensorRole::kFp32, spec_.num_experts,
        spec_.hidden);
    for (int expert = 0; expert < spec_.num_experts; ++expert) {
      for (const Linear linear : kExpertLinears) {
        const LinearShape shape = spec_.expert_shape(linear);
        add({.kind = Kind::kExpert, .layer = layer, .linear = linear, .expert = expert},
            TensorRole::kLinear, shape.out_features, shape.in_features);
      }
    }
  }

  void table(std::string_view part) {
    add({.kind = Kind::kTable, .part = part}, TensorRole::kTable, spec_.vocab_size, spec_.hidden);
  }

  void vector(const Place& place, int size) { add(place, TensorRole::kFp32, 1, size); }

  void add(const Place& place, TensorRole role, int rows, int cols) {
    PlannedTensor planned{.section = section_name(place), .role = role, .rows = rows, .cols = cols};
    sections_.push_back({std::move(planned), place});
  }

  static std::string section_name(const Place& place) {
    std::string name;
    if (place.layer >= 0) name = "layers." + std::to_string(place.layer) + '.';
    switch (place.kind) {
      case Kind::kVector:
      case Kind::kTable:
        return name.append(place.part);
      case Kind::kRouter:
        return name + "router";
      case Kind::kExpert:
        name += "experts." + std::to_string(place.expert) + '.';
        break;
      case Kind::kBias:
        return name.append(linear_name(place.linear)) + ".bias";
      case Kind::kLinear:
        break;
    }
    return name.append(linear_name(place.linear));
  }

  const ModelSpec& spec_;
  std::vector<Section> sections_;
};

// One of the names under which checkpoints have a section.
struct Candidate {
  std::string tensor;
  int first_row = 0;
};
using Candidates = std::vector<Candidate>;

bool is_attention(Linear linear) {
  return linear == Linear::kQ || linear == Linear::kK || linear == Linear::kV ||
         linear == Linear::kO;
}

// Mixtral's names of the linears of an expert.
std::string_view mixtral_name(Linear linear) {
  if (linear == Linear::kGate) return "w1";
  return linear == Linear::kUp ? "w3" : "w2";
}

class Naming {
 public:
  Naming(const ModelSpec& spec, std::string_view architecture, const HasTensor& has_tensor)
      : spec_(spec), norms_less_one_(architecture.starts_with("Gemma")), has_(has_tensor) {
    // The text model of a multimodal checkpoint, saved by newer and by older tools.
    for (const char* prefix : {"model.language_model.", "language_model.model."}) {
      if (has_(std::string(prefix) + "embed_tokens.weight")) prefix_ = prefix;
    }
  }

  // Fills in what of the plan is about the tensor.
  Result<void> name(Section& section) const {
    const Candidates all = candidates(section.place);
    for (const Candidate& candidate : all) {
      if (!has_(candidate.tensor)) continue;
      section.planned.tensor = candidate.tensor;
      section.planned.first_row = candidate.first_row;
      if (section.place.kind == Place::Kind::kVector && norms_less_one_) section.planned.add = 1.0F;
      return {};
    }
    return Error{Code::kCorrupt, "tensor " + all.front().tensor + " is missing"};
  }

 private:
  using Kind = Place::Kind;

  // In order of preference; the first is named when there is none.
  Candidates candidates(const Place& place) const {
    switch (place.kind) {
      case Kind::kTable:
        return table(place.part);
      case Kind::kVector:
        return {{vector(place)}};
      case Kind::kLinear:
        return linear(place);
      case Kind::kBias:
        return {{layer(place) + module(place.linear) + ".bias"}};
      case Kind::kRouter:
        return {{layer(place) + "mlp.gate.weight"},
                {layer(place) + "block_sparse_moe.gate.weight"}};
      case Kind::kExpert:
        return expert(place);
    }
    return {};
  }

  std::string layer(const Place& place) const {
    return prefix_ + "layers." + std::to_string(place.layer) + '.';
  }

  Candidates table(std::string_view part) const {
    if (part == "embedding") return {{prefix_ + "embed_tokens.weight"}};
    return {{"lm_head.weight"}, {"language_model.lm_head.weight"}};
  }

  std::string vector(const Place& place) const {
    if (place.layer < 0) return prefix_ + "norm.weight";
    if (place.part == "q_norm" || place.part == "k_norm") {
      return layer(place) + "self_attn." + std::string(place.part) + ".weight";
    }
    return layer(place) + norm_name(place) + ".weight";
  }

  // The word "post_attention_layernorm" is the norm before the MLP in most models, and the norm
  // after attention in those that have such.
  std::string norm_name(const Place& place) const {
    const bool post_norms = spec_.layers[static_cast<std::size_t>(place.layer)].post_norms;
    if (place.part == "attention_norm") return "input_layernorm";
    if (place.part == "post_mlp_norm") return "post_feedforward_layernorm";
    return place.part == "mlp_norm" && post_norms ? "pre_feedforward_layernorm"
                                                  : "post_attention_layernorm";
  }

  static std::string module(Linear linear) {
    const std::string block = is_attention(linear) ? "self_attn." : "mlp.";
    return block + std::string(linear_name(linear));
  }

  Candidates linear(const Place& place) const {
    Candidates all = {{layer(place) + module(place.linear) + ".weight"}};
    switch (place.linear) {
      case Linear::kQ:
      case Linear::kK:
      case Linear::kV:
        all.push_back({layer(place) + "self_attn.qkv_proj.weight", row_in_qkv(place.linear)});
        break;
      case Linear::kGate:
      case Linear::kUp:
        all.push_back({layer(place) + "mlp.gate_up_proj.weight",
                       place.linear == Linear::kUp ? spec_.intermediate : 0});
        break;
      case Linear::kO:
      case Linear::kDown:
        break;
    }
    return all;
  }

  int row_in_qkv(Linear linear) const {
    if (linear == Linear::kQ) return 0;
    return spec_.q_dim() + (linear == Linear::kV ? spec_.kv_dim() : 0);
  }

  // Each its own tensor, or all of a layer in two of three dimensions (expert, out, in).
  Candidates expert(const Place& place) const {
    const std::string index = std::to_string(place.expert) + '.';
    const std::string experts = layer(place) + "mlp.experts.";
    const int rows = spec_.expert_shape(place.linear).out_features;
    Candidates all = {{experts + index + std::string(linear_name(place.linear)) + ".weight"},
                      {layer(place) + "block_sparse_moe.experts." + index +
                       std::string(mixtral_name(place.linear)) + ".weight"}};
    if (place.linear == Linear::kDown) {
      all.push_back({experts + "down_proj", place.expert * rows});
    } else {
      const int half = place.linear == Linear::kUp ? 1 : 0;
      all.push_back({experts + "gate_up_proj", (2 * place.expert + half) * rows});
    }
    return all;
  }

  const ModelSpec& spec_;
  bool norms_less_one_;
  const HasTensor& has_;
  std::string prefix_ = "model.";
};

}  // namespace

std::vector<PlannedTensor> planned_sections(const ModelSpec& spec) {
  std::vector<PlannedTensor> planned;
  for (Section& section : SectionList(spec).take()) planned.push_back(std::move(section.planned));
  return planned;
}

Result<std::vector<PlannedTensor>> plan_tensors(const ModelSpec& spec,
                                                std::string_view architecture,
                                                const HasTensor& has_tensor) {
  const Naming naming(spec, architecture, has_tensor);
  std::vector<PlannedTensor> planned;
  for (Section& section : SectionList(spec).take()) {
    if (auto named = naming.name(section); !named) return named.error();
    planned.push_back(std::move(section.planned));
  }
  return planned;
}

bool is_surplus(const ModelSpec& spec, std::string_view tensor) {
  constexpr std::array kVision = {"vision_tower.", "multi_modal_projector.", "model.vision_tower.",
                                  "model.multi_modal_projector."};
  if (tensor.ends_with(".rotary_emb.inv_freq")) return true;
  if (tensor.ends_with("lm_head.weight") && spec.tied_embeddings) return true;
  return std::ranges::any_of(kVision,
                             [&](const char* prefix) { return tensor.starts_with(prefix); });
}

}  // namespace tessera
