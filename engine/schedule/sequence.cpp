#include "engine/schedule/sequence.hpp"

#include <cassert>
#include <utility>

namespace tessera {

Sequence::Sequence(std::uint64_t sequence_id, std::vector<TokenId> prompt, int max_tokens,
                   PromptOutput output)
    : id(sequence_id),
      tokens(std::move(prompt)),
      num_prompt_tokens(static_cast<int>(tokens.size())),
      max_total_tokens(num_prompt_tokens + max_tokens),
      prompt_output(output) {
  assert(num_prompt_tokens >= 1);
  assert(max_tokens >= (output == PromptOutput::kNone ? 1 : 0));
  tokens.reserve(static_cast<std::size_t>(max_total_tokens));
  if (output == PromptOutput::kNone) return;
  // A row's logits are of the token that follows it.
  unread_end = num_prompt_tokens - (output == PromptOutput::kLogprobs ? 1 : 0);
  unread_begin = output == PromptOutput::kLastState ? num_prompt_tokens - 1 : 0;
}

std::span<const TokenId> Sequence::matchable() const {
  const std::span<const TokenId> all = tokens;
  return is_unread() ? all.first(static_cast<std::size_t>(unread_begin) + 1) : all;
}

int Sequence::unread_in(int num_rows) const {
  const int begin = std::max(num_computed, unread_begin);
  const int end = std::min(num_computed + num_rows, unread_end);
  return std::max(end - begin, 0);
}

int Sequence::rows_within(int max_outputs) const {
  const int first = std::max(num_computed, unread_begin);
  if (first + max_outputs >= unread_end) return num_left();
  return first + max_outputs - num_computed;
}

AdapterUses Sequence::adapter_uses() const {
  AdapterUses uses;
  if (mix.empty()) uses.push_back({.adapter = adapter, .bytes = adapter_bytes});
  for (const SequenceAdapter& term : mix) uses.push_back({term.digest, term.bytes});
  return uses;
}

}  // namespace tessera
