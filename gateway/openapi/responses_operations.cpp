// responses_operations.cpp — the shapes of responses and embeddings.
#include "gateway/config.hpp"
#include "gateway/openapi/operations.hpp"

namespace tessera::openapi {
namespace {

constexpr std::int64_t kMaxInt = 2'147'483'647;

Json null() {
  Json schema;
  schema["type"] = "null";
  return schema;
}

// ---- Embeddings.

Json embedding_request() {
  const Json ids = array(integer(0, kMaxInt));
  return request({{"model", text()},
                  {"input", either({text(1, kMaxJsonBytes),
                                    array(text(1, kMaxJsonBytes), 1, kMaxEmbeddingInputs), ids,
                                    array(ids, 1, kMaxEmbeddingInputs)})},
                  optional("encoding_format", words({"float", "base64"})),
                  optional("pooling", words({"last", "mean"})),
                  optional("dimensions", integer(1, kMaxInt)),
                  optional("user", text(0, 512))});
}

Json embeddings() {
  const Json embedding = object({{"object", constant("embedding")},
                                 {"index", integer()},
                                 {"embedding", either({array(number()), text()})}});
  return object({{"object", constant("list")},
                 {"data", array(embedding)},
                 {"model", text()},
                 {"usage", object({{"prompt_tokens", integer()}, {"total_tokens", integer()}})}});
}

// ---- Responses: what is asked.

Json input_item() {
  const Json part = map(any());
  const Json content = either({text(), array(part)});
  return either({request({optional("type", constant("message")),
                          optional("id", text()),
                          optional("status", text()),
                          optional("phase", text()),
                          {"role", words({"developer", "system", "user", "assistant"})},
                          {"content", content}}),
                 request({{"type", constant("function_call")},
                          optional("id", text()),
                          optional("status", text()),
                          {"call_id", text()},
                          {"name", text()},
                          {"arguments", text()}}),
                 request({{"type", constant("function_call_output")},
                          optional("id", text()),
                          optional("status", text()),
                          {"call_id", text()},
                          {"output", content}}),
                 map(any())});  // reasoning, as it was answered
}

Json responses_request() {
  return request({{"model", text()},
                  {"input", either({text(), array(ref("ResponseInputItem"), 1, kMaxMessages)})},
                  optional("instructions", text()),
                  optional("max_output_tokens", integer(1, kMaxInt)),
                  optional("temperature", number(0.0, 2.0)),
                  optional("top_p", number(0.0, 1.0)),
                  optional("stream", boolean()),
                  optional("store", boolean()),
                  optional("text", map(any())),
                  optional("reasoning", map(any())),
                  optional("tools", array(map(any()), 0, kMaxTools)),
                  optional("tool_choice", either({text(), map(any())})),
                  optional("parallel_tool_calls", boolean()),
                  optional("include", array(text())),
                  optional("top_logprobs", integer(0, kMaxChatTopLogprobs)),
                  optional("structured_outputs", map(any())),
                  optional("service_tier", text()),
                  optional("seed", integer(INT64_MIN, INT64_MAX)),
                  optional("user", text(0, 512)),
                  optional("metadata", map(text()))});
}

// ---- And what is answered.

Json logprobs() {
  const Members token = {
      {"token", text()}, {"logprob", number()}, {"bytes", array(integer(0, 255))}};
  return array(object(joined(token, {{"top_logprobs", array(object(token))}})));
}

Json text_part() {
  return either({object({{"type", constant("output_text")},
                         {"text", text()},
                         {"annotations", array(any(), 0, 0)},
                         {"logprobs", logprobs()}}),
                 object({{"type", constant("reasoning_text")}, {"text", text()}})});
}

Json output_item() {
  const Json status = words({"in_progress", "completed", "incomplete"});
  return either({object({{"id", text()},
                         {"type", constant("message")},
                         {"status", status},
                         {"role", constant("assistant")},
                         {"content", array(ref("ResponsePart"))}}),
                 object({{"id", text()},
                         {"type", constant("reasoning")},
                         {"status", status},
                         {"summary", array(any(), 0, 0)},
                         {"content", array(ref("ResponsePart"))}}),
                 object({{"id", text()},
                         {"type", constant("function_call")},
                         {"status", status},
                         {"call_id", text()},
                         {"name", text()},
                         {"arguments", text()}})});
}

Json response_usage() {
  return object({{"input_tokens", integer()},
                 {"input_tokens_details", object({{"cached_tokens", integer()}})},
                 {"output_tokens", integer()},
                 {"output_tokens_details", object({{"reasoning_tokens", integer()}})},
                 {"total_tokens", integer()}});
}

Json response() {
  return object({{"id", text()},
                 {"object", constant("response")},
                 {"created_at", unix_time()},
                 {"status", words({"in_progress", "completed", "incomplete", "failed"})},
                 {"background", boolean()},
                 {"error", nullable(object({{"code", text()}, {"message", text()}}))},
                 {"incomplete_details", nullable(object({{"reason", text()}}))},
                 {"instructions", nullable(text())},
                 {"max_output_tokens", nullable(integer())},
                 {"model", text()},
                 {"output", array(ref("ResponseItem"))},
                 {"parallel_tool_calls", boolean()},
                 {"previous_response_id", null()},
                 {"reasoning", map(any())},
                 {"service_tier", words({"default", "flex", "priority"})},
                 {"store", boolean()},
                 {"temperature", number()},
                 {"text", map(any())},
                 {"tool_choice", either({text(), map(any())})},
                 {"tools", array(map(any()))},
                 {"top_logprobs", integer()},
                 {"top_p", number()},
                 {"truncation", constant("disabled")},
                 {"usage", nullable(response_usage())},
                 {"user", nullable(text())},
                 {"metadata", map(any())}});
}

// An event by its types; `more` are its own members.
Json event(std::initializer_list<std::string_view> types, const Members& more) {
  return object(joined({{"type", words(types)}, {"sequence_number", integer()}}, more));
}

Json response_event() {
  const Members item = {{"item_id", text()}, {"output_index", integer()}};
  const Members part = joined(item, {{"content_index", integer()}});
  const Members delta = {{"delta", text()}, optional("obfuscation", text())};
  return either({event({"response.created", "response.in_progress", "response.completed",
                        "response.incomplete", "response.failed"},
                       {{"response", ref("Response")}}),
                 event({"response.output_item.added", "response.output_item.done"},
                       {{"output_index", integer()}, {"item", ref("ResponseItem")}}),
                 event({"response.content_part.added", "response.content_part.done"},
                       joined(part, {{"part", ref("ResponsePart")}})),
                 event({"response.output_text.delta"},
                       joined(part, joined(delta, {{"logprobs", logprobs()}}))),
                 event({"response.output_text.done"},
                       joined(part, {{"text", text()}, {"logprobs", logprobs()}})),
                 event({"response.reasoning_text.delta"}, joined(part, delta)),
                 event({"response.reasoning_text.done"}, joined(part, {{"text", text()}})),
                 event({"response.function_call_arguments.delta"}, joined(item, delta)),
                 event({"response.function_call_arguments.done"},
                       joined(item, {{"name", text()}, {"arguments", text()}}))});
}

}  // namespace

void describe_responses(Surface& surface) {
  auto& schemas = surface.schemas;
  schemas["EmbeddingRequest"] = embedding_request();
  schemas["EmbeddingList"] = embeddings();
  schemas["ResponseInputItem"] = input_item();
  schemas["ResponseRequest"] = responses_request();
  schemas["ResponsePart"] = text_part();
  schemas["ResponseItem"] = output_item();
  schemas["Response"] = response();
  schemas["ResponseEvent"] = response_event();
  surface.operations.push_back({.method = "POST",
                                .pattern = "/v1/embeddings",
                                .summary = "Texts as vectors.",
                                .answers = {{200, ref("EmbeddingList")}},
                                .body = ref("EmbeddingRequest"),
                                .headers = {"X-Tokenizer-Sha256"}});
  surface.operations.push_back(
      {.method = "POST",
       .pattern = "/v1/responses",
       .summary = "Answers a conversation in items; nothing is stored.",
       .answers = {{200, ref("Response")},
                   {200, text(), "text/event-stream", ref("ResponseEvent")}},
       .body = ref("ResponseRequest")});
}

}  // namespace tessera::openapi
