#include "gateway/inference/openai_types.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <limits>
#include <utility>

#include <nlohmann/json.hpp>

#include "gateway/api/fields.hpp"
#include "gateway/config.hpp"
#include "gateway/inference/chat_messages.hpp"
#include "storage/json.hpp"

namespace tessera {
namespace {

using Json = Fields::Json;

constexpr std::int64_t kMaxInt = std::numeric_limits<std::int32_t>::max();
constexpr std::size_t kMaxLabelChars = 64;  // of metadata keys, safety identifiers
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
  nested.unsupported("include_obfuscation", {false});
  fields.absorb(nested.finish());
}

void check_metadata(Fields& fields) {
  const Json* metadata = fields.any("metadata");
  if (!metadata) return;
  const bool valid =
      metadata->is_object() && metadata->size() <= kMaxMetadataPairs &&
      std::ranges::all_of(metadata->items(), [](const auto& item) {
        return item.key().size() <= kMaxLabelChars && item.value().is_string() &&
               item.value().template get_ref<const std::string&>().size() <= kMaxMetadataChars;
      });
  if (!valid) {
    fields.fail(Code::kInvalidValue, "metadata",
                "'metadata' must be an object of up to 16 strings, each of up to 512 bytes, with "
                "keys of up to 64 bytes.");
  }
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

// Fields that both endpoints share.
void read_options(Fields& fields, std::string_view text, InferenceOptions& options) {
  fields.required("model", options.model);
  read_adapters(fields, options.adapters);
  read_sampling(fields, options.sampling);
  fields.integer("seed", {INT64_MIN, INT64_MAX}, options.seed);
  fields.one_or_more("stop", kMaxStopStrings, kMaxStopChars, options.stop);
  read_stream(fields, options);
  read_output_format(fields, text, options.format);

  fields.text("user", kMaxMetadataChars, options.user);
  fields.text("prompt_cache_key", kMaxMetadataChars, options.session);
  std::optional<std::int64_t> num_choices;
  fields.integer("n", {1, kMaxChoices}, num_choices);
  options.num_choices = static_cast<int>(num_choices.value_or(1));
  fields.unsupported("priority");
  fields.unsupported("cache_salt");
}

void read_max_tokens(Fields& fields, std::string_view name, std::int64_t min,
                     std::optional<int>& out) {
  std::optional<std::int64_t> tokens;
  fields.integer(name, {min, kMaxInt}, tokens);
  if (tokens) out = static_cast<int>(*tokens);
}

// The current and the deprecated name of one limit; if both are given they must agree.
void read_chat_max_tokens(Fields& fields, std::optional<int>& out) {
  std::optional<int> deprecated;
  read_max_tokens(fields, "max_completion_tokens", 1, out);
  read_max_tokens(fields, "max_tokens", 1, deprecated);
  if (out && deprecated && *out != *deprecated) {
    fields.fail(Code::kInvalidValue, "max_tokens",
                "'max_tokens' and 'max_completion_tokens' differ; give one of them.");
  }
  if (!out) out = deprecated;
}

void read_chat_logprobs(Fields& fields, int& num_logprobs) {
  bool wanted = false;
  std::optional<std::int64_t> top;
  fields.boolean("logprobs", wanted);
  fields.integer("top_logprobs", {0, kMaxChatTopLogprobs}, top);
  if (top && !wanted) {
    fields.fail(Code::kInvalidValue, "top_logprobs",
                "'top_logprobs' is only allowed when 'logprobs' is true.");
  }
  if (wanted) num_logprobs = static_cast<int>(top.value_or(0));
}

// The newer name of `user`, which counts if both are given.
void read_safety_identifier(Fields& fields, std::string& user) {
  std::string identifier;
  fields.text("safety_identifier", kMaxLabelChars, identifier);
  if (!identifier.empty()) user = std::move(identifier);
}

void refuse_unsupported_chat_fields(Fields& fields) {
  check_metadata(fields);
  fields.unsupported("store", {false});
  fields.unsupported("service_tier", {"auto", "default"});
  fields.unsupported("functions", {Json::array()});
  fields.unsupported("function_call", {"none", "auto"});
  fields.unsupported("modalities", {Json::array({"text"})});
  fields.unsupported("verbosity", {"medium"});
  for (const std::string_view name :
       {"prediction", "audio", "web_search_options", "prompt_cache_retention",
        "prompt_cache_options", "moderation"}) {
    fields.unsupported(name);
  }
}

// Variables for the template. Ours cannot be set by a client: a prompt has to come from the fields
// that are checked.
void read_template_variables(Fields& fields, Json& out) {
  const Json* value = fields.any("chat_template_kwargs");
  if (!value) return;
  constexpr std::string_view kName = "chat_template_kwargs";
  if (!value->is_object()) {
    return fields.fail(Code::kInvalidValue, kName, "'chat_template_kwargs' must be an object.");
  }
  if (to_text(*value).size() > kMaxTemplateVariableBytes) {
    return fields.fail(Code::kRequestExceedsLimit, kName,
                       "'chat_template_kwargs' is longer than " +
                           std::to_string(kMaxTemplateVariableBytes) + " bytes.");
  }
  for (const auto& [name, variable] : value->items()) {
    const bool ours = name == "messages" || name == "tools" || name == "add_generation_prompt" ||
                      name == "chat_template" || name.ends_with("_token") || name.empty();
    if (ours) {
      return fields.fail(Code::kInvalidValue, kName,
                         "'chat_template_kwargs' cannot set '" + name.substr(0, 64) + "'.");
    }
  }
  out = *value;
}

void read_reasoning_effort(Fields& fields, std::string& effort) {
  constexpr std::array<std::string_view, 6> kEfforts = {"none",   "minimal", "low",
                                                        "medium", "high",    "xhigh"};
  fields.text("reasoning_effort", kMaxLabelChars, effort);
  if (effort.empty() || std::ranges::find(kEfforts, effort) != kEfforts.end()) return;
  fields.fail(Code::kInvalidValue, "reasoning_effort",
              "'reasoning_effort' must be none, minimal, low, medium, high or xhigh.");
}

// The fields that make a conversation a prompt. `messages` comes last: it is the one whose faults
// are told last.
Result<Conversation> read_conversation(Fields& fields, std::string_view text) {
  Conversation conversation;
  auto tools = read_tools(fields, text);
  if (!tools) return tools.error();
  conversation.tools = *std::move(tools);
  read_reasoning_effort(fields, conversation.reasoning_effort);
  read_template_variables(fields, conversation.variables);
  fields.boolean("continue_final_message", conversation.continue_final_message);
  conversation.add_generation_prompt = !conversation.continue_final_message;
  fields.boolean("add_generation_prompt", conversation.add_generation_prompt);
  if (conversation.continue_final_message && conversation.add_generation_prompt) {
    fields.fail(Code::kInvalidValue, "add_generation_prompt",
                "'add_generation_prompt' and 'continue_final_message' exclude each other.");
  }
  const Json* messages = fields.required_any("messages");
  if (auto read = fields.finish(); !read) return read.error();
  auto read = read_messages(*messages);
  if (!read) return read.error();
  conversation.messages = *std::move(read);
  return conversation;
}

// An answer in a form of its own is no call.
Result<void> check_together(const ChatRequest& request) {
  const OutputFormat& format = request.options.format;
  if (!format.asked || request.conversation.tools.empty()) return {};
  return Error{Code::kUnsupportedParameter,
               "'" + format.asked->place.param +
                   "' and tools that may be called exclude each other on this server; set "
                   "'tool_choice' to 'none', or leave one of them out.",
               format.asked->place.param};
}

bool is_token_ids(const Json& value) {
  return value.is_array() && !value.empty() && std::ranges::all_of(value, [](const Json& item) {
           return item.is_number_unsigned() && item.get<std::uint64_t>() <= kMaxInt;
         });
}

// One prompt, or nullopt if it is not of a form that can be one.
std::optional<Prompt> read_prompt(const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (is_token_ids(value)) return value.get<std::vector<TokenId>>();
  return std::nullopt;
}

// string | string[] | int[] | int[][]
Result<std::vector<Prompt>> read_prompts(const Json& value) {
  const Error wrong{Code::kInvalidValue,
                    "'prompt' must be a string, an array of strings, an array of token ids or an "
                    "array of such arrays.",
                    "prompt"};
  if (auto single = read_prompt(value)) return std::vector<Prompt>{*std::move(single)};
  if (!value.is_array() || value.empty()) return wrong;
  if (value.size() > static_cast<std::size_t>(kMaxPrompts)) {
    return Error{Code::kRequestExceedsLimit,
                 "'prompt' has more than " + std::to_string(kMaxPrompts) + " prompts.", "prompt"};
  }
  std::vector<Prompt> prompts;
  for (const Json& item : value) {
    auto prompt = read_prompt(item);
    if (!prompt) return wrong;
    prompts.push_back(*std::move(prompt));
  }
  return prompts;
}

}  // namespace

Result<ChatRequest> parse_chat_request(const Json& body, std::string_view text) {
  ChatRequest request;
  Fields fields(body);
  read_options(fields, text, request.options);
  read_chat_max_tokens(fields, request.options.max_tokens);
  read_chat_logprobs(fields, request.options.sampling.num_logprobs);
  read_safety_identifier(fields, request.options.user);
  refuse_unsupported_chat_fields(fields);
  auto conversation = read_conversation(fields, text);
  if (!conversation) return conversation.error();
  request.conversation = *std::move(conversation);
  if (auto checked = check_together(request); !checked) return checked.error();
  return request;
}

Result<TokenizeRequest> parse_tokenize_request(const Json& body) {
  TokenizeRequest request;
  std::string prompt;
  Fields fields(body);
  fields.required("model", request.model);
  fields.boolean("add_special_tokens", request.add_special_tokens);
  fields.boolean("return_token_strs", request.return_token_strs);
  if (fields.any("prompt")) {
    if (fields.any("messages")) {
      fields.fail(Code::kInvalidValue, "prompt", "Give either 'prompt' or 'messages'.");
    }
    fields.required("prompt", prompt);
    if (auto read = fields.finish(); !read) return read.error();
    request.prompt = std::move(prompt);
    return request;
  }
  auto conversation = read_conversation(fields, {});
  if (!conversation) return conversation.error();
  request.conversation = *std::move(conversation);
  return request;
}

Result<DetokenizeRequest> parse_detokenize_request(const Json& body) {
  DetokenizeRequest request;
  Fields fields(body);
  fields.required("model", request.model);
  if (fields.required_any("tokens")) {
    fields.integers("tokens", kMaxTokenizeIds, {0, kMaxInt}, request.tokens);
  }
  fields.boolean("skip_special_tokens", request.skip_special_tokens);
  if (auto read = fields.finish(); !read) return read.error();
  return request;
}

Result<CompletionRequest> parse_completion_request(const Json& body, std::string_view text) {
  CompletionRequest request;
  std::optional<std::int64_t> logprobs;
  Fields fields(body);
  read_options(fields, text, request.options);
  read_max_tokens(fields, "max_tokens", 0, request.options.max_tokens);
  fields.integer("logprobs", {0, kMaxCompletionLogprobs}, logprobs);
  fields.unsupported("best_of", {1});
  fields.unsupported("echo", {false});
  fields.unsupported("suffix", {""});
  const Json* prompt = fields.required_any("prompt");
  if (auto read = fields.finish(); !read) return read.error();

  request.options.sampling.num_logprobs = static_cast<int>(logprobs.value_or(-1));
  if (!request.options.max_tokens) request.options.max_tokens = kDefaultCompletionTokens;
  auto prompts = read_prompts(*prompt);
  if (!prompts) return prompts.error();
  request.prompts = *std::move(prompts);
  return request;
}

}  // namespace tessera
