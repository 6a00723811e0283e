// openai_types.hpp — OpenAI's inference requests, read strictly (http-api.md 3.1 and 3.4).
//
// Every field of the published API has a decision here: used, accepted without effect, or refused
// unless its value asks for nothing. A field that OpenAI does not have is refused too, so a
// misspelt one is never silently without effect. Null equals absent.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <nlohmann/json.hpp>

#include "engine/generation_request.hpp"
#include "gateway/inference/chat_tools.hpp"
#include "gateway/inference/output_fields.hpp"
#include "storage/result.hpp"

namespace tessera {

// One of `adapters`: [{"model": "support-bot:prod", "weight": 0.7}, ...]
struct RequestedAdapter {
  std::string model;
  double weight = 1.0;
};

// What both endpoints share.
struct InferenceOptions {
  std::string model;
  std::vector<RequestedAdapter> adapters;  // to be mixed; then `model` is the base. Or none
  SamplingParams sampling;  // seed and max_tokens are filled in later, from the two below
  std::optional<std::int64_t> seed;
  std::optional<int>
      max_tokens;  // none: as many as the context has room for; 0: text completions only
  std::vector<std::string> stop;
  int num_choices = 1;  // of each prompt
  bool stream = false;
  bool include_usage = false;  // one more chunk with the usage
  OutputFormat format;
  // Who is asking, by which the traffic of a split alias is divided; empty if it is not said.
  std::string user;     // `safety_identifier`, or else `user`
  std::string session;  // `prompt_cache_key`
};

// What is rendered as a prompt; also that of a tokenize request.
struct Conversation {
  nlohmann::ordered_json messages;  // see read_messages(); at least one
  ChatTools tools;
  bool add_generation_prompt = true;
  bool continue_final_message = false;
  std::string reasoning_effort = {};  // empty: not asked for
  // chat_template_kwargs: variables for the template, none of a name that we set.
  nlohmann::ordered_json variables = nlohmann::ordered_json::object();
};

struct ChatRequest {
  InferenceOptions options;
  Conversation conversation;
};

// Text to be told as token ids: a text, or a conversation by way of the template.
struct TokenizeRequest {
  std::string model;
  std::optional<std::string> prompt;         // or
  std::optional<Conversation> conversation;  // exactly one of the two
  bool add_special_tokens = true;            // of a prompt: BOS and the like around it
  bool return_token_strs = false;
};

struct DetokenizeRequest {
  std::string model;
  std::vector<TokenId> tokens;
  bool skip_special_tokens = false;
};

// A prompt is a text or token ids.
using Prompt = std::variant<std::string, std::vector<TokenId>>;

struct CompletionRequest {
  InferenceOptions options;
  std::vector<Prompt> prompts;  // at least one; each is a choice of the answer
};

// Errors: kMissingRequiredParameter, kInvalidValue, kUnknownParameter, kUnsupportedParameter,
// kUnsupportedContent, kStringAboveMaxLength, kRequestExceedsLimit; param is the JSON path.
// Token ids are checked against the vocabulary later, by the engine. `text` is what `body` was
// parsed from: schemas are taken from it, byte for byte; without it, as the tree has them.
Result<ChatRequest> parse_chat_request(const nlohmann::ordered_json& body,
                                       std::string_view text = {});
Result<CompletionRequest> parse_completion_request(const nlohmann::ordered_json& body,
                                                   std::string_view text = {});
Result<TokenizeRequest> parse_tokenize_request(const nlohmann::ordered_json& body);
Result<DetokenizeRequest> parse_detokenize_request(const nlohmann::ordered_json& body);

}  // namespace tessera
