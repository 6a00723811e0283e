// openai_types.hpp — OpenAI's inference requests, read strictly (http-api.md 3.1, 3.4 and 3.5).
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

#include "gateway/inference/chat_tools.hpp"
#include "gateway/inference/option_fields.hpp"
#include "storage/result.hpp"

namespace tessera {

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

struct EmbeddingRequest {
  InferenceOptions options;            // of which a model, who asks, and no answer
  std::vector<Prompt> inputs;          // at least one
  bool base64 = false;                 // little-endian float32 instead of numbers
  std::optional<int> dimensions = {};  // the first so many, and of length one again
  PromptOutput pooling = PromptOutput::kLastState;
};

// Errors: kMissingRequiredParameter, kInvalidValue, kUnknownParameter, kUnsupportedParameter,
// kUnsupportedContent, kStringAboveMaxLength, kRequestExceedsLimit; param is the JSON path.
// Token ids are checked against the vocabulary later, by the engine. `text` is what `body` was
// parsed from: schemas are taken from it, byte for byte; without it, as the tree has them.
Result<ChatRequest> parse_chat_request(const nlohmann::ordered_json& body,
                                       std::string_view text = {});
Result<CompletionRequest> parse_completion_request(const nlohmann::ordered_json& body,
                                                   std::string_view text = {});
Result<EmbeddingRequest> parse_embedding_request(const nlohmann::ordered_json& body);
Result<TokenizeRequest> parse_tokenize_request(const nlohmann::ordered_json& body);
Result<DetokenizeRequest> parse_detokenize_request(const nlohmann::ordered_json& body);

}  // namespace tessera
