#include "storage/plain_json.hpp"

#include <array>
#include <random>
#include <string>

#include <gtest/gtest.h>

namespace tessera {
namespace {

using Json = nlohmann::ordered_json;

constexpr JsonLimits kLimits;

constexpr std::array<std::string_view, 6> kPlain = {
    R"({"model":"m","messages":[{"role":"user","content":"Where is my order?"}],"max_tokens":1})",
    R"( { "a" : [ true , false , null , -2 , 0 , -0 , 1.5e-3 , 18446744073709551615 ] } )",
    R"({"quoted":"\"\\\/\b\f\n\r\t\u0041\u0000\ud83d\ude00","é":"ß€😀","empty":{},"none":[]})",
    "\"\x7F\"",
    "-9223372036854775808",
    "[[[]],{\"a\":{\"b\":1E+2}}]"};

TEST(PlainJson, ReadsWhatIsUsualAsTheLibraryDoes) {
  for (const std::string_view text : kPlain) {
    const auto plain = parse_plain_json(text, kLimits);
    ASSERT_TRUE(plain) << text;
    const Json expected = Json::parse(text);
    EXPECT_EQ(*plain, expected) << text;
    EXPECT_EQ(plain->dump(), expected.dump());
  }
}

TEST(PlainJson, KeepsTheKindsOfNumbersApart) {
  EXPECT_TRUE(parse_plain_json("7", kLimits)->is_number_unsigned());
  EXPECT_EQ(parse_plain_json("-7", kLimits)->type(), Json::value_t::number_integer);
  EXPECT_TRUE(parse_plain_json("7.0", kLimits)->is_number_float());
}

TEST(PlainJson, LeavesWhatNeedsACloserLook) {
  for (const std::string_view text : {"",
                                      " ",
                                      "{",
                                      "[1,]",
                                      "{\"a\":1,}",
                                      "{a:1}",
                                      "[1] x",
                                      "nul",
                                      "01",
                                      "+1",
                                      "1.",
                                      ".5",
                                      "-",
                                      "1e",
                                      "1e999",
                                      "18446744073709551616",
                                      "-9223372036854775809",
                                      "\"\x01\"",
                                      "\"\\x\"",
                                      "\"\\ud83d\"",
                                      "\"\\ude00\\ud83d\"",
                                      "\"\\u004\"",
                                      "\"\xff\"",
                                      "\"\xc0\x80\"",
                                      "\"\xed\xa0\x80\"",
                                      "\"\xf4\x90\x80\x80\"",
                                      "\"\xe2\x82\"",
                                      "\"abc",
                                      "\"\\",
                                      R"({"a":1,"a":1})",
                                      "\xEF\xBB\xBF[]"}) {
    EXPECT_FALSE(parse_plain_json(text, kLimits)) << text;
  }
}

TEST(PlainJson, KeepsTheLimits) {
  EXPECT_TRUE(parse_plain_json("[[1]]", {.max_depth = 2}));
  EXPECT_FALSE(parse_plain_json("[[1]]", {.max_depth = 1}));
  EXPECT_TRUE(parse_plain_json("[1,2,3]", {.max_values = 4}));
  EXPECT_FALSE(parse_plain_json("[1,2,3]", {.max_values = 3}));
  EXPECT_FALSE(parse_plain_json(std::string(1'000'000, '['), {.max_depth = 2'000'000}));
}

// What it accepts, the library does, with the same tree; the strict parser's verdict is not asked.
TEST(PlainJson, NoDamageIsTakenForJson) {
  constexpr std::string_view kBytes =
      "{}[]\":,\\ 0123456789-+.eEtrufalsn\t\n\x01\x7F\x80\xBF\xC3\xE2\xF0";
  const std::uint32_t seed = std::random_device()();
  std::mt19937 random(seed);
  int accepted = 0;
  for (int round = 0; round < 60'000; ++round) {
    std::string text(kPlain[random() % kPlain.size()]);
    for (auto changes = 1 + random() % 3; changes > 0; --changes) {
      const std::size_t at = random() % text.size();
      if (random() % 2 == 0) text.erase(at, random() % 3);
      text.insert(at < text.size() ? at : 0, 1, kBytes[random() % kBytes.size()]);
    }
    const auto plain = parse_plain_json(text, kLimits);
    if (!plain) continue;
    ++accepted;
    const Json expected = Json::parse(text, nullptr, /*allow_exceptions=*/false);
    ASSERT_FALSE(expected.is_discarded()) << "seed " << seed << ": " << text;
    ASSERT_EQ(plain->dump(), expected.dump()) << "seed " << seed << ": " << text;
  }
  EXPECT_GT(accepted, 1000) << "seed " << seed;
}

}  // namespace
}  // namespace tessera
