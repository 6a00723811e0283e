#include <string>
#include <utility>

#include "gateway/api/fields.hpp"
#include "gateway/config.hpp"
#include "gateway/inference/openai_types.hpp"
#include "gateway/inference/prompt_fields.hpp"

namespace tessera {
namespace {

using Json = Fields::Json;

// At least as many as are told; 0, which OpenAI's range begins with, is no choice among more. A
// stream cannot take back what it has told.
void read_best_of(Fields& fields, InferenceOptions& options) {
  std::optional<std::int64_t> best_of;
  fields.integer("best_of", {0, kMaxBestOf}, best_of);
  if (best_of.value_or(0) == 0) return;
  if (*best_of < options.num_choices) {
    return fields.fail(Code::kInvalidValue, "best_of", "'best_of' must be at least 'n'.");
  }
  options.best_of = static_cast<int>(*best_of);
  if (options.stream && options.best_of > options.num_choices) {
    fields.fail(Code::kInvalidValue, "best_of",
                "'best_of' cannot be more than 'n' where 'stream' is true.");
  }
}

}  // namespace

Result<CompletionRequest> parse_completion_request(const Json& body, std::string_view text) {
  CompletionRequest request;
  std::optional<std::int64_t> logprobs;
  Fields fields(body);
  read_options(fields, text, request.options);
  read_max_tokens(fields, "max_tokens", 0, request.options.max_tokens);
  fields.integer("logprobs", {0, kMaxCompletionLogprobs}, logprobs);
  read_best_of(fields, request.options);
  fields.boolean("echo", request.options.echo);
  fields.unsupported("suffix", {""});
  const Json* prompt = fields.required_any("prompt");
  if (auto read = fields.finish(); !read) return read.error();

  request.options.sampling.num_logprobs = static_cast<int>(logprobs.value_or(-1));
  if (!request.options.max_tokens) request.options.max_tokens = kDefaultCompletionTokens;
  auto prompts = read_prompts(*prompt, "prompt", kMaxPrompts);
  if (!prompts) return prompts.error();
  request.prompts = *std::move(prompts);
  return request;
}

}  // namespace tessera
