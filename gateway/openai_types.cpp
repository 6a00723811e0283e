#include "gateway/openai_types.hpp"

#include <algorithm>
#include <array>
#include <limits>
#include <utility>

#include <nlohmann/json.hpp>

#include "gateway/config.hpp"
#include "gateway/fields.hpp"

namespace tessera {
namespace {

using Json = Fields::Json;

constexpr std::int64_t kMaxInt = std::numeric_limits<std::int32_t>::max();
constexpr std::size_t kMaxLabelChars = 64;  // of metadata keys, safety identifiers
constexpr std::size_t kMaxMetadataChars = 512;
constexpr std::size_t kMaxMetadataPairs = 16;

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

// Fields that both endpoints share.
void read_options(Fields& fields, InferenceOptions& options) {
  fields.required("model", options.model);
  read_sampling(fields, options.sampling);
  fields.integer("seed", {INT64_MIN, INT64_MAX}, options.seed);
  fields.one_or_more("stop", kMaxStopStrings, kMaxStopChars, options.stop);
  read_stream(fields, options);

  std::string label;
  fields.text("user", kMaxMetadataChars, label);
  fields.text("prompt_cache_key", kMaxMetadataChars, label);
  fields.unsupported("n", {1});
  fields.unsupported("frequency_penalty", {0});
  fields.unsupported("presence_penalty", {0});
  fields.unsupported("repetition_penalty", {1});
  fields.unsupported("min_tokens", {0});
  fields.unsupported("logit_bias", {Json::object()});
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

void refuse_unsupported_chat_fields(Fields& fields) {
  std::string label;
  fields.text("safety_identifier", kMaxLabelChars, label);
  check_metadata(fields);
  fields.unsupported("store", {false});
  fields.unsupported("service_tier", {"auto", "default"});
  fields.unsupported("response_format", {Json{{"type", "text"}}});
  fields.unsupported("tools", {Json::array()});
  fields.unsupported("tool_choice", {"none", "auto"});
  fields.unsupported("parallel_tool_calls", {true, false});  // of no tools
  fields.unsupported("functions", {Json::array()});
  fields.unsupported("function_call", {"none", "auto"});
  fields.unsupported("modalities", {Json::array({"text"})});
  fields.unsupported("verbosity", {"medium"});
  fields.unsupported("reasoning_effort", {"none"});
  for (const std::string_view name :
       {"prediction", "audio", "web_search_options", "prompt_cache_retention",
        "prompt_cache_options", "moderation"}) {
    fields.unsupported(name);
  }
}

// The text of a message's content: a string, or an array of text parts, one a line.
Result<std::string> read_content(const Json& content, const std::string& path) {
  if (content.is_string()) return content.get<std::string>();
  if (!content.is_array()) {
    return Error{Code::kInvalidValue, "'" + path + "' must be a string or an array of parts.",
                 path};
  }
  std::string text;
  for (std::size_t i = 0; i < content.size(); ++i) {
    const std::string part_path = path + "[" + std::to_string(i) + "]";
    Fields part(content[i], part_path + ".");
    std::string type;
    std::string piece;
    part.required("type", type);
    if (type != "text" && !type.empty()) {
      return Error{Code::kUnsupportedContent,
                   "Content of type '" + type.substr(0, 64) + "' is not supported; use 'text'.",
                   part_path};
    }
    part.required("text", piece);
    if (auto read = part.finish(); !read) return read.error();
    text += (i > 0 ? "\n" : "") + piece;
  }
  return text;
}

Result<ChatMessage> read_message(const Json& value, const std::string& path) {
  constexpr std::array<std::string_view, 4> kRoles = {"developer", "system", "user", "assistant"};
  ChatMessage message;
  std::string name;
  Fields fields(value, path + ".");
  fields.required("role", message.role);
  if (message.role == "tool" || message.role == "function") {
    fields.fail(Code::kUnsupportedContent, "role", "Tool messages are not supported.");
  } else if (!message.role.empty() && std::ranges::find(kRoles, message.role) == kRoles.end()) {
    fields.fail(Code::kInvalidValue, "role",
                "'" + path + ".role' must be developer, system, user or assistant.");
  }
  fields.text("name", kMaxLabelChars, name);
  fields.unsupported("tool_calls", {Json::array()});
  for (const std::string_view field : {"refusal", "function_call", "tool_call_id", "audio"}) {
    fields.unsupported(field);
  }
  const Json* content = fields.required_any("content");
  if (auto read = fields.finish(); !read) return read.error();

  auto text = read_content(*content, path + ".content");
  if (!text) return text.error();
  message.content = *std::move(text);
  if (message.role == "developer") message.role = "system";
  if (!name.empty()) message.name = std::move(name);
  return message;
}

Result<std::vector<ChatMessage>> read_messages(const Json& value) {
  if (!value.is_array() || value.empty()) {
    return Error{Code::kInvalidValue, "'messages' must be an array of at least one message.",
                 "messages"};
  }
  if (value.size() > static_cast<std::size_t>(kMaxMessages)) {
    return Error{Code::kRequestExceedsLimit,
                 "'messages' has more than " + std::to_string(kMaxMessages) + " messages.",
                 "messages"};
  }
  std::vector<ChatMessage> messages;
  for (std::size_t i = 0; i < value.size(); ++i) {
    auto message = read_message(value[i], "messages[" + std::to_string(i) + "]");
    if (!message) return message.error();
    messages.push_back(*std::move(message));
  }
  return messages;
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

Result<ChatRequest> parse_chat_request(const Json& body) {
  ChatRequest request;
  Fields fields(body);
  read_options(fields, request.options);
  read_chat_max_tokens(fields, request.options.max_tokens);
  read_chat_logprobs(fields, request.options.sampling.num_logprobs);
  refuse_unsupported_chat_fields(fields);
  const Json* messages = fields.required_any("messages");
  if (auto read = fields.finish(); !read) return read.error();

  auto read = read_messages(*messages);
  if (!read) return read.error();
  request.messages = *std::move(read);
  return request;
}

Result<CompletionRequest> parse_completion_request(const Json& body) {
  CompletionRequest request;
  std::optional<std::int64_t> logprobs;
  Fields fields(body);
  read_options(fields, request.options);
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
