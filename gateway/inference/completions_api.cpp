// completions_api.cpp — POST /v1/completions: texts or token ids, continued as they are.
#include <algorithm>
#include <utility>
#include <variant>

#include <nlohmann/json.hpp>

#include "gateway/api/rate_limits.hpp"
#include "gateway/handlers.hpp"
#include "gateway/inference/inference.hpp"
#include "storage/json.hpp"

namespace tessera {
namespace {

Result<std::vector<TokenId>> encode_prompt(const ServedModel& model, const Prompt& prompt) {
  std::vector<TokenId> ids;
  if (const auto* text = std::get_if<std::string>(&prompt)) {
    ids = model.tokenizer->encode(*text, {.parse_special = true, .add_special = true});
  } else {
    ids = std::get<std::vector<TokenId>>(prompt);
  }
  if (ids.empty()) return Error{Code::kInvalidValue, "The prompt is empty.", "prompt"};
  const int vocab_size = model.packed->spec().vocab_size;
  if (std::ranges::any_of(ids, [&](TokenId id) { return id < 0 || id >= vocab_size; })) {
    return Error{Code::kInvalidValue,
                 "A token id is not in the vocabulary of " + std::to_string(vocab_size) + ".",
                 "prompt"};
  }
  return ids;
}

}  // namespace

Result<Reply> create_completion(Platform& platform, Call& call) {
  auto permit = platform.admission.admit(call.caller, now_of(platform.clock));
  if (!permit) return Reply(refusal_response(permit.error(), call.id));
  const auto body = parse_json(call.request.body, {.max_depth = kMaxInferenceJsonDepth});
  if (!body) return body.error();
  auto request = parse_completion_request(*body, call.request.body);
  if (!request) return request.error();
  auto model = resolve_requested(platform, call.caller, request->options);
  if (!model) return model.error();

  PreparedInference prepared{.kind = AnswerKind::kText,
                             .model = *std::move(model),
                             .options = std::move(request->options),
                             .prompts = {}};
  for (const Prompt& prompt : request->prompts) {
    auto ids = encode_prompt(platform.model, prompt);
    if (!ids) return ids.error();
    prepared.prompts.push_back(*std::move(ids));
  }
  return begin_constrained(platform, call, *std::move(permit), std::move(prepared));
}

}  // namespace tessera
