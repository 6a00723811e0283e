#include <random>
#include <string>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "engine/text/json_scanner.hpp"

namespace tessera {
namespace {

using Step = JsonScanner::Step;

// Whether all of `text` is one object or array.
bool accepts(const std::string& text) {
  JsonScanner scanner;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (scanner.done()) return false;
    if (scanner.push(text[i]) == Step::kError) return false;
  }
  return scanner.done();
}

TEST(JsonScanner, AcceptsWhatIsJson) {
  for (const char* text :
       {"{}", "[]", "[ ]", "{ \n}", R"({"a":1})", R"({"a" : [1, -0, 2.5e+10, 0.1E-3, 1e9]})",
        R"([true,false,null,"",[[],{}]])", R"(["\"\\\/\b\f\n\r\t\u00e9é😀"])", "[0]", "[-1]"}) {
    EXPECT_TRUE(accepts(text)) << text;
  }
}

TEST(JsonScanner, StopsAtWhatIsNot) {
  for (const char* text :
       {"",           " {}",      "1",         "\"a\"",       "{",         "[1,]",
        "{,}",        R"({"a"})", R"({"a":})", R"({"a":1,})", R"({a:1})",  "{'a':1}",
        "[01]",       "[1.]",     "[.5]",      "[+1]",        "[1e]",      "[--1]",
        "[tru]",      "[truee]",  "[nul l]",   "[\"a\nb\"]",  R"(["\x"])", R"(["\u12g4"])",
        "[1 2]",      "{]",       "[}",        "[]]",         "[NaN]",     R"({"a":1 "b":2})",
        R"({"a"::1})"}) {
    EXPECT_FALSE(accepts(text)) << text;
  }
}

TEST(JsonScanner, TellsWhatEachByteBegins) {
  JsonScanner scanner;
  std::string steps;
  for (const char byte : std::string(R"({"k":"v","n":[1,true]})")) {
    switch (scanner.push(byte)) {
      case Step::kObject:
        steps += '{';
        break;
      case Step::kArray:
        steps += '[';
        break;
      case Step::kKey:
        steps += "k(" + std::string(scanner.text()) + ")";
        break;
      case Step::kString:
        steps += '"';
        break;
      case Step::kStringEnd:
        steps += "s(" + std::string(scanner.text()) + ")";
        break;
      case Step::kOther:
        steps += 'o';
        break;
      case Step::kClose:
        steps += ')';
        break;
      default:
        break;
    }
  }
  EXPECT_EQ(steps, R"x({k(k)"s(v)k(n)[oo)))x");
}

TEST(JsonScanner, DepthIsBounded) {
  const auto nested = [](int depth) {
    const auto count = static_cast<std::size_t>(depth);
    return std::string(count, '[') + std::string(count, ']');
  };
  EXPECT_TRUE(accepts(nested(JsonScanner::kMaxDepth)));
  EXPECT_FALSE(accepts(nested(JsonScanner::kMaxDepth + 1)));
}

TEST(JsonScanner, AgreesWithAParserOnDamagedText) {
  const std::string source = R"({"a": [1, -2.5e3, true, null], "b": {"c": "x\n\"y\""}, "d": []})";
  const std::string alphabet = "{}[]\",:0123456789-+.eEtrufalsn \\/x";
  constexpr unsigned kSeed = 7;
  std::mt19937 random(kSeed);
  const auto below = [&](std::size_t n) { return static_cast<std::size_t>(random()) % n; };
  int num_valid = 0;
  for (int round = 0; round < 20'000; ++round) {
    std::string text = source;
    for (std::size_t edits = 1 + below(3); edits > 0; --edits) {
      const std::size_t at = below(text.size());
      if (below(2) == 0) {
        text.erase(at, 1 + below(4));
      } else {
        text.insert(at, 1, alphabet[below(alphabet.size())]);
      }
    }
    const bool opens = !text.empty() && (text.front() == '{' || text.front() == '[');
    // A closed text may be followed by white space in a parser's eyes, not in the scanner's.
    while (!text.empty() && text.back() == ' ') text.pop_back();
    const bool valid = opens && nlohmann::json::accept(text);
    EXPECT_EQ(accepts(text), valid) << "seed " << kSeed << ", round " << round << ": " << text;
    num_valid += valid ? 1 : 0;
  }
  EXPECT_GT(num_valid, 1000);
}

}  // namespace
}  // namespace tessera
