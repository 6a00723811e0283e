// embeddings_api.cpp — POST /v1/embeddings: texts as vectors, by the model with the adapter
// applied.
//
// A vector is the state that the output head would read: the last token's (`pooling` "last", as
// decoders are pooled), or the mean of all tokens' ("mean"). Token ids are taken only from a client
// that names the tokenizer they are of: some of OpenAI's wrappers send those of OpenAI's tokenizer,
// of which this model would make silent nonsense.
#include <algorithm>
#include <utility>
#include <variant>

#include <nlohmann/json.hpp>

#include "gateway/api/rate_limits.hpp"
#include "gateway/handlers.hpp"
#include "gateway/http/error_body.hpp"
#include "gateway/inference/inference.hpp"
#include "gateway/inference/lenient.hpp"
#include "gateway/inference/prompt_fields.hpp"
#include "storage/json.hpp"

namespace tessera {
namespace {

constexpr std::string_view kTokenizerHeader = "x-tokenizer-sha256";

// Whether the request has token ids and does not say that they are of this model's tokenizer.
bool has_strange_ids(const Platform& platform, const Call& call, const EmbeddingRequest& request) {
  const bool has_ids = std::ranges::any_of(request.inputs, [](const Prompt& input) {
    return std::holds_alternative<std::vector<TokenId>>(input);
  });
  return has_ids && header(call.request.headers, kTokenizerHeader) !=
                        to_hex(platform.model.tokenizer->digest());
}

HttpResponse no_strange_ids(const RequestId& request) {
  return problem_response(
      {{400, "invalid_request_error"},
       "token_input_not_allowed",
       "'input' of token ids has to say which tokenizer they are of: send the header '" +
           std::string(kTokenizerHeader) +
           "' with the 'tokenizer_sha256' that /v1/models tells, or send text.",
       "input"},
      request);
}

Result<void> check_inputs(const Platform& platform, const EmbeddingRequest& request) {
  const int width = platform.model.packed->spec().hidden;
  if (request.dimensions.value_or(1) > width) {
    return Error{
        Code::kInvalidValue,
        "'dimensions' must be at most " + std::to_string(width) + ", which this model has.",
        "dimensions"};
  }
  const auto is_empty = [](const Prompt& input) {
    const auto* text = std::get_if<std::string>(&input);
    return text != nullptr && text->empty();
  };
  if (std::ranges::any_of(request.inputs, is_empty)) {
    return Error{Code::kInvalidValue, "'input' cannot be or hold an empty string.", "input"};
  }
  return {};
}

}  // namespace

Result<Reply> create_embeddings(Platform& platform, Call& call) {
  auto permit = platform.admission.admit(call.caller, now_of(platform.clock));
  if (!permit) return Reply(refusal_response(permit.error(), call.id));
  auto body = parse_json(call.request.body, {.max_depth = kMaxInferenceJsonDepth});
  if (!body) return body.error();
  auto request = parse_by_policy(call, *body, parse_embedding_request);
  if (!request) return request.error();
  if (auto checked = check_inputs(platform, *request); !checked) return checked.error();
  if (has_strange_ids(platform, call, *request)) return Reply(no_strange_ids(call.id));
  auto model = resolve_requested(platform, call.caller, request->options);
  if (!model) return model.error();

  PreparedInference prepared{.kind = AnswerKind::kEmbedding,
                             .model = *std::move(model),
                             .options = std::move(request->options),
                             .prompts = {}};
  prepared.prompt_output = request->pooling;
  prepared.embedding = {.base64 = request->base64, .dimensions = request->dimensions};
  for (const Prompt& input : request->inputs) {
    auto ids = encode_prompt(platform.model, input, "input");
    if (!ids) return ids.error();
    prepared.prompts.push_back(*std::move(ids));
  }
  return begin_generation(platform, call, *std::move(permit), std::move(prepared));
}

}  // namespace tessera
