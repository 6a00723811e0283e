// base_model.hpp — what the adapters' side knows of the base model: names, shape, fingerprint.
//
// A module is one matrix of the base that a LoRA pair can attach to, named as PEFT names it. The
// canonical order of modules (layer by layer, in the order of a forward pass, then embedding, then
// head) and their names, those of a Llama, are part of an adapter's identity.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/model_spec.hpp"
#include "kernels/weights.hpp"
#include "storage/digest.hpp"

namespace tessera {

struct BaseModel {
  std::string name;  // as served: what clients put into "model"
  // Accepted as an adapter's base_model_name_or_path, besides `name`; whole or as its last path
  // component. An empty alias accepts adapters that name no base.
  std::vector<std::string> aliases = {};
  BaseDigest digest = {};
  ModelSpec spec = {};
  // The base's numbers, which outlive this, or null if they are not at hand. With these a copy of
  // the embedding that PEFT saves beside an adapter is recognised as one, and what is made of the
  // base's numbers (DoRA, trained biases, replaced rows) can be served.
  const ModelWeights* weights = nullptr;

  bool accepts(std::string_view base_model_name_or_path) const;
};

enum class ModuleKind : std::uint8_t { kLinear, kEmbed, kHead };

// What else than one of our modules a framework may keep as one (module_naming.hpp).
enum class Fusion : std::uint8_t { kNone, kQkv, kGateUp, kAllGateUp, kAllDown };

struct BaseModule {
  ModuleKind kind = ModuleKind::kLinear;
  int layer = 0;               // of a kLinear
  Linear linear = Linear::kQ;  // of a kLinear
  int expert = -1;             // of a kLinear that is an expert's, else -1
  Fusion fusion = Fusion::kNone;
  LinearShape shape = {};  // embedding: in = vocab, out = hidden; head: in = hidden, out = vocab
  std::string path = {};   // "model.layers.0.self_attn.q_proj", "model.embed_tokens", "lm_head"
  // Of a parameter, which is no module: "model.layers.0.mlp.experts.gate_up_proj", while the path
  // is that of PEFT's wrapper.
  std::string parameter = {};

  // What targets and patterns are matched with.
  std::string_view name() const { return parameter.empty() ? path : parameter; }
  std::string_view target() const;  // last component of the name: "q_proj"
  bool is_parameter() const { return !parameter.empty(); }
};

// Every module of a base, in canonical order: an expert's gate, up and down before the next one's.
std::vector<BaseModule> base_modules(const ModelSpec& spec);

}  // namespace tessera
