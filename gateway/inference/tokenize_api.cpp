// tokenize_api.cpp — /v1/tokenize and /v1/detokenize: what the model reads of a text.
//
// The form is vLLM's. The same key, scope and request limits as for inference: encoding a long text
// is work, and a tenant pays for it with a request. An adapter has its base's tokenizer; its name
// is resolved all the same, so that a client can ask with the name that it chats with.
#include <algorithm>
#include <utility>

#include <nlohmann/json.hpp>

#include "engine/text/utf8.hpp"
#include "gateway/api/api_json.hpp"
#include "gateway/api/rate_limits.hpp"
#include "gateway/handlers.hpp"
#include "gateway/inference/chat_encoding.hpp"
#include "gateway/inference/inference.hpp"
#include "gateway/inference/lenient.hpp"
#include "storage/json.hpp"

namespace tessera {
namespace {

using nlohmann::ordered_json;

Result<std::vector<TokenId>> encode(const ServedModel& model, const TokenizeRequest& request,
                                    WallTime now) {
  if (request.prompt) {
    return model.tokenizer->encode(
        *request.prompt, {.parse_special = true, .add_special = request.add_special_tokens});
  }
  auto chat = encode_chat(model, *request.conversation, now);
  if (!chat) return chat.error();
  return std::move(chat->ids);
}

}  // namespace

Result<Reply> tokenize(Platform& platform, Call& call) {
  const auto permit = platform.admission.admit(call.caller, now_of(platform.clock));
  if (!permit) return Reply(refusal_response(permit.error(), call.id));
  auto body = parse_json(call.request.body);
  if (!body) return body.error();
  const auto request = parse_by_policy(call, *body, parse_tokenize_request);
  if (!request) return request.error();
  const auto model = resolve_model(platform, call.caller, request->model);
  if (!model) return model.error();
  const auto ids = encode(platform.model, *request, call.received_wall);
  if (!ids) return ids.error();

  ordered_json reply;
  reply["count"] = ids->size();
  reply["max_model_len"] = platform.engine->max_context();
  reply["tokens"] = *ids;
  reply["token_strs"] = nullptr;
  if (request->return_token_strs) {
    reply["token_strs"] = ordered_json::array();
    for (const TokenId id : *ids) {
      reply["token_strs"].push_back(repair_utf8(platform.model.tokenizer->token_bytes(id)));
    }
  }
  return json_reply(reply);
}

Result<Reply> detokenize(Platform& platform, Call& call) {
  const auto permit = platform.admission.admit(call.caller, now_of(platform.clock));
  if (!permit) return Reply(refusal_response(permit.error(), call.id));
  auto body = parse_json(call.request.body);
  if (!body) return body.error();
  const auto request = parse_by_policy(call, *body, parse_detokenize_request);
  if (!request) return request.error();
  const auto model = resolve_model(platform, call.caller, request->model);
  if (!model) return model.error();
  const int vocab_size = platform.model.packed->spec().vocab_size;
  if (std::ranges::any_of(request->tokens, [&](TokenId id) { return id >= vocab_size; })) {
    return Error{Code::kInvalidValue,
                 "A token id is not in the vocabulary of " + std::to_string(vocab_size) + ".",
                 "tokens"};
  }
  ordered_json reply;
  reply["prompt"] = platform.model.tokenizer->decode(request->tokens, request->skip_special_tokens);
  return json_reply(reply);
}

}  // namespace tessera
