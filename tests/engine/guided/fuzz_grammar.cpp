// fuzz_grammar.cpp — whatever a grammar says, it is refused or read; what is live can be ended.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <variant>

#include "engine/guided/fuel.hpp"
#include "engine/guided/grammar_recognizer.hpp"
#include "engine/guided/recognizer.hpp"
#include "engine/guided/regex_pool.hpp"

namespace {

using namespace tessera::guided;  // NOLINT: a fuzz target is a program of its own

// Longer inputs are cut: what they could show, shorter ones show sooner.
constexpr std::size_t kMaxBytes = 200;
constexpr std::uint64_t kFuel = 10'000;

// Feeds `text`, leaving out what is refused, then ends it the shortest way.
void walk(Recognizer& recognizer, std::string_view text, Fuel& fuel) {
  Position position = recognizer.start();
  if (position.dead()) return;
  for (const char c : text) {
    const Position next = recognizer.step(position, static_cast<std::uint8_t>(c));
    if (const auto forced = recognizer.forced(position);
        forced && next.dead() != (*forced != static_cast<std::uint8_t>(c))) {
      std::abort();
    }
    if (!next.dead()) position = next;
  }
  fuel.refill(kFuel);
  for (const char c : recognizer.shortest_rest(position)) {
    position = recognizer.step(position, static_cast<std::uint8_t>(c));
    if (position.dead()) std::abort();
  }
  if (!recognizer.accepting(position)) std::abort();
}

}  // namespace

// The first byte chooses the syntax; behind a zero byte comes the text that is read.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 1) return 0;
  const std::string_view all(reinterpret_cast<const char*>(data) + 1,
                             std::min(size - 1, kMaxBytes));
  const std::size_t split = all.find('\0');
  const std::string_view grammar = all.substr(0, split);
  const std::string_view text = split == all.npos ? grammar : all.substr(split + 1);
  GuidedLimits limits;
  limits.max_source_bytes = 4096;
  limits.max_grammar_rules = 300;
  limits.max_earley_items = 500;
  limits.max_repeat = 1000;
  Fuel fuel(kFuel);
  RegexPool pool(fuel, limits);
  try {
    const SchemaRecognizerMaker make_schema = [&](std::string_view) {
      return make_gbnf_recognizer("root ::= \"{\" root* \"}\"", pool, fuel, limits);
    };
    auto made = (data[0] & 1U) != 0 ? make_lark_recognizer(grammar, pool, fuel, limits, make_schema)
                                    : make_gbnf_recognizer(grammar, pool, fuel, limits);
    if (auto* findings = std::get_if<GuidedFindings>(&made)) {
      if (findings->empty()) std::abort();
      return 0;
    }
    fuel.refill(kFuel);
    walk(*std::get<std::unique_ptr<Recognizer>>(made), text, fuel);
  } catch (const FuelExhausted&) {
    return 0;
  }
  return 0;
}
