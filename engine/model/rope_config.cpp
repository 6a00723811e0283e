#include "engine/model/rope_config.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <string>

namespace tessera {
namespace {

using Json = ConfigFields::Json;

// One object that describes a rotary embedding, and what of the config around it counts.
struct RopeFields {
  ConfigFields& node;
  RopeContext& context;
  double theta;
  int original_positions;  // 0: the node says
  int rotary_dim;

  std::size_t pairs() const { return static_cast<std::size_t>(rotary_dim / 2); }
  std::vector<float> plain() const { return plain_inv_freq(static_cast<float>(theta), rotary_dim); }
  int original(int if_absent) const {
    if (original_positions > 0) return original_positions;
    return node.integer("original_max_position_embeddings", if_absent);
  }
  double factor() const {
    const double factor = node.number("factor");
    if (!(factor > 0.0)) node.fail("factor", "must be above 0");
    return factor;
  }
};

RopeSpec linear_rope(const RopeFields& fields) {
  RopeSpec rope{.inv_freq = fields.plain()};
  const auto factor = static_cast<float>(fields.factor());
  for (float& frequency : rope.inv_freq) frequency /= factor;
  return rope;
}

// Long wavelengths are stretched by the factor, short ones left, those between blended.
RopeSpec llama3_rope(const RopeFields& fields) {
  const auto factor = static_cast<float>(fields.factor());
  const double low = fields.node.number("low_freq_factor");
  const double high = fields.node.number("high_freq_factor");
  const double original = fields.original(fields.context.max_positions);
  if (!(low > 0.0 && high > low)) {
    fields.node.fail("high_freq_factor", "must be above low_freq_factor, and both above 0");
    return {};
  }
  const auto longest = static_cast<float>(original / low);
  const auto shortest = static_cast<float>(original / high);
  RopeSpec rope{.inv_freq = fields.plain()};
  for (float& frequency : rope.inv_freq) {
    const float wavelength = static_cast<float>(2.0 * std::numbers::pi) / frequency;
    if (wavelength > longest) {
      frequency /= factor;
    } else if (wavelength >= shortest) {
      const float smooth = (static_cast<float>(original) / wavelength - static_cast<float>(low)) /
                           static_cast<float>(high - low);
      frequency = (1.0F - smooth) * frequency / factor + smooth * frequency;
    }
  }
  return rope;
}

double yarn_attention_factor(const RopeFields& fields, double factor) {
  if (fields.node.has("attention_factor")) return fields.node.number("attention_factor");
  const auto magnitude = [factor](double scale) {
    return factor <= 1.0 ? 1.0 : 0.1 * scale * std::log(factor) + 1.0;
  };
  const double mscale = fields.node.number("mscale", 0.0);
  const double mscale_all_dim = fields.node.number("mscale_all_dim", 0.0);
  if (mscale != 0.0 && mscale_all_dim != 0.0) return magnitude(mscale) / magnitude(mscale_all_dim);
  return magnitude(1.0);
}

// YaRN (Peng et al., 2023): as llama3, with a ramp over the index of the pair.
RopeSpec yarn_rope(const RopeFields& fields) {
  const int dim = fields.rotary_dim;
  const int original = fields.original(fields.context.max_positions);
  const double factor = fields.node.has("factor")
                            ? fields.factor()
                            : static_cast<double>(fields.context.max_positions) / original;
  // The index of the pair that turns so many times over the original context.
  const auto pair_of = [&](double turns) {
    return dim * std::log(original / (turns * 2.0 * std::numbers::pi)) /
           (2.0 * std::log(fields.theta));
  };
  const auto number_or = [&](const char* name, double otherwise) {
    const double value = fields.node.number(name, otherwise);
    return value == 0.0 ? otherwise : value;
  };
  double low = pair_of(number_or("beta_fast", 32.0));
  double high = pair_of(number_or("beta_slow", 1.0));
  if (fields.node.flag("truncate", true)) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, dim - 1.0);
  if (low == high) high += 0.001;

  RopeSpec rope{.inv_freq = fields.plain(),
                .scale = static_cast<float>(yarn_attention_factor(fields, factor))};
  for (std::size_t i = 0; i < rope.inv_freq.size(); ++i) {
    const float along =
        (static_cast<float>(i) - static_cast<float>(low)) / static_cast<float>(high - low);
    const float kept = 1.0F - std::clamp(along, 0.0F, 1.0F);
    const float power = std::pow(static_cast<float>(fields.theta),
                                 static_cast<float>(2 * i) / static_cast<float>(dim));
    rope.inv_freq[i] =
        1.0F / (static_cast<float>(factor) * power) * (1.0F - kept) + 1.0F / power * kept;
  }
  const double positions = std::min(factor * original, 1.0 * (1 << 30));
  fields.context.max_positions =
      std::max(fields.context.max_positions, static_cast<int>(positions));
  return rope;
}

std::vector<float> longrope_frequencies(const RopeFields& fields, const char* name) {
  const std::vector<float> factors = fields.node.numbers(name);
  std::vector<float> inv_freq(fields.pairs());
  if (factors.size() != inv_freq.size()) {
    fields.node.fail(name, "must have " + std::to_string(inv_freq.size()) + " numbers");
    return inv_freq;
  }
  for (std::size_t i = 0; i < inv_freq.size(); ++i) {
    const float exponent = static_cast<float>(2 * i) / static_cast<float>(fields.rotary_dim);
    inv_freq[i] = 1.0F / (factors[i] * std::pow(static_cast<float>(fields.theta), exponent));
  }
  return inv_freq;
}

// LongRoPE (Ding et al., 2024).
RopeSpec long_rope(const RopeFields& fields) {
  const int original = fields.original(fields.context.max_positions);
  const double factor = fields.node.has("factor")
                            ? fields.factor()
                            : static_cast<double>(fields.context.max_positions) / original;
  const double by_default =
      factor <= 1.0 ? 1.0 : std::sqrt(1.0 + std::log(factor) / std::log(original));
  return {.inv_freq = longrope_frequencies(fields, "short_factor"),
          .scale = static_cast<float>(fields.node.number("attention_factor", by_default)),
          .long_inv_freq = longrope_frequencies(fields, "long_factor"),
          .short_positions = original};
}

std::string rope_type_of(ConfigFields& node, bool is_phi3) {
  const std::string type = node.text("rope_type", node.text("type", "default"));
  return is_phi3 && (type == "su" || type == "yarn") ? "longrope" : type;
}

int rotary_dim_of(ConfigFields& config, ConfigFields& node, const RopeContext& context) {
  const double outer = config.number("partial_rotary_factor", 1.0);
  const double factor = node.number("partial_rotary_factor", outer);
  if (factor == 1.0) return context.head_dim;
  const int dim = static_cast<int>(context.head_dim * std::clamp(factor, 0.0, 2.0));
  const bool fits = context.is_phi3 && dim >= 2 && dim <= context.head_dim && dim % 2 == 0;
  if (!fits) config.fail("partial_rotary_factor", "does not fit this model");
  return fits ? dim : context.head_dim;
}

RopeSpec make_rope(const RopeFields& fields) {
  const std::string type = rope_type_of(fields.node, fields.context.is_phi3);
  if (type == "default" || type == "dynamic") return {.inv_freq = fields.plain()};
  if (type == "linear") return linear_rope(fields);
  if (type == "llama3") return llama3_rope(fields);
  if (type == "yarn") return yarn_rope(fields);
  if (type == "longrope") return long_rope(fields);
  fields.node.fail(fields.node.has("rope_type") ? "rope_type" : "type",
                   '"' + type +
                       "\" is not supported; default, linear, dynamic, llama3, yarn and longrope "
                       "are");
  return {.inv_freq = fields.plain()};
}

// `node` is the object called `name` that describes the embedding, or null.
RopeSpec rope_of(ConfigFields& config, const Json* node, const std::string& name, double theta,
                 RopeContext& context) {
  const Json nothing = Json::object();
  ConfigFields fields(node ? *node : nothing, name + '.');
  const double base = fields.number("rope_theta", theta);
  if (!(base > 1.0)) fields.fail("rope_theta", "must be above 1");
  if (context.max_positions < 2) config.fail("max_position_embeddings", "is out of range");
  const int original =
      config.integer("original_max_position_embeddings", context.is_phi3 ? 4096 : 0);
  const int dim = rotary_dim_of(config, fields, context);
  if (fields.error() || config.error()) {
    config.take_error(fields);
    return {};
  }
  RopeSpec rope = make_rope({fields, context, base, original, dim});
  config.take_error(fields);
  return rope;
}

// The newer name, unless only the older one says something, as transformers prefers the older.
std::string name_of_rope(ConfigFields& config) {
  const Json* older = config.object("rope_scaling");
  return older && !older->empty() ? "rope_scaling" : "rope_parameters";
}

}  // namespace

RopeSpec read_rope(ConfigFields& config, RopeContext& context) {
  const double theta = config.number("rope_theta", context.default_theta);
  const std::string name = name_of_rope(config);
  return rope_of(config, config.object(name), name, theta, context);
}

GlobalAndLocalRope read_gemma3_ropes(ConfigFields& config, RopeContext& context) {
  const Json* parameters = config.object("rope_parameters");
  const Json nothing = Json::object();
  ConfigFields nested(parameters ? *parameters : nothing, "rope_parameters.");
  const Json* global = nested.object("full_attention");
  const Json* local = nested.object("sliding_attention");
  config.take_error(nested);

  std::string global_name = "rope_parameters.full_attention";
  if (const Json* older = config.object("rope_scaling"); older && !older->empty()) {
    global = older;
    global_name = "rope_scaling";
  } else if (parameters && !global && !local && !parameters->empty()) {
    config.fail("rope_parameters", "must have full_attention and sliding_attention");
  }
  const double global_theta = config.number("rope_theta", 1'000'000.0);
  const double local_theta = config.number("rope_local_base_freq", 10'000.0);
  return {
      .global = rope_of(config, global, global_name, global_theta, context),
      .local = rope_of(config, local, "rope_parameters.sliding_attention", local_theta, context)};
}

}  // namespace tessera
