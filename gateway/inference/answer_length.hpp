// answer_length.hpp — how many tokens a prompt may be answered with.
#pragma once

#include <cstddef>
#include <optional>

#include "storage/result.hpp"
#include "tenancy/limits.hpp"

namespace tessera {

// What the base has room for, prompt and answer together.
struct ContextRoom {
  int max_context = 0;
  // ModelSpec::short_positions(): a sequence that may grow beyond it turns by LongRoPE's other
  // frequencies from its first token. An answer of no stated length does not choose that for a
  // prompt which fits. 0: the base has no such bound.
  int short_positions = 0;
};

// What the client asked for; or, where that is not said, what context, tenant and token bucket have
// room for, and at least 1. Errors: kContextLengthExceeded.
Result<int> answer_tokens(const TenantLimits& limits, const ContextRoom& room,
                          std::size_t prompt_tokens, std::optional<int> asked_for);

}  // namespace tessera
