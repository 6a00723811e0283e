// served_model.hpp — the base model as the gateway knows it: weights, tokenizer, and how it chats.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "engine/model/packed_model.hpp"
#include "engine/text/answer_syntax.hpp"
#include "engine/text/chat_template.hpp"
#include "engine/text/template_traits.hpp"
#include "engine/text/tokenizer.hpp"
#include "engine/text/tokenizer_identity.hpp"
#include "gateway/config.hpp"
#include "storage/result.hpp"

namespace tessera {

// What is found out at the start about a model that has a chat template.
struct ChatProfile {
  ChatTemplate chat_template;
  TemplateTraits traits = {};
  AnswerSyntax syntax = {};
  // Special tokens that an answer's parser has to see; others show no text.
  std::vector<TokenId> tool_marks = {};
  std::vector<TokenId> think_marks = {};
  nlohmann::ordered_json special_tokens = {};  // bos_token, eos_token ...: the template's variables
};

// Immutable.
struct ServedModel {
  std::unique_ptr<PackedModel> packed;
  std::unique_ptr<Tokenizer> tokenizer;
  std::optional<TokenizerIdentity> tokenizer_identity;  // none: it is not from a tokenizer.json
  std::optional<ChatProfile> chat;                      // none: /v1/chat/completions is refused

  const std::string& name() const { return packed->info().name; }
};

// Errors: those of the packed file, its tokenizer and its template; the message says which.
Result<ServedModel> open_served_model(const ServerConfig& config);

// The profile of a template with this tokenizer. `tool_format` is "auto" or a ToolFormat's name.
// Errors: kUnsupportedModel if the template cannot be used.
Result<ChatProfile> make_chat_profile(const ModelInfo& info, const Tokenizer& tokenizer,
                                      std::string_view tool_format);

}  // namespace tessera
