// chat_api.cpp — POST /v1/chat/completions and /v1/responses: a conversation, through the model's
// template.
#include <utility>

#include <nlohmann/json.hpp>

#include "gateway/api/rate_limits.hpp"
#include "gateway/handlers.hpp"
#include "gateway/inference/chat_encoding.hpp"
#include "gateway/inference/inference.hpp"
#include "gateway/inference/lenient.hpp"
#include "gateway/inference/responses_request.hpp"
#include "gateway/inference/tool_constraint.hpp"
#include "storage/json.hpp"

namespace tessera {
namespace {

// What the answer has to be, if tools say so; and where that begins: behind the reasoning, which
// the prompt has opened or the model may open.
Result<void> set_constraint(const ServedModel& model, const ChatTools& tools,
                            PreparedInference& prepared) {
  OutputFormat& format = prepared.options.format;
  const AnswerSyntax& syntax = model.chat->syntax;
  if (tools.constrained()) {
    auto asked = tool_constraint(syntax, *model.tokenizer, tools, format.rules);
    if (!asked) return asked.error();
    format.asked = *std::move(asked);
  }
  if (!format.asked || !prepared.reading) return {};
  const bool is_open = prepared.reading->options.in_reasoning;
  if (is_open || prepared.reading->may_reason) format.asked->spec.free_until = syntax.think_close;
  if (!is_open && prepared.reading->may_reason) format.asked->spec.free_from = syntax.think_open;
  return {};
}

Result<Reply> begin_chat(Platform& platform, Call& call, Permit permit, AnswerKind kind,
                         ChatRequest request, nlohmann::ordered_json response) {
  auto model = resolve_requested(platform, call.caller, request.options);
  if (!model) return model.error();
  auto prompt = encode_chat(platform.model, request.conversation, call.received_wall);
  if (!prompt) return prompt.error();

  PreparedInference prepared{
      .kind = kind,
      .model = *std::move(model),
      .options = std::move(request.options),
      .prompts = {},
      .reading = reading_of(platform.model, request.conversation, prompt->text)};
  prepared.response = std::move(response);
  prepared.prompts.push_back(std::move(prompt->ids));
  if (auto set = set_constraint(platform.model, request.conversation.tools, prepared); !set) {
    return set.error();
  }
  return begin_constrained(platform, call, std::move(permit), std::move(prepared));
}

}  // namespace

Result<Reply> create_chat_completion(Platform& platform, Call& call) {
  auto permit = platform.admission.admit(call.caller, now_of(platform.clock));
  if (!permit) return Reply(refusal_response(permit.error(), call.id));
  auto body = parse_json(call.request.body, {.max_depth = kMaxInferenceJsonDepth});
  if (!body) return body.error();
  auto request = parse_by_policy(call, *body, [&](const nlohmann::ordered_json& known) {
    return parse_chat_request(known, call.request.body);
  });
  if (!request) return request.error();
  return begin_chat(platform, call, *std::move(permit), AnswerKind::kChat, *std::move(request), {});
}

Result<Reply> create_response(Platform& platform, Call& call) {
  auto permit = platform.admission.admit(call.caller, now_of(platform.clock));
  if (!permit) return Reply(refusal_response(permit.error(), call.id));
  auto body = parse_json(call.request.body, {.max_depth = kMaxInferenceJsonDepth});
  if (!body) return body.error();
  auto request = parse_by_policy(call, *body, parse_responses_request);
  if (!request) return request.error();
  return begin_chat(platform, call, *std::move(permit), AnswerKind::kResponse,
                    std::move(request->chat), std::move(request->response));
}

}  // namespace tessera
