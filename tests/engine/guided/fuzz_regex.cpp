// fuzz_regex.cpp — any pattern is read or refused, within its fuel; what is read has no dead ends.
#include <algorithm>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "engine/guided/ecma_regex.hpp"
#include "engine/guided/text_dfa.hpp"
#include "engine/text/utf8.hpp"

namespace {

using namespace tessera::guided;

constexpr std::uint64_t kFuel = 2'000;
// Longer inputs are cut: what they could show, shorter ones show sooner.
constexpr std::size_t kMaxBytes = 120;

// Walking takes fifty times as long as reading a pattern: one input in so many is walked.
constexpr std::uint64_t kWalked = 16;

bool is_walked(std::string_view input) {
  std::uint64_t hash = 0;
  for (const char byte : input) hash = hash * 31 + static_cast<unsigned char>(byte);
  return hash % kWalked == 0;
}

// Reads `text` as far as it goes; at every state on the way the promises of TextDfa must hold.
void walk(TextDfa& dfa, TextDfa::State state, std::string_view text, Fuel& fuel) {
  for (std::size_t steps = 0; state != TextDfa::kDead && steps < 64; ++steps) {
    fuel.refill(kFuel);
    const char32_t forced = dfa.forced(state);
    if (forced != 0 && dfa.step(state, forced) == TextDfa::kDead) std::abort();
    const TextLoop loop = dfa.loop(state);
    if (loop.set != 0) {
      const char32_t member = dfa.loop_set(loop.set).ranges().front().begin;
      TextDfa::State at = state;
      for (std::uint32_t i = 0; i < 3 && i < loop.remaining; ++i) {
        at = dfa.step(at, member);
        if (at == TextDfa::kDead) std::abort();
      }
    }
    const TextDfa::State seen = dfa.seen_up_to(state, 16);
    if (dfa.accepts(seen) != dfa.accepts(state)) std::abort();
    if (steps % 8 == 0) {
      const std::string rest = dfa.shortest_rest(state);
      TextDfa::State at = state;
      for (std::string_view left = rest; !left.empty();) {
        const tessera::Utf8Step step = tessera::utf8_step(left);
        at = dfa.step(at, step.code_point);
        left.remove_prefix(step.bytes);
      }
      if (!dfa.accepts(at)) std::abort();
    }
    if (text.empty()) return;
    const tessera::Utf8Step step = tessera::utf8_step(text);
    text.remove_prefix(step.bytes);
    const bool seen_alive = dfa.step(seen, step.code_point) != TextDfa::kDead;
    state = dfa.step(state, step.code_point);
    if (seen_alive != (state != TextDfa::kDead)) std::abort();
  }
}

}  // namespace

// Lines: the first byte of each says how its pattern goes into the language; the last one is a
// text.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view input(reinterpret_cast<const char*>(data), std::min(size, kMaxBytes));
  const bool walked = is_walked(input);
  GuidedLimits limits;
  limits.max_constraint_bytes = std::size_t{8} << 20;
  Fuel fuel(kFuel);
  try {
    RegexPool pool(fuel, limits);
    RegexId language = RegexPool::kAnything;
    for (std::size_t end = input.find('\n'); end != std::string_view::npos && end > 0;
         end = input.find('\n')) {
      const auto how = static_cast<unsigned char>(input[0]);
      const std::string_view pattern = input.substr(1, end - 1);
      const auto parsed = how % 2 == 0 ? parse_ecma_search(pattern, pool, limits)
                                       : parse_ecma_whole(pattern, pool, limits);
      if (parsed) {
        const RegexId parts[] = {language, how % 4 < 2 ? *parsed : pool.complement(*parsed)};
        language = how % 8 < 6 ? pool.both(parts) : pool.either(parts);
      }
      input.remove_prefix(end + 1);
    }
    if (!walked) return 0;
    const RegexId bounded[] = {language, pool.length_between(0, 200)};
    TextDfa dfa(pool);
    walk(dfa, dfa.start(language), input, fuel);
    fuel.refill(kFuel);
    walk(dfa, dfa.start(pool.both(bounded)), input, fuel);
    fuel.refill(kFuel);
    pool.count(language, 1000);
  } catch (const FuelExhausted&) {
  }
  return 0;
}
