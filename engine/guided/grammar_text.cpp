#include "engine/guided/grammar_text.hpp"

#include <algorithm>
#include <vector>

#include "engine/text/code_point_set.hpp"
#include "engine/text/utf8.hpp"

namespace tessera::guided {

bool readable_grammar(std::string_view text, const GuidedLimits& limits,
                      GrammarFindings& findings) {
  if (text.size() > limits.max_source_bytes) {
    findings.add(
        0, "", "The grammar has more than " + std::to_string(limits.max_source_bytes) + " bytes.");
  } else if (!is_utf8(text)) {
    findings.add(0, "", "The grammar is not valid UTF-8.");
  }
  return findings.empty();
}

std::optional<std::uint32_t> GrammarCursor::take_number() {
  constexpr std::uint64_t kMost = RegexPool::kUnbounded - 1;
  if (!is_ascii_digit(peek())) return std::nullopt;
  std::uint64_t number = 0;
  for (; is_ascii_digit(peek()); skip())
    number = std::min(number * 10 + static_cast<std::uint64_t>(peek() - '0'), kMost);
  return static_cast<std::uint32_t>(number);
}

char32_t GrammarCursor::take_code_point() {
  const Utf8Step step = utf8_step(rest());
  skip(step.bytes);
  return step.code_point;
}

std::optional<char32_t> GrammarCursor::take_hex(int digits) {
  char32_t value = 0;
  for (int i = 0; i < digits; ++i) {
    const char c = peek(static_cast<std::size_t>(i));
    const char lower = static_cast<char>(c | 0x20);
    if (!is_ascii_digit(c) && (lower < 'a' || lower > 'f')) return std::nullopt;
    value = value * 16 + static_cast<char32_t>(is_ascii_digit(c) ? c - '0' : lower - 'a' + 10);
  }
  if (value >= kCodePointEnd || (value >= 0xD800 && value < 0xE000)) return std::nullopt;
  skip(static_cast<std::size_t>(digits));
  return value;
}

RegexId literal_ignoring_case(std::string_view utf8, RegexPool& pool) {
  std::vector<RegexId> parts;
  for (std::size_t at = 0; at < utf8.size();) {
    const Utf8Step step = utf8_step(utf8.substr(at));
    CodePointSet set(step.code_point);
    const char32_t lower = step.code_point | 0x20U;
    if (lower >= 'a' && lower <= 'z')
      set.add(step.code_point ^ 0x20U, (step.code_point ^ 0x20U) + 1);
    parts.push_back(pool.set(set));
    at += step.bytes;
  }
  return pool.concat(parts);
}

}  // namespace tessera::guided
