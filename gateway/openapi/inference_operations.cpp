// inference_operations.cpp — the shapes of chat completions, completions, models and tokenize.
#include "engine/adapter_mix.hpp"
#include "gateway/config.hpp"
#include "gateway/openapi/operations.hpp"

namespace tessera::openapi {
namespace {

constexpr std::int64_t kMaxInt = 2'147'483'647;
constexpr std::string_view kNamePattern = "^[a-zA-Z0-9_-]{1,64}$";
constexpr std::string_view kToolNamePattern = "^[a-zA-Z0-9_.-]{1,64}$";

// A value that asks for nothing, of a field that is known and not supported.
Json neutral(std::initializer_list<std::string_view> values) {
  return words(values);
}

Json function_reference() {
  return object({{"type", constant("function")},
                 {"function", object({{"name", pattern(kToolNamePattern)}})}});
}

Json tool_choice() {
  const Json allowed = object({{"mode", words({"auto", "required"})},
                               {"tools", array(function_reference(), 1, kMaxTools)}});
  return either({words({"none", "auto", "required"}), function_reference(),
                 object({{"type", constant("allowed_tools")}, {"allowed_tools", allowed}})});
}

Json tool() {
  return request({{"type", constant("function")},
                  {"function", request({{"name", pattern(kToolNamePattern)},
                                        optional("description", text()),
                                        optional("parameters", map(any())),
                                        optional("strict", boolean())})}});
}

Json response_format() {
  const Json json_schema = request({{"name", pattern(kNamePattern)},
                                    optional("description", text()),
                                    optional("schema", either({map(any()), boolean()})),
                                    optional("strict", boolean())});
  return either({request({{"type", words({"text", "json_object"})}}),
                 request({{"type", constant("json_schema")}, {"json_schema", json_schema}})});
}

Json structured_outputs() {
  return request({optional("regex", text()), optional("choice", array(text(), 1, 100'000)),
                  optional("grammar", text()), optional("syntax", words({"lark", "gbnf"})),
                  optional("json_schema", either({map(any()), boolean()})),
                  optional("whitespace", words({"compact", "flexible"})),
                  optional("property_order", words({"schema", "any"})),
                  optional("escapes", words({"json", "minimal"})),
                  optional("integers", words({"strict", "spec"})),
                  optional("formats", words({"assert", "annotate", "strict"})),
                  optional("complete_within_max_tokens", boolean())});
}

Json metadata() {
  Json schema = map(text(0, 512));
  schema["maxProperties"] = 16;
  return schema;
}

// What both kinds of generation take.
Members generation_members() {
  const Json mixed =
      request({{"model", text()}, optional("weight", number(-kMaxMixWeight, kMaxMixWeight))});
  return {{"model", text()},
          optional("adapters", array(mixed, 1, kMaxMixTerms)),
          optional("temperature", number(0.0, 2.0)),
          optional("top_p", number(0.0, 1.0)),
          optional("min_p", number(0.0, 1.0)),
          optional("top_k", integer(-1, kMaxInt)),
          optional("stop_token_ids", array(integer(0, kMaxInt), 0, kMaxStopTokenIds)),
          optional("ignore_eos", boolean()),
          optional("frequency_penalty", number(-2.0, 2.0)),
          optional("presence_penalty", number(-2.0, 2.0)),
          optional("repetition_penalty", number(kMinRepetitionPenalty, kMaxRepetitionPenalty)),
          optional("min_tokens", integer(0, kMaxInt)),
          optional("logit_bias", map(number(-kMaxLogitBias, kMaxLogitBias))),
          optional("seed", integer(INT64_MIN, INT64_MAX)),
          optional("stop", either({text(1, kMaxStopChars),
                                   array(text(1, kMaxStopChars), 1, kMaxStopStrings)})),
          optional("stream", boolean()),
          optional("stream_options", request({optional("include_usage", boolean()),
                                              optional("include_obfuscation", boolean())})),
          optional("response_format", response_format()),
          optional("structured_outputs", structured_outputs()),
          optional("user", text(0, 512)),
          optional("prompt_cache_key", text(0, 512)),
          optional("n", integer(1, kMaxChoices))};
}

// What makes a conversation a prompt.
Members conversation_members() {
  return {
      {"messages", array(ref("ChatMessageRequest"), 1, kMaxMessages)},
      optional("tools", array(tool(), 0, kMaxTools)),
      optional("tool_choice", tool_choice()),
      optional("parallel_tool_calls", boolean()),
      optional("reasoning_effort", words({"none", "minimal", "low", "medium", "high", "xhigh"})),
      optional("chat_template_kwargs", map(any())),
      optional("continue_final_message", boolean()),
      optional("add_generation_prompt", boolean())};
}

Json tiers() {
  return words({"auto", "default", "flex", "priority", "fast"});
}

Json chat_request() {
  return request(
      joined(joined(generation_members(), conversation_members()),
             {optional("max_completion_tokens", integer(1, kMaxInt)),
              optional("max_tokens", integer(1, kMaxInt)), optional("logprobs", boolean()),
              optional("top_logprobs", integer(0, kMaxChatTopLogprobs)),
              optional("safety_identifier", text(0, 64)), optional("metadata", metadata()),
              optional("store", boolean()), optional("service_tier", tiers()),
              optional("functions", array(any(), 0, 0)),
              optional("function_call", neutral({"none", "auto"})),
              optional("modalities", array(constant("text"), 1, 1)),
              optional("verbosity", neutral({"medium"}))}));
}

Json message_request() {
  const Json call =
      request({{"id", text(1, kMaxToolCallIdChars)},
               {"type", constant("function")},
               {"function", request({{"name", pattern(kToolNamePattern)}, {"arguments", text()}})},
               optional("index", integer())});
  const Json part = either({request({{"type", constant("text")}, {"text", text()}}),
                            request({{"type", constant("refusal")}, {"refusal", text()}})});
  return request({{"role", words({"developer", "system", "user", "assistant", "tool"})},
                  optional("content", either({text(), array(part)})),
                  optional("name", text(0, 64)),
                  optional("tool_calls", array(call, 0, kMaxToolCalls)),
                  optional("tool_call_id", text(0, kMaxToolCallIdChars)),
                  optional("reasoning_content", text()),
                  optional("reasoning", text()),
                  optional("annotations", array(any(), 0, 0))});
}

Json completion_request() {
  const Json ids = array(integer(0, kMaxInt));
  return request(
      joined(generation_members(), {{"prompt", either({text(), array(text()), ids, array(ids)})},
                                    optional("max_tokens", integer(0, kMaxInt)),
                                    optional("logprobs", integer(0, kMaxCompletionLogprobs)),
                                    optional("best_of", integer(0, kMaxBestOf)),
                                    optional("echo", boolean()),
                                    optional("suffix", text(0, 0))}));
}

Json usage() {
  return object({{"prompt_tokens", integer()},
                 {"completion_tokens", integer()},
                 {"total_tokens", integer()},
                 {"prompt_tokens_details", object({{"cached_tokens", integer()}})},
                 {"completion_tokens_details", object({{"reasoning_tokens", integer()}})}});
}

Json chat_logprobs() {
  const Members token = {
      {"token", text()}, {"logprob", number()}, {"bytes", array(integer(0, 255))}};
  const Json entry = object(joined(token, {{"top_logprobs", array(object(token))}}));
  Json none;
  none["type"] = "null";
  return nullable(object({{"content", array(entry)}, {"refusal", none}}));
}

Json finish_reason() {
  return words({"stop", "length", "tool_calls"});
}

// The members that every answer and chunk of a generation begins with.
Members envelope(std::string_view object_word, bool has_tier) {
  Members members = {{"id", text()},
                     {"object", constant(object_word)},
                     {"created", unix_time()},
                     {"model", text()}};
  if (has_tier) members.push_back({"service_tier", words({"default", "flex", "priority"})});
  members.push_back({"system_fingerprint", text()});
  return members;
}

Json chat_answer() {
  const Json call = object({{"id", text()},
                            {"type", constant("function")},
                            {"function", object({{"name", text()}, {"arguments", text()}})}});
  Json none;
  none["type"] = "null";
  const Json message = object({{"role", constant("assistant")},
                               {"content", nullable(text())},
                               {"refusal", none},
                               optional("reasoning_content", text()),
                               optional("tool_calls", array(call))});
  const Json choice = object({{"index", integer()},
                              {"message", message},
                              {"logprobs", chat_logprobs()},
                              {"finish_reason", finish_reason()}});
  return object(joined(envelope("chat.completion", true),
                       {{"choices", array(choice)}, {"usage", ref("Usage")}}));
}

// The error that ends a stream which broke.
Json stream_error() {
  return object({{"error", object({{"message", text()},
                                   {"type", text()},
                                   {"param", nullable(text())},
                                   {"code", text()},
                                   {"request_id", text()}})}});
}

Json chat_chunk() {
  const Json call =
      object({{"index", integer()},
              optional("id", text()),
              optional("type", constant("function")),
              {"function", object({optional("name", text()), {"arguments", text()}})}});
  const Json delta =
      object({optional("role", constant("assistant")), optional("content", text()),
              optional("reasoning_content", text()), optional("tool_calls", array(call))});
  const Json choice = object({{"index", integer()},
                              {"delta", delta},
                              {"logprobs", chat_logprobs()},
                              {"finish_reason", nullable(finish_reason())}});
  return either(
      {object(joined(envelope("chat.completion.chunk", true),
                     {{"choices", array(choice)}, optional("usage", nullable(ref("Usage")))})),
       ref("StreamError")});
}

Json completion_choice(Json finish) {
  const Json logprobs = object({{"tokens", array(text())},
                                {"token_logprobs", array(nullable(number()))},
                                {"top_logprobs", array(nullable(map(number())))},
                                {"text_offset", array(integer())}});
  return object({{"text", text()},
                 {"index", integer()},
                 {"logprobs", nullable(logprobs)},
                 {"finish_reason", std::move(finish)}});
}

Json completion_answer() {
  return object(
      joined(envelope("text_completion", false),
             {{"choices", array(completion_choice(finish_reason()))}, {"usage", ref("Usage")}}));
}

Json completion_chunk() {
  return either({object(joined(envelope("text_completion", false),
                               {{"choices", array(completion_choice(nullable(finish_reason())))},
                                optional("usage", nullable(ref("Usage")))})),
                 ref("StreamError")});
}

Json model() {
  const Json split = object({{"split", array(ref("AliasShare"))}, {"sticky", ref("Stickiness")}});
  const Json version =
      object({{"version", integer()}, {"sha256", text()}, {"rank", integer()}, {"status", text()}});
  return object({{"id", text()},
                 {"object", constant("model")},
                 {"created", unix_time()},
                 {"owned_by", text()},
                 {"parent", nullable(text())},
                 {"root", nullable(text())},
                 {"max_model_len", integer()},
                 {"context_length", integer()},
                 {"architecture", nullable(text())},
                 {"quantization", nullable(text())},
                 {"base_sha256", text()},
                 {"tokenizer_sha256", text()},
                 {"vocab_size", integer()},
                 {"tool_format", text()},
                 {"reasoning", boolean()},
                 optional("adapter", either({version, split}))});
}

Json tokenize_request() {
  const Members options = {{"model", text()},
                           optional("add_special_tokens", boolean()),
                           optional("return_token_strs", boolean())};
  return either({request(joined(options, {{"prompt", text()}})),
                 request(joined(options, conversation_members()))});
}

void add_schemas(Json& schemas) {
  schemas["ChatMessageRequest"] = message_request();
  schemas["ChatCompletionRequest"] = chat_request();
  schemas["ChatCompletion"] = chat_answer();
  schemas["ChatCompletionChunk"] = chat_chunk();
  schemas["CompletionRequest"] = completion_request();
  schemas["Completion"] = completion_answer();
  schemas["CompletionChunk"] = completion_chunk();
  schemas["StreamError"] = stream_error();
  schemas["Usage"] = usage();
  schemas["Model"] = model();
  schemas["ModelList"] = object({{"object", constant("list")}, {"data", array(ref("Model"))}});
  schemas["TokenizeRequest"] = tokenize_request();
  schemas["Tokens"] = object({{"count", integer()},
                              {"max_model_len", integer()},
                              {"tokens", array(integer())},
                              {"token_strs", nullable(array(text()))}});
  schemas["DetokenizeRequest"] =
      request({{"model", text()},
               {"tokens", array(integer(0, kMaxInt), 0, kMaxTokenizeIds)},
               optional("skip_special_tokens", boolean())});
  schemas["Text"] = object({{"prompt", text()}});
}

// An answer that is sent whole, or as a stream of these chunks.
std::vector<Answer> whole_or_stream(std::string_view whole, std::string_view chunk) {
  return {{200, ref(whole)}, {200, text(), "text/event-stream", ref(chunk)}};
}

}  // namespace

void describe_inference(Surface& surface) {
  add_schemas(surface.schemas);
  auto& operations = surface.operations;
  operations.push_back({.method = "POST",
                        .pattern = "/v1/chat/completions",
                        .summary = "Answers a conversation.",
                        .answers = whole_or_stream("ChatCompletion", "ChatCompletionChunk"),
                        .body = ref("ChatCompletionRequest")});
  operations.push_back({.method = "POST",
                        .pattern = "/v1/completions",
                        .summary = "Goes on with a text.",
                        .answers = whole_or_stream("Completion", "CompletionChunk"),
                        .body = ref("CompletionRequest")});
  operations.push_back({.method = "POST",
                        .pattern = "/v1/tokenize",
                        .summary = "The tokens that the model reads of a text.",
                        .answers = {{200, ref("Tokens")}},
                        .body = ref("TokenizeRequest")});
  operations.push_back({.method = "POST",
                        .pattern = "/v1/detokenize",
                        .summary = "The text of tokens.",
                        .answers = {{200, ref("Text")}},
                        .body = ref("DetokenizeRequest")});
  operations.push_back({.method = "GET",
                        .pattern = "/v1/models",
                        .summary = "The base, and the tenant's adapters on it.",
                        .answers = {{200, ref("ModelList")}}});
  operations.push_back({.method = "GET",
                        .pattern = "/v1/models/{model}",
                        .summary = "One model.",
                        .answers = {{200, ref("Model")}}});
  operations.push_back({.method = "DELETE",
                        .pattern = "/v1/models/{name}",
                        .summary = "Deletes an adapter, a version or an alias by its model name.",
                        .answers = {{200, deleted("model")}},
                        .headers = {"If-Match"}});
}

}  // namespace tessera::openapi
