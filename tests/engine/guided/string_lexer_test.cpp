#include "engine/guided/string_lexer.hpp"

#include <array>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "engine/text/utf8.hpp"
#include "tests/engine/guided/automaton_check.hpp"

namespace tessera::guided {
namespace {

struct Fixture : TestPool {
  TextDfa dfa{pool};

  StringState start(RegexId language) { return {dfa.start(language), 0}; }
};

StringState read(StringLexer& lexer, StringState state, std::string_view bytes) {
  for (const char byte : bytes) state = lexer.step(state, static_cast<std::uint8_t>(byte));
  return state;
}

std::optional<unsigned> hex(std::string_view digits) {
  unsigned value = 0;
  for (const char c : digits) {
    const auto at = std::string_view("0123456789abcdefABCDEF").find(c);
    if (at == std::string_view::npos) return {};
    value = value * 16 + static_cast<unsigned>(at < 16 ? at : at - 6);
  }
  return digits.size() == 4 ? std::optional(value) : std::nullopt;
}

// What stands between a JSON string's quotes, decoded in the plainest way; nullopt if it is
// refused.
std::optional<std::string> decode(std::string_view body) {
  std::string text;
  for (std::size_t i = 0; i < body.size();) {
    if (body[i] == '"' || static_cast<unsigned char>(body[i]) < 0x20) return {};
    if (body[i] != '\\') {
      text += body[i++];
      continue;
    }
    if (++i == body.size()) return {};
    const auto named = std::string_view("\"\\/bfnrt").find(body[i]);
    if (named != std::string_view::npos) {
      text += "\"\\/\b\f\n\r\t"[named];
      ++i;
      continue;
    }
    const auto unit = body[i] == 'u' ? hex(body.substr(i + 1, 4)) : std::nullopt;
    if (!unit || (*unit >= 0xDC00 && *unit < 0xE000)) return {};
    i += 5;
    if (*unit < 0xD800 || *unit >= 0xE000) {
      append_utf8(text, *unit);
      continue;
    }
    const auto low = body.substr(i, 2) == "\\u" ? hex(body.substr(i + 2, 4)) : std::nullopt;
    if (!low || *low < 0xDC00 || *low >= 0xE000) return {};
    append_utf8(text, 0x10000 + ((*unit - 0xD800) << 10) + (*low - 0xDC00));
    i += 6;
  }
  return is_utf8(text) ? std::optional(text) : std::nullopt;
}

std::string unit_escape(unsigned unit, bool upper) {
  // (A view, because g++ 12's UBSan misreads an index into a choice of two literals.)
  const std::string_view digits = upper ? "0123456789ABCDEF" : "0123456789abcdef";
  std::string text = "\\u";
  for (int shift = 12; shift >= 0; shift -= 4) text += digits[unit >> shift & 0xF];
  return text;
}

// Every spelling of a code point, but for hexadecimal digits of both cases in one.
std::vector<std::string> spellings(char32_t c) {
  std::vector<std::string> all;
  std::string raw;
  append_utf8(raw, c);
  if (c >= 0x20 && c != '"' && c != '\\') all.push_back(raw);
  const auto named = std::u32string_view(U"\"\\/\b\f\n\r\t").find(c);
  if (named != std::u32string_view::npos) all.push_back({'\\', "\"\\/bfnrt"[named]});
  for (const bool upper : {false, true}) {
    if (c < 0x10000) {
      all.push_back(unit_escape(c, upper));
    } else {
      all.push_back(unit_escape(0xD800 + ((c - 0x10000) >> 10), upper) +
                    unit_escape(0xDC00 + ((c - 0x10000) & 0x3FF), upper));
    }
  }
  return all;
}

constexpr std::array<char32_t, 22> kCodePoints{
    0,     0x1F,   ' ',    '"',    '/',    'A',  '\\',    0x7F,    0x80,     0x7FF,   0x800,
    0x3A9, 0xD7FF, 0xE000, 0xFFFD, 0xFFFF, '\n', 0x10000, 0x1F600, 0x10FFFF, 0x103FF, 0x10400};

TEST(StringLexer, ReadsEverySpellingOfEveryCharacter) {
  Fixture test;
  StringLexer lexer(test.dfa, Escapes::kJson);
  for (const char32_t c : kCodePoints) {
    std::string raw;
    append_utf8(raw, c);
    const auto only = test.start(test.pool.literal(raw));
    const auto other = test.start(test.pool.set(CodePointSet(c).complement()));
    for (const auto& spelling : spellings(c)) {
      EXPECT_TRUE(lexer.may_close(read(lexer, only, spelling))) << spelling;
      EXPECT_TRUE(read(lexer, other, spelling).dead()) << spelling;
    }
  }
}

// A byte is live just when a spelling of a string of the language begins so.
TEST(StringLexer, LivePrefixesAreThePrefixesOfSpellings) {
  Fixture test;
  StringLexer lexer(test.dfa, Escapes::kJson);
  for (const char32_t c : kCodePoints) {
    std::string raw;
    append_utf8(raw, c);
    std::set<std::string> prefixes;
    for (const auto& spelling : spellings(c)) {
      for (std::size_t n = 0; n <= spelling.size(); ++n) prefixes.insert(spelling.substr(0, n));
    }
    const auto start = test.start(test.pool.literal(raw));
    for (const auto& prefix : prefixes) {
      const auto state = read(lexer, start, prefix);
      ASSERT_FALSE(state.dead()) << prefix;
      for (int byte = 0; byte < 256; ++byte) {
        if (byte == '"' && state.pending == 0) continue;
        std::string next = prefix + static_cast<char>(byte);
        // Digits of the other case lead to the same.
        std::string lower = next;
        std::string upper = next;
        for (std::size_t i = 2; i < next.size() && next.starts_with("\\u"); ++i) {
          if (i == 7) continue;  // a second u
          lower[i] = static_cast<char>(std::tolower(next[i]));
          upper[i] = static_cast<char>(std::toupper(next[i]));
        }
        const bool begins = prefixes.contains(lower) || prefixes.contains(upper);
        EXPECT_EQ(!lexer.step(state, static_cast<std::uint8_t>(byte)).dead(), begins) << next;
      }
    }
  }
}

TEST(StringLexer, AgreesWithAPlainDecoder) {
  Fixture test;
  StringLexer lexer(test.dfa, Escapes::kJson);
  const auto start = test.start(RegexPool::kAnything);
  std::mt19937 random(11);
  SCOPED_TRACE("seed 11");
  const std::vector<std::string> pieces{"a",
                                        "\\",
                                        "u",
                                        "\"",
                                        "/",
                                        "n",
                                        "D8",
                                        "dC",
                                        "00",
                                        "3f",
                                        "FFFF",
                                        "\\u",
                                        "\\ud83d",
                                        "\\uDE00",
                                        "\n",
                                        "\x7F",
                                        "\xC2",
                                        "\x80",
                                        "\xBF",
                                        "\xC0",
                                        "\xC1",
                                        "\xE0",
                                        "\xA0",
                                        "\xED",
                                        "\x9F",
                                        "\xEF",
                                        "\xF0",
                                        "\x90",
                                        "\x8F",
                                        "\xF4",
                                        "\xF5",
                                        "\xFF",
                                        "\xE2\x82\xAC",
                                        "\xF0\x9F\x98\x80"};
  int accepted = 0;
  for (int i = 0; i < 200'000; ++i) {
    std::string body;
    for (auto n = random() % 6; n-- > 0;) body += pieces[random() % pieces.size()];
    auto state = start;
    for (const char byte : body) {
      if (byte == '"' && state.pending == 0) state = {};
      state = lexer.step(state, static_cast<std::uint8_t>(byte));
    }
    // A quote that ends the string early is not the lexer's affair; the decoder refuses it too.
    const bool mine = !state.dead() && lexer.may_close(state);
    ASSERT_EQ(mine, decode(body).has_value()) << testing::PrintToString(body);
    accepted += mine ? 1 : 0;
  }
  EXPECT_GT(accepted, 10'000);
}

TEST(StringLexer, LengthsCountCharactersHoweverSpelled) {
  Fixture test;
  StringLexer lexer(test.dfa, Escapes::kJson);
  const auto two = test.start(test.pool.length_between(2, 2));
  for (const auto* body :
       {"ab", "\\u0061b", "\\ud83d\\ude00\xF0\x9F\x98\x80", "\\n\\\"", "\xC3\xA9\\/"}) {
    EXPECT_TRUE(lexer.may_close(read(lexer, two, body))) << body;
    EXPECT_TRUE(read(lexer, two, std::string(body) + "a").dead()) << body;
    EXPECT_TRUE(read(lexer, two, std::string(body) + "\\").dead()) << body;
  }
}

TEST(StringLexer, MinimalEscapesAreOneSpellingEach) {
  Fixture test;
  StringLexer lexer(test.dfa, Escapes::kMinimal);
  for (const char32_t c : kCodePoints) {
    std::string raw;
    append_utf8(raw, c);
    const auto start = test.start(test.pool.literal(raw));
    int spelled = 0;
    for (const auto& spelling : std::set<std::string>([&] {
           const auto all = spellings(c);
           return std::set<std::string>(all.begin(), all.end());
         }())) {
      const auto state = read(lexer, start, spelling);
      if (state.dead()) continue;
      EXPECT_TRUE(lexer.may_close(state));
      EXPECT_EQ(spelling, escape_string(raw));
      ++spelled;
    }
    EXPECT_EQ(spelled, 1) << static_cast<unsigned>(c);
  }
  // No backslash where nothing needs one.
  const auto letters = test.start(test.pool.literal("abc"));
  EXPECT_TRUE(lexer.step(letters, '\\').dead());
}

TEST(StringLexer, ForcedBytesSpellTheOnlyText) {
  Fixture test;
  StringLexer lexer(test.dfa, Escapes::kMinimal);
  const std::string text = "a\"\xC3\xA9\x01\xF0\x9F\x98\x80\n";
  auto state = test.start(test.pool.literal(text));
  std::string forced;
  while (const auto byte = lexer.forced(state)) {
    forced += static_cast<char>(*byte);
    state = lexer.step(state, *byte);
  }
  EXPECT_EQ(forced, "a\\\"\xC3\xA9\\u0001\xF0\x9F\x98\x80\\n");
  EXPECT_TRUE(lexer.may_close(state));
  StringLexer free(test.dfa, Escapes::kJson);
  EXPECT_EQ(free.forced(test.start(test.pool.literal(text))), std::nullopt);
}

TEST(StringLexer, EveryHalfReadCharacterCanBeFinished) {
  Fixture test;
  for (const auto escapes : {Escapes::kJson, Escapes::kMinimal}) {
    StringLexer lexer(test.dfa, escapes);
    for (const char32_t c : kCodePoints) {
      std::string raw;
      append_utf8(raw, c);
      for (const auto language :
           {test.pool.literal(raw), RegexPool::kAnything, test.pool.length_between(3, 3)}) {
        for (const auto& spelling : spellings(c)) {
          auto state = test.start(language);
          for (const char byte : spelling) {
            state = lexer.step(state, static_cast<std::uint8_t>(byte));
            if (state.dead()) break;
            const auto rest = lexer.shortest_rest(state);
            EXPECT_TRUE(lexer.may_close(read(lexer, state, rest))) << spelling << " " << rest;
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace tessera::guided
