// text_loop.hpp — what can be repeated at the beginning of a language, and how often.
#pragma once

#include <cstdint>
#include <optional>

#include "engine/guided/regex_pool.hpp"

namespace tessera::guided {

struct CountedLoop {
  std::uint32_t set = 0;        // of the pool's sets
  std::uint32_t remaining = 0;  // RegexPool::kUnbounded: no end
};

// After any string of at most `remaining` code points of `set`, the language of what may follow is
// not empty. Reads it off the term, for terms of some simple forms; nullopt for others.
std::optional<CountedLoop> text_loop(RegexPool::Impl& pool, RegexId of);

// A language of which no text of at most `horizon` code points can tell whether it is this one:
// beginnings are as alive and texts are as complete. Counts that lie beyond the horizon are taken
// for endless, where that is sound by the term's form.
RegexId seen_up_to(RegexPool::Impl& pool, RegexId of, std::uint32_t horizon);

}  // namespace tessera::guided
