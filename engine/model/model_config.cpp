#include "engine/model/model_config.hpp"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include <nlohmann/json.hpp>

#include "engine/model/config_fields.hpp"
#include "engine/model/model_families.hpp"
#include "storage/json.hpp"

namespace tessera {
namespace {

using Json = nlohmann::ordered_json;

Result<Json> parse_object(std::string_view text) {
  auto json = parse_json(text);
  if (!json) return Error{json.error().code, "config.json: " + json.error().message};
  if (!json->is_object()) return Error{Code::kInvalidJson, "config.json must be an object"};
  return json;
}

Error unknown_architecture(const std::string& name) {
  std::string what = name.empty() ? "must name one of" : '"' + name + "\" is not one of";
  for (const ModelFamily& family : model_families()) {
    what += (what.ends_with("of") ? " " : ", ") + std::string(family.architecture);
  }
  return unsupported_field("architectures", what);
}

Result<const ModelFamily*> family_of(ConfigFields& config) {
  const std::vector<std::string> names = config.texts("architectures");
  if (config.error()) return *config.error();
  const std::string name = names.size() == 1 ? names.front() : std::string();
  const auto families = model_families();
  const auto found = std::ranges::find(families, name, &ModelFamily::architecture);
  if (found == families.end()) return unknown_architecture(name);
  return &*found;
}

// What every family has, but for layers.
ModelSpec read_sizes(ConfigFields& config, const FamilyDefaults& defaults) {
  const auto or_required = [](int value) { return value ? std::optional(value) : std::nullopt; };
  ModelSpec spec;
  spec.vocab_size = config.integer("vocab_size", or_required(defaults.vocab_size));
  spec.hidden = config.integer("hidden_size");
  spec.intermediate = config.integer("intermediate_size");
  spec.num_heads = config.integer("num_attention_heads", or_required(defaults.num_heads));
  const bool has_other_default = defaults.num_kv_heads > 0;
  spec.num_kv_heads = has_other_default && config.is_missing("num_key_value_heads")
                          ? defaults.num_kv_heads
                          : config.integer("num_key_value_heads", spec.num_heads);
  const bool has_own_head_dim = defaults.head_dim > 0 && config.is_missing("head_dim");
  const int divided = spec.hidden / std::max(spec.num_heads, 1);
  spec.head_dim = has_own_head_dim ? defaults.head_dim : config.integer("head_dim", divided);
  spec.max_positions = config.integer("max_position_embeddings", defaults.max_positions);
  spec.tied_embeddings = config.flag("tie_word_embeddings", defaults.tied_embeddings);
  spec.final_rms_eps = config.real("rms_norm_eps", defaults.rms_eps);
  return spec;
}

void add_plain_layers(int num_layers, ModelSpec& spec) {
  LayerSpec layer;
  layer.rms_eps = spec.final_rms_eps;
  layer.attention_scale = 1.0F / std::sqrt(static_cast<float>(std::max(spec.head_dim, 1)));
  spec.layers.assign(static_cast<std::size_t>(num_layers), layer);
}

// `config` is the object that has the fields of the text model.
Result<ModelSpec> read_spec(ConfigFields& config, const ModelFamily& family,
                            const ModelLimits& limits) {
  ModelSpec spec = read_sizes(config, family.defaults);
  const int num_layers = config.integer("num_hidden_layers");
  if (config.error()) return *config.error();
  if (num_layers < 1 || num_layers > limits.layers_max) {
    return unsupported_field("num_hidden_layers", "is out of range");
  }
  // Frequencies are made of the head before all is checked.
  if (spec.hidden > limits.dimension_max)
    return unsupported_field("hidden_size", "is out of range");
  if (spec.head_dim < 2 || spec.head_dim > limits.head_dim_max || spec.head_dim % 2 != 0) {
    return unsupported_field("head_dim",
                             "must be even and at most " + std::to_string(limits.head_dim_max));
  }
  add_plain_layers(num_layers, spec);
  RopeContext rope{.head_dim = spec.head_dim, .max_positions = spec.max_positions};
  family.read(config, rope, spec);
  if (config.error()) return *config.error();
  if (auto checked = check_spec(spec, limits); !checked) return checked.error();
  return spec;
}

// A multimodal config: the text model's fields are an object of their own; whether its tables are
// tied is said outside of it.
Result<ModelSpec> read_nested(ConfigFields& outer, const ModelFamily& family,
                              const ModelLimits& limits) {
  const Json* text = outer.object("text_config");
  if (outer.error()) return *outer.error();
  if (!text) return unsupported_field("text_config", "must be an object");
  ConfigFields config(*text, "text_config.");
  FamilyDefaults defaults = family.defaults;
  defaults.tied_embeddings = outer.flag("tie_word_embeddings", defaults.tied_embeddings);
  ModelFamily nested = family;
  nested.defaults = defaults;
  return read_spec(config, nested, limits);
}

Result<void> append_ids(const Json& node, const std::string& file, int vocab_size,
                        std::vector<TokenId>& ids) {
  if (node.is_array()) {
    for (const Json& item : node) {
      if (auto added = append_ids(item, file, vocab_size, ids); !added) return added;
    }
    return {};
  }
  if (!node.is_number_integer() || node < 0 || node >= vocab_size) {
    return Error{Code::kUnsupportedModel, file + ": eos_token_id must be a token's id",
                 "eos_token_id"};
  }
  ids.push_back(node.get<TokenId>());
  return {};
}

}  // namespace

Result<ModelSpec> parse_model_config(std::string_view config_json, const ModelLimits& limits) {
  auto json = parse_object(config_json);
  if (!json) return json.error();
  ConfigFields config(*json);
  auto family = family_of(config);
  if (!family) return family.error();
  config.must_be("model_type", (*family)->model_type);
  config.must_be("is_encoder_decoder", false);
  if (config.error()) return *config.error();
  return (*family)->is_nested ? read_nested(config, **family, limits)
                              : read_spec(config, **family, limits);
}

Result<std::string> parse_architecture(std::string_view config_json) {
  auto json = parse_object(config_json);
  if (!json) return json.error();
  ConfigFields config(*json);
  auto family = family_of(config);
  if (!family) return family.error();
  return std::string((*family)->architecture);
}

Result<std::vector<TokenId>> parse_eos_ids(std::string_view config_json,
                                           std::string_view generation_config_json,
                                           int vocab_size) {
  const std::pair<std::string, std::string_view> files[] = {
      {"generation_config.json", generation_config_json}, {"config.json", config_json}};
  std::vector<TokenId> ids;
  for (const auto& [file, text] : files) {
    if (text.empty() || !ids.empty()) continue;
    auto json = parse_json(text);
    if (!json) return Error{json.error().code, file + ": " + json.error().message};
    const auto found = json->is_object() ? json->find("eos_token_id") : json->end();
    if (found == json->end() || found->is_null()) continue;
    if (auto added = append_ids(*found, file, vocab_size, ids); !added) return added.error();
  }
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  return ids;
}

}  // namespace tessera
