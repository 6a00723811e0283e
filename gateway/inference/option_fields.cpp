#include "gateway/inference/option_fields.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <utility>

#include "gateway/config.hpp"

namespace tessera {
namespace {

using Json = Fields::Json;

constexpr std::size_t kMaxUserChars = 512;
constexpr std::size_t kMaxMetadataKeyChars = 64;
constexpr std::size_t kMaxMetadataChars = 512;
constexpr std::size_t kMaxMetadataPairs = 16;

// {"50256": -100}: by token id; ranges of ids are the engine's business.
void read_logit_bias(Fields& fields, std::vector<std::pair<TokenId, float>>& out) {
  const Json* const value = fields.any("logit_bias");
  if (!value) return;
  const auto fail = [&](const std::string& what) {
    fields.fail(Code::kInvalidValue, "logit_bias", "'logit_bias' must be " + what + ".");
  };
  if (!value->is_object()) return fail("an object from token ids to numbers");
  if (value->size() > kMaxLogitBiases) {
    return fail("of at most " + std::to_string(kMaxLogitBiases) + " tokens");
  }
  for (const auto& [key, bias] : value->items()) {
    TokenId token = 0;
    const auto read = std::from_chars(key.data(), key.data() + key.size(), token);
    const bool is_id = read.ec == std::errc() && key == std::to_string(token) && token >= 0;
    if (!is_id || !bias.is_number() || !(std::abs(bias.get<double>()) <= kMaxLogitBias)) {
      return fail("an object from token ids to numbers from -100 to 100");
    }
    out.emplace_back(token, bias.get<float>());
  }
}

// What changes the logits before a token is chosen.
void read_adjustments(Fields& fields, SamplingParams& sampling) {
  double frequency = 0.0;
  double presence = 0.0;
  double repetition = 1.0;
  std::optional<std::int64_t> min_tokens;
  fields.number("frequency_penalty", {-2.0, 2.0}, frequency);
  fields.number("presence_penalty", {-2.0, 2.0}, presence);
  fields.number("repetition_penalty", {kMinRepetitionPenalty, kMaxRepetitionPenalty}, repetition);
  fields.integer("min_tokens", {0, kMaxInt}, min_tokens);
  read_logit_bias(fields, sampling.logit_bias);
  sampling.frequency_penalty = static_cast<float>(frequency);
  sampling.presence_penalty = static_cast<float>(presence);
  sampling.repetition_penalty = static_cast<float>(repetition);
  sampling.min_tokens = static_cast<int>(min_tokens.value_or(0));
}

void read_sampling(Fields& fields, SamplingParams& sampling) {
  double temperature = 1.0;
  double top_p = 1.0;
  double min_p = 0.0;
  std::optional<std::int64_t> top_k;
  fields.number("temperature", {0.0, 2.0}, temperature);
  fields.number("top_p", {0.0, 1.0}, top_p);
  fields.number("min_p", {0.0, 1.0}, min_p);
  fields.integer("top_k", {-1, kMaxInt}, top_k);  // -1 and 0: all
  fields.integers("stop_token_ids", kMaxStopTokenIds, {0, kMaxInt}, sampling.stop_token_ids);
  fields.boolean("ignore_eos", sampling.ignore_eos);
  read_adjustments(fields, sampling);
  sampling.temperature = static_cast<float>(temperature);
  // The smallest set with a probability of at least 0 is the most likely token alone.
  sampling.top_p = std::max(static_cast<float>(top_p), std::numeric_limits<float>::min());
  sampling.min_p = static_cast<float>(min_p);
  sampling.top_k = static_cast<int>(std::max<std::int64_t>(top_k.value_or(0), 0));
}

void read_stream(Fields& fields, InferenceOptions& options) {
  fields.boolean("stream", options.stream);
  const Json* stream_options = fields.any("stream_options");
  if (!stream_options) return;
  if (!options.stream) {
    fields.fail(Code::kInvalidValue, "stream_options",
                "'stream_options' is only allowed when 'stream' is true.");
    return;
  }
  Fields nested(*stream_options, fields.path_of("stream_options."));
  nested.boolean("include_usage", options.include_usage);
  nested.boolean("include_obfuscation", options.obfuscate);
  fields.absorb(nested.finish());
}

// [{"model", "weight"}, ...]: the adapters that one request mixes.
void read_adapters(Fields& fields, std::vector<RequestedAdapter>& out) {
  const Json* value = fields.any("adapters");
  if (!value) return;
  if (!value->is_array() || value->empty() || value->size() > kMaxMixTerms) {
    return fields.fail(Code::kInvalidValue, "adapters",
                       "'adapters' must be an array of one to " + std::to_string(kMaxMixTerms) +
                           " objects with 'model' and 'weight'.");
  }
  for (std::size_t i = 0; i < value->size(); ++i) {
    RequestedAdapter adapter;
    Fields nested((*value)[i], fields.path_of("adapters[" + std::to_string(i) + "]."));
    nested.required("model", adapter.model);
    nested.number("weight", {-kMaxMixWeight, kMaxMixWeight}, adapter.weight);
    fields.absorb(nested.finish());
    out.push_back(std::move(adapter));
  }
}

}  // namespace

std::string_view to_string(ServiceTier tier) {
  switch (tier) {
    case ServiceTier::kPriority:
      return "priority";
    case ServiceTier::kDefault:
      return "default";
    case ServiceTier::kFlex:
      return "flex";
  }
  return "default";
}

void read_model(Fields& fields, InferenceOptions& options) {
  fields.required("model", options.model);
  read_adapters(fields, options.adapters);
  fields.text("user", kMaxUserChars, options.user);
  fields.text("prompt_cache_key", kMaxUserChars, options.session);
  fields.unsupported("priority");
  fields.unsupported("cache_salt");
}

void read_options(Fields& fields, std::string_view text, InferenceOptions& options) {
  read_model(fields, options);
  read_sampling(fields, options.sampling);
  fields.integer("seed", {INT64_MIN, INT64_MAX}, options.seed);
  fields.one_or_more("stop", kMaxStopStrings, kMaxStopChars, options.stop);
  read_stream(fields, options);
  read_output_format(fields, text, options.format);
  std::optional<std::int64_t> num_choices;
  fields.integer("n", {1, kMaxChoices}, num_choices);
  options.num_choices = static_cast<int>(num_choices.value_or(1));
  options.best_of = options.num_choices;
}

std::optional<ServiceTier> service_tier_from_string(std::string_view name) {
  for (const ServiceTier tier :
       {ServiceTier::kPriority, ServiceTier::kDefault, ServiceTier::kFlex}) {
    if (to_string(tier) == name) return tier;
  }
  return std::nullopt;
}

void read_service_tier(Fields& fields, InferenceOptions& options) {
  std::string name;
  fields.text("service_tier", kMaxUserChars, name);
  if (name.empty() || name == "auto") return;
  options.names_tier = true;
  if (name == "flex") {
    options.tier = ServiceTier::kFlex;
  } else if (name == "priority" || name == "fast") {
    options.tier = ServiceTier::kPriority;
  } else if (name != "default") {
    fields.fail(Code::kInvalidValue, "service_tier",
                "'service_tier' must be auto, default, flex, priority or fast.");
  }
}

void read_max_tokens(Fields& fields, std::string_view name, std::int64_t min,
                     std::optional<int>& out) {
  std::optional<std::int64_t> tokens;
  fields.integer(name, {min, kMaxInt}, tokens);
  if (tokens) out = static_cast<int>(*tokens);
}

void check_metadata(Fields& fields) {
  const Json* metadata = fields.any("metadata");
  if (!metadata) return;
  const bool valid =
      metadata->is_object() && metadata->size() <= kMaxMetadataPairs &&
      std::ranges::all_of(metadata->items(), [](const auto& item) {
        return item.key().size() <= kMaxMetadataKeyChars && item.value().is_string() &&
               item.value().template get_ref<const std::string&>().size() <= kMaxMetadataChars;
      });
  if (!valid) {
    fields.fail(Code::kInvalidValue, "metadata",
                "'metadata' must be an object of up to 16 strings, each of up to 512 bytes, with "
                "keys of up to 64 bytes.");
  }
}

}  // namespace tessera
