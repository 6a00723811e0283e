#include "engine/model/model_config.hpp"

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <optional>
#include <string>
#include <utility>

#include <nlohmann/json.hpp>

#include "kernels/nf4.hpp"
#include "storage/json.hpp"

namespace tessera {
namespace {

using Json = nlohmann::ordered_json;

Error unsupported(const std::string& field, const std::string& what) {
  return {Code::kUnsupportedModel, "config.json: " + field + ' ' + what, field};
}

// Reads the members of one object and remembers the first that is not as it must be, so that the
// code which reads them stays a plain list.
class Fields {
 public:
  Fields(const Json& node, std::string prefix) : node_(node), prefix_(std::move(prefix)) {}

  const std::optional<Error>& error() const { return error_; }

  int integer(const char* name, std::optional<int> if_absent = std::nullopt) {
    const Json* value = find(name);
    if (!value && if_absent) return *if_absent;
    const bool fits = value && value->is_number_integer() && *value >= 0 && *value <= (1 << 30);
    if (!fits) fail(name, "must be a whole number");
    return fits ? value->get<int>() : 0;
  }

  float number(const char* name, std::optional<float> if_absent = std::nullopt) {
    const Json* value = find(name);
    if (!value && if_absent) return *if_absent;
    const bool fits = value && value->is_number() && std::isfinite(value->get<float>());
    if (!fits) fail(name, "must be a number");
    return fits ? value->get<float>() : 0.0F;
  }

  bool flag(const char* name, bool if_absent) {
    const Json* value = find(name);
    if (!value) return if_absent;
    if (!value->is_boolean()) fail(name, "must be true or false");
    return value->is_boolean() && value->get<bool>();
  }

  // The field may be absent or null; otherwise it must equal `only`.
  void must_be(const char* name, const Json& only) {
    const Json* value = find(name);
    if (value && *value != only) fail(name, to_text(*value) + " is not supported");
  }

  void must_be_present(const char* name, const Json& only) {
    if (!find(name)) fail(name, "must be " + to_text(only));
    must_be(name, only);
  }

  // The nested object `name`, or null.
  const Json* object(const char* name) {
    const Json* value = find(name);
    if (value && !value->is_object()) fail(name, "must be an object");
    return value && value->is_object() ? value : nullptr;
  }

  void take_error(const Fields& nested) {
    if (!error_) error_ = nested.error_;
  }

 private:
  const Json* find(const char* name) const {
    const auto found = node_.find(name);
    return found == node_.end() || found->is_null() ? nullptr : &*found;
  }
  void fail(const char* name, const std::string& what) {
    if (!error_) error_ = unsupported(prefix_ + name, what);
  }

  const Json& node_;
  std::string prefix_;
  std::optional<Error> error_;
};

// Only plain rotary embeddings. Older files have "rope_theta" and "rope_scaling", newer ones both
// in "rope_parameters".
float read_rope_theta(Fields& config) {
  float theta = config.number("rope_theta", 10000.0F);
  for (const char* name : {"rope_scaling", "rope_parameters"}) {
    const Json* node = config.object(name);
    if (!node) continue;
    Fields rope(*node, std::string(name) + '.');
    theta = rope.number("rope_theta", theta);
    rope.must_be("rope_type", "default");
    rope.must_be("type", "default");
    rope.must_be("partial_rotary_factor", 1.0);
    config.take_error(rope);
  }
  return theta;
}

// Fields that would change the arithmetic, each at the one value that leaves it as we do it.
void check_fixed_fields(Fields& config) {
  config.must_be_present("architectures", Json::array({"LlamaForCausalLM"}));
  config.must_be("model_type", "llama");
  config.must_be("hidden_act", "silu");
  config.must_be("attention_bias", false);
  config.must_be("mlp_bias", false);
  config.must_be("partial_rotary_factor", 1.0);
  config.must_be("sliding_window", nullptr);
  config.must_be("quantization_config", nullptr);
  config.must_be("is_encoder_decoder", false);
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
  auto json = parse_json(config_json);
  if (!json) return Error{json.error().code, "config.json: " + json.error().message};
  if (!json->is_object()) return Error{Code::kInvalidJson, "config.json must be an object"};

  Fields config(*json, "");
  check_fixed_fields(config);
  ModelSpec spec;
  spec.vocab_size = config.integer("vocab_size");
  spec.hidden = config.integer("hidden_size");
  spec.intermediate = config.integer("intermediate_size");
  spec.num_heads = config.integer("num_attention_heads");
  spec.num_kv_heads = config.integer("num_key_value_heads", spec.num_heads);
  spec.head_dim = config.integer("head_dim", spec.hidden / std::max(spec.num_heads, 1));
  spec.max_positions = config.integer("max_position_embeddings", 2048);
  spec.tied_embeddings = config.flag("tie_word_embeddings", false);
  spec.final_rms_eps = config.number("rms_norm_eps", 1e-6F);
  LayerSpec layer;
  layer.rms_eps = spec.final_rms_eps;
  layer.rope_theta = read_rope_theta(config);
  const int num_layers = config.integer("num_hidden_layers");
  if (config.error()) return *config.error();
  if (num_layers < 1 || num_layers > limits.layers_max) {
    return unsupported("num_hidden_layers", "is out of range");
  }
  layer.attention_scale = 1.0F / std::sqrt(static_cast<float>(std::max(spec.head_dim, 1)));
  spec.layers.assign(static_cast<std::size_t>(num_layers), layer);
  if (auto checked = check_spec(spec, limits); !checked) return checked.error();
  return spec;
}

Result<void> check_spec(const ModelSpec& spec, const ModelLimits& limits) {
  struct Bound {
    const char* field;
    int value;
    int max;
    int multiple_of;
  };
  for (const auto& [field, value, max, multiple_of] : {
           Bound{"vocab_size", spec.vocab_size, limits.vocab_max, 1},
           Bound{"hidden_size", spec.hidden, limits.dimension_max, kNf4Block},
           Bound{"intermediate_size", spec.intermediate, limits.dimension_max, kNf4Block},
           Bound{"num_attention_heads", spec.num_heads, 1 << 12, 1},
           Bound{"num_key_value_heads", spec.num_kv_heads, spec.num_heads, 1},
           Bound{"head_dim", spec.head_dim, 1 << 12, 2},
           Bound{"max_position_embeddings", spec.max_positions, limits.positions_max, 1},
           Bound{"num_hidden_layers", spec.num_layers(), limits.layers_max, 1},
       }) {
    if (value < 1 || value > max) return unsupported(field, "is out of range");
    if (value % multiple_of != 0) {
      return unsupported(field, "must be a multiple of " + std::to_string(multiple_of));
    }
  }
  if (spec.num_heads % spec.num_kv_heads != 0) {
    return unsupported("num_key_value_heads", "must divide num_attention_heads");
  }
  if (spec.q_dim() % kNf4Block != 0 || spec.q_dim() > limits.dimension_max) {
    return unsupported("head_dim", "times num_attention_heads must be a multiple of 64");
  }
  for (const LayerSpec& layer : spec.layers) {
    if (!(layer.rms_eps >= 0.0F)) return unsupported("rms_norm_eps", "is out of range");
    if (!(layer.rope_theta > 0.0F)) return unsupported("rope_theta", "is out of range");
  }
  return {};
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
