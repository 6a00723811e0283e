// chat_api.cpp — POST /v1/chat/completions: a conversation, through the model's template.
#include <utility>

#include <nlohmann/json.hpp>

#include "gateway/handlers.hpp"
#include "gateway/inference.hpp"
#include "gateway/rate_limits.hpp"
#include "storage/json.hpp"

namespace tessera {
namespace {

using nlohmann::ordered_json;

ordered_json template_variables(const ModelInfo& info, const std::vector<ChatMessage>& messages) {
  ordered_json variables;
  variables["messages"] = ordered_json::array();
  for (const ChatMessage& message : messages) {
    ordered_json entry;
    entry["role"] = message.role;
    entry["content"] = message.content;
    if (message.name) entry["name"] = *message.name;
    variables["messages"].push_back(std::move(entry));
  }
  variables["add_generation_prompt"] = true;
  variables["bos_token"] = info.bos_token;
  variables["eos_token"] = info.eos_token;
  return variables;
}

// The conversation as the prompt that the model continues.
Result<std::vector<TokenId>> encode_chat(const ServedModel& model,
                                         const std::vector<ChatMessage>& messages, WallTime now) {
  if (!model.chat_template) {
    return Error{Code::kUnsupportedParameter,
                 "The model has no chat template; use /v1/completions.", "messages"};
  }
  auto text = model.chat_template->render(template_variables(model.packed->info(), messages), now);
  if (!text) return Error{text.error().code, text.error().message, "messages"};
  auto ids = model.tokenizer->encode(*text, {.parse_special = true, .add_special = false});
  if (ids.empty()) return Error{Code::kInvalidValue, "The prompt is empty.", "messages"};
  return ids;
}

}  // namespace

Result<Reply> create_chat_completion(Platform& platform, Call& call) {
  auto permit = platform.admission.admit(call.caller, platform.clock.steady_now());
  if (!permit) return Reply(refusal_response(permit.error(), call.id));
  const auto body = parse_json(call.request.body);
  if (!body) return body.error();
  auto request = parse_chat_request(*body);
  if (!request) return request.error();
  auto model = resolve_model(platform, call.caller, request->options.model);
  if (!model) return model.error();
  auto prompt = encode_chat(platform.model, request->messages, call.received_wall);
  if (!prompt) return prompt.error();

  PreparedInference prepared{.kind = AnswerKind::kChat,
                             .model = *std::move(model),
                             .options = std::move(request->options),
                             .prompts = {}};
  prepared.prompts.push_back(*std::move(prompt));
  return begin_generation(platform, call, *std::move(permit), std::move(prepared));
}

}  // namespace tessera
