// chat_api.cpp — POST /v1/chat/completions: a conversation, through the model's template.
#include <utility>

#include <nlohmann/json.hpp>

#include "gateway/chat_encoding.hpp"
#include "gateway/handlers.hpp"
#include "gateway/inference.hpp"
#include "gateway/rate_limits.hpp"
#include "storage/json.hpp"

namespace tessera {

Result<Reply> create_chat_completion(Platform& platform, Call& call) {
  auto permit = platform.admission.admit(call.caller, platform.clock.steady_now());
  if (!permit) return Reply(refusal_response(permit.error(), call.id));
  const auto body = parse_json(call.request.body);
  if (!body) return body.error();
  auto request = parse_chat_request(*body);
  if (!request) return request.error();
  auto model = resolve_model(platform, call.caller, request->options.model);
  if (!model) return model.error();
  auto prompt = encode_chat(platform.model, request->conversation, call.received_wall);
  if (!prompt) return prompt.error();

  PreparedInference prepared{
      .kind = AnswerKind::kChat,
      .model = *std::move(model),
      .options = std::move(request->options),
      .prompts = {},
      .reading = reading_of(platform.model, request->conversation, prompt->text)};
  prepared.prompts.push_back(std::move(prompt->ids));
  return begin_generation(platform, call, *std::move(permit), std::move(prepared));
}

}  // namespace tessera
