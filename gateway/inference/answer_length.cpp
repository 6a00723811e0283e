#include "gateway/inference/answer_length.hpp"

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>

namespace tessera {
namespace {

Error context_exceeded(int max_context, std::size_t prompt_tokens, std::optional<int> max_tokens) {
  std::string message = "This model's maximum context length is " + std::to_string(max_context) +
                        " tokens, but the prompt has " + std::to_string(prompt_tokens) + " tokens";
  if (max_tokens) message += " and " + std::to_string(*max_tokens) + " more were asked for";
  message += ". Shorten the prompt" + std::string(max_tokens ? " or ask for fewer tokens." : ".");
  return {Code::kContextLengthExceeded, std::move(message)};
}

}  // namespace

Result<int> answer_tokens(const TenantLimits& limits, const ContextRoom& room,
                          std::size_t prompt_tokens, std::optional<int> asked_for) {
  const auto prompt = static_cast<std::int64_t>(prompt_tokens);
  const std::int64_t left = room.max_context - prompt;
  if (left < asked_for.value_or(1)) {
    return context_exceeded(room.max_context, prompt_tokens, asked_for);
  }
  std::int64_t tokens = std::min(left, limits.max_output_tokens);
  if (asked_for) return static_cast<int>(std::min<std::int64_t>(tokens, *asked_for));
  if (prompt < room.short_positions) tokens = std::min(tokens, room.short_positions - prompt);
  tokens = std::min(tokens, limits.token_burst() - prompt);
  return static_cast<int>(std::max<std::int64_t>(tokens, 1));
}

}  // namespace tessera
