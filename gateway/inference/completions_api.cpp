// completions_api.cpp — POST /v1/completions: texts or token ids, continued as they are.
#include <string>
#include <utility>
#include <variant>

#include <nlohmann/json.hpp>

#include "gateway/api/rate_limits.hpp"
#include "gateway/handlers.hpp"
#include "gateway/inference/inference.hpp"
#include "gateway/inference/lenient.hpp"
#include "gateway/inference/prompt_fields.hpp"
#include "storage/json.hpp"

namespace tessera {
namespace {

// What an echo shows: the client's own text, or that of its tokens.
std::string text_of(const ServedModel& model, const Prompt& prompt) {
  if (const auto* text = std::get_if<std::string>(&prompt)) return *text;
  return model.tokenizer->decode(std::get<std::vector<TokenId>>(prompt), false);
}

}  // namespace

Result<Reply> create_completion(Platform& platform, Call& call) {
  auto permit = platform.admission.admit(call.caller, now_of(platform.clock));
  if (!permit) return Reply(refusal_response(permit.error(), call.id));
  auto body = parse_json(call.request.body, {.max_depth = kMaxInferenceJsonDepth});
  if (!body) return body.error();
  auto request = parse_by_policy(call, *body, [&](const nlohmann::ordered_json& known) {
    return parse_completion_request(known, call.request.body);
  });
  if (!request) return request.error();
  auto model = resolve_requested(platform, call.caller, request->options);
  if (!model) return model.error();

  PreparedInference prepared{.kind = AnswerKind::kText,
                             .model = *std::move(model),
                             .options = std::move(request->options),
                             .prompts = {}};
  for (const Prompt& prompt : request->prompts) {
    auto ids = encode_prompt(platform.model, prompt, "prompt");
    if (!ids) return ids.error();
    if (prepared.options.echo) prepared.echoes.push_back(text_of(platform.model, prompt));
    prepared.prompts.push_back(*std::move(ids));
  }
  return begin_constrained(platform, call, *std::move(permit), std::move(prepared));
}

}  // namespace tessera
