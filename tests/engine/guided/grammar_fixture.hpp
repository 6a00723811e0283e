// grammar_fixture.hpp — a recognizer with all it stands on, for tests of grammars and tags.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include <gtest/gtest.h>

#include "engine/guided/ecma_regex.hpp"
#include "engine/guided/fuel.hpp"
#include "engine/guided/grammar_recognizer.hpp"
#include "engine/guided/recognizer.hpp"
#include "engine/guided/regex_pool.hpp"

namespace tessera::guided {

// Reads `text` from `position`; dead as soon as a byte is refused.
inline Position read(Recognizer& recognizer, std::string_view text, Position position) {
  for (const char byte : text) {
    if (position.dead()) return position;
    position = recognizer.step(position, static_cast<std::uint8_t>(byte));
  }
  return position;
}

inline Position read(Recognizer& recognizer, std::string_view text) {
  return read(recognizer, text, recognizer.start());
}

inline bool live(Recognizer& recognizer, std::string_view text) {
  return !read(recognizer, text).dead();
}

inline bool accepts(Recognizer& recognizer, std::string_view text) {
  const Position end = read(recognizer, text);
  return !end.dead() && recognizer.accepting(end);
}

struct GrammarFixture {
  explicit GrammarFixture(GuidedLimits of = {}) : limits(of), fuel(of.compile_fuel) {}

  // nullptr, and the findings are kept, if the grammar is refused.
  Recognizer* lark(std::string_view text, const SchemaRecognizerMaker& make_schema = {}) {
    return keep(make_lark_recognizer(text, pool, fuel, limits, make_schema));
  }
  Recognizer* gbnf(std::string_view text) {
    return keep(make_gbnf_recognizer(text, pool, fuel, limits));
  }
  // "line:column keyword" of each finding, in lines.
  std::string places() const {
    std::string all;
    for (const GuidedFinding& finding : findings) {
      EXPECT_FALSE(finding.reason.empty());
      all += finding.pointer + ' ' + finding.keyword + '\n';
    }
    return all;
  }

  GuidedLimits limits;
  Fuel fuel;
  RegexPool pool{fuel, limits};
  std::unique_ptr<Recognizer> recognizer;
  GuidedFindings findings;

 private:
  Recognizer* keep(RecognizerOrFindings made) {
    fuel.refill(limits.mask_fuel);
    if (auto* wrong = std::get_if<GuidedFindings>(&made)) {
      findings = std::move(*wrong);
      return nullptr;
    }
    recognizer = std::get<std::unique_ptr<Recognizer>>(std::move(made));
    return recognizer.get();
  }
};

}  // namespace tessera::guided
