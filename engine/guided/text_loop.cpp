#include "engine/guided/text_loop.hpp"

#include <algorithm>

#include "engine/guided/regex_terms.hpp"

namespace tessera::guided {
namespace {

constexpr std::uint32_t kUnbounded = RegexPool::kUnbounded;

// A term that begins with a repeated set. After k of its characters, strings of every length from
// max(0, min - k) + tail_min on may follow, up to max - k + tail_max.
struct LeadingRun {
  std::uint32_t set = 0;
  std::uint32_t min = 0;
  std::uint32_t max = 0;
  std::uint32_t tail_min = 0;
  bool tail_alive = false;
  bool tail_dense = false;
};

std::optional<LeadingRun> leading_run(RegexPool::Impl& pool, RegexId of) {
  const bool chain = pool[of].kind == RegexKind::kConcat;
  const auto run = pool.as_set_run(chain ? pool[of].a : of);
  if (!run) return std::nullopt;
  if (!chain) return LeadingRun{run->set, run->min, run->max, 0, true, true};
  const RegexNode& tail = pool[pool[of].b];
  return LeadingRun{run->set, run->min, run->max, tail.min_length, tail.positive, tail.dense};
}

// Of two candidates the one that says more: no end before an end, then the larger set.
bool better(const RegexPool::Impl& pool, const CountedLoop& a, const CountedLoop& b) {
  if ((a.remaining == kUnbounded) != (b.remaining == kUnbounded)) return a.remaining == kUnbounded;
  const auto size = [&pool](std::uint32_t set) {
    std::uint64_t sum = 0;
    for (const auto& range : pool.sets[set].ranges()) sum += range.end - range.begin;
    return sum;
  };
  if (a.set != b.set && size(a.set) != size(b.set)) return size(a.set) > size(b.set);
  return a.remaining > b.remaining;
}

// One leading run, lengths, and what is refused: if what may follow the run has every length from
// some on, then there is one that fits the lengths and is longer than all that is refused.
std::optional<CountedLoop> loop_of_both(RegexPool::Impl& pool, const RegexNode& node) {
  std::optional<LeadingRun> run;
  std::uint32_t longest = kUnbounded;
  std::uint32_t shortest = 0;
  std::uint32_t refused = 0;
  bool refuses = false;
  for (std::uint32_t i = 0; i < node.b; ++i) {
    const RegexId part = pool.lists[node.a + i];
    if (pool.is_length(part)) {
      shortest = std::max(shortest, pool[part].min_length);
      longest = std::min(longest, pool[part].max_length);
    } else if (pool[part].kind == RegexKind::kComplement) {
      refused = std::max(refused, pool[pool[part].a].max_length);
      refuses = true;
    } else if (!run) {
      run = leading_run(pool, part);
      if (!run) return std::nullopt;
    } else {
      return std::nullopt;
    }
  }
  if (refuses && refused == kUnbounded) return std::nullopt;
  if (!run) run = LeadingRun{pool[RegexPool::Impl::kAnySet].a, 0, kUnbounded, 0, true, true};
  if (run->max != kUnbounded || !run->tail_dense) return std::nullopt;
  if (longest == kUnbounded) return CountedLoop{run->set, kUnbounded};
  const std::uint64_t needed = std::uint64_t{run->min} + run->tail_min;
  if (needed > longest || (refuses && refused >= longest)) return std::nullopt;
  return CountedLoop{run->set, longest - run->tail_min};
}

// A repetition reads at least one code point each time, so within the horizon it is begun at most
// `horizon` times.
RegexId repeat_up_to(RegexPool::Impl& pool, const RegexNode& node, std::uint32_t horizon) {
  if (pool[node.a].nullable || (node.b <= horizon && node.c <= horizon)) return RegexPool::kNothing;
  return pool.repeat(node.a, std::min(node.b, horizon + 1), node.c > horizon ? kUnbounded : node.c);
}

// One run of a set, and finitely much that is refused: as long as the run may go on, there is a
// string that is longer than all that.
RegexId both_up_to(RegexPool::Impl& pool, RegexId of, std::uint32_t horizon) {
  const RegexNode node = pool[of];
  if (node.b != 2) return of;
  RegexId run = pool.lists[node.a];
  RegexId refused = pool.lists[node.a + 1];
  if (pool[run].kind == RegexKind::kComplement) std::swap(run, refused);
  if (!pool.as_set_run(run) || pool[run].kind != RegexKind::kRepeat) return of;
  if (pool[refused].kind != RegexKind::kComplement) return of;
  const std::uint32_t longest = pool[pool[refused].a].max_length;
  if (longest == kUnbounded || pool[run].c <= longest || pool[run].c <= horizon) return of;
  return pool.both(repeat_up_to(pool, RegexNode(pool[run]), horizon), refused);
}

}  // namespace

RegexId seen_up_to(RegexPool::Impl& pool, RegexId of, std::uint32_t horizon) {
  const RegexNode node = pool[of];
  if (node.max_length <= horizon) return of;
  if (node.kind == RegexKind::kBoth) return both_up_to(pool, of, horizon);
  if (!node.positive) return of;
  switch (node.kind) {
    case RegexKind::kRepeat: {
      const RegexId repeat = repeat_up_to(pool, node, horizon);
      return repeat == RegexPool::kNothing ? of : repeat;
    }
    case RegexKind::kConcat: {
      const RegexId head = seen_up_to(pool, node.a, horizon);
      // What comes behind more than the horizon is not seen; a few links are enough for patterns.
      const RegexNode& tail = pool[node.b];
      const RegexId rest =
          tail.kind == RegexKind::kConcat && pool[tail.b].kind == RegexKind::kConcat
              ? node.b
              : seen_up_to(pool, node.b, horizon);
      return pool.concat(head, rest);
    }
    case RegexKind::kEither: {
      constexpr std::uint32_t kMostLookedAt = 16;
      if (node.b > kMostLookedAt) return of;
      std::vector<RegexId> parts;
      for (std::uint32_t i = 0; i < node.b; ++i) {
        parts.push_back(seen_up_to(pool, pool.lists[node.a + i], horizon));
      }
      return pool.either(std::move(parts));
    }
    default:
      return of;
  }
}

std::optional<CountedLoop> text_loop(RegexPool::Impl& pool, RegexId of) {
  const RegexNode node = pool[of];
  if (node.kind == RegexKind::kBoth) return loop_of_both(pool, node);
  if (node.kind == RegexKind::kComplement) {
    if (pool[node.a].max_length == kUnbounded) return std::nullopt;
    return CountedLoop{pool[RegexPool::Impl::kAnySet].a, kUnbounded};
  }
  if (node.kind == RegexKind::kEither) {
    std::optional<CountedLoop> best;
    constexpr std::uint32_t kMostLookedAt = 16;
    for (std::uint32_t i = 0; i < std::min(node.b, kMostLookedAt); ++i) {
      auto loop = text_loop(pool, pool.lists[node.a + i]);
      if (loop && (!best || better(pool, *loop, *best))) best = loop;
    }
    return best;
  }
  const auto run = leading_run(pool, of);
  if (!run || !run->tail_alive) return std::nullopt;
  return CountedLoop{run->set, run->max};
}

}  // namespace tessera::guided
