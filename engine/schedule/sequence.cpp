#include "engine/schedule/sequence.hpp"

#include <cassert>
#include <utility>

namespace tessera {

Sequence::Sequence(std::uint64_t sequence_id, std::vector<TokenId> prompt, int max_tokens)
    : id(sequence_id),
      tokens(std::move(prompt)),
      num_prompt_tokens(static_cast<int>(tokens.size())),
      max_total_tokens(num_prompt_tokens + max_tokens) {
  assert(num_prompt_tokens >= 1);
  assert(max_tokens >= 1);
  tokens.reserve(static_cast<std::size_t>(max_total_tokens));
}

AdapterUses Sequence::adapter_uses() const {
  AdapterUses uses;
  if (mix.empty()) uses.push_back({.adapter = adapter, .bytes = adapter_bytes});
  for (const SequenceAdapter& term : mix) uses.push_back({term.digest, term.bytes});
  return uses;
}

}  // namespace tessera
