#include "storage/json.hpp"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace tessera {
namespace {

std::string nested(int depth) {
  return std::string(static_cast<std::size_t>(depth), '[') +
         std::string(static_cast<std::size_t>(depth), ']');
}

Code code_of(std::string_view text, const JsonLimits& limits = {}) {
  const auto parsed = parse_json(text, limits);
  EXPECT_FALSE(parsed) << text;
  return parsed ? Code::kInternalError : parsed.error().code;
}

TEST(ParseJson, KeepsValuesAndTheOrderOfMembers) {
  constexpr std::string_view kText =
      R"({"z":1,"a":[true,null,-2,1.5,18446744073709551615],"m":{"é":"\u00e9\n"}})";
  const auto parsed = parse_json(kText);
  ASSERT_TRUE(parsed);
  EXPECT_EQ(to_text(*parsed),
            R"({"z":1,"a":[true,null,-2,1.5,18446744073709551615],"m":{"é":"é\n"}})");
}

TEST(ParseJson, TakesAnyValueAtTheTop) {
  EXPECT_EQ(to_text(*parse_json("7")), "7");
  EXPECT_EQ(to_text(*parse_json(" \"x\" \n")), "\"x\"");
  EXPECT_EQ(to_text(*parse_json("[]")), "[]");
}

TEST(ParseJson, RefusesDuplicateKeysAtEveryDepthHoweverTheyAreSpelt) {
  EXPECT_EQ(code_of(R"({"a":1,"a":1})"), Code::kDuplicateKey);
  EXPECT_EQ(code_of(R"([{"x":{"a":1,"b":2,"a":3}}])"), Code::kDuplicateKey);
  EXPECT_EQ(code_of(R"({"a":1,"\u0061":2})"), Code::kDuplicateKey);
  EXPECT_EQ(parse_json(R"({"role":1,"role":2})").error().param, "role");
}

TEST(ParseJson, EqualKeysOfDifferentObjectsAreFine) {
  EXPECT_TRUE(parse_json(R"([{"a":{"a":1}},{"a":2}])"));
}

TEST(ParseJson, RefusesWhatIsTooDeepBeforeBuildingIt) {
  EXPECT_TRUE(parse_json(nested(64)));
  EXPECT_EQ(code_of(nested(65)), Code::kInvalidJson);
  EXPECT_EQ(code_of(std::string(4'000'000, '[')), Code::kInvalidJson);
  EXPECT_TRUE(parse_json(R"({"a":[1]})", {.max_depth = 2}));
  EXPECT_EQ(code_of(R"({"a":[{}]})", {.max_depth = 2}), Code::kInvalidJson);
}

TEST(ParseJson, ABeginningThatNestsTooDeepIsKnownByItself) {
  EXPECT_TRUE(nests_deeper("[[[", 2));
  EXPECT_TRUE(nests_deeper(R"({"a":[],"b":{"c":[)", 2));
  EXPECT_FALSE(nests_deeper("[[", 2));
  EXPECT_FALSE(nests_deeper("[[],[],[[", 3));
  EXPECT_FALSE(nests_deeper(R"({"a":"[[[[\"[[[[")", 2)) << "brackets in a string";
  EXPECT_TRUE(nests_deeper(R"({"a":"\\","b":[[)", 2)) << "behind a string that ends in a backslash";
  EXPECT_FALSE(nests_deeper("", 0));
}

TEST(ParseJson, LongTextsAreReadLikeShortOnes) {
  const std::string filler(std::size_t{100} << 10, 'x');
  const auto tree = parse_json(R"({"a":")" + filler + R"(","b":[1,-2,0.5,null,true],"c":{}})");
  ASSERT_TRUE(tree);
  EXPECT_EQ((*tree)["a"].get_ref<const std::string&>(), filler);
  EXPECT_EQ(to_text((*tree)["b"]), "[1,-2,0.5,null,true]");
  EXPECT_EQ(parse_json(R"({"a":")" + filler + R"(","a":1})").error().code, Code::kDuplicateKey);
  EXPECT_EQ(parse_json("\"" + filler).error().code, Code::kInvalidJson);
  const std::string deep = R"({"a":")" + filler + R"(","b":)" + std::string(65, '[');
  EXPECT_EQ(parse_json(deep + std::string(65, ']') + '}').error().message, "nested deeper than 64");
}

TEST(ParseJson, RefusesTooManyBytesAndTooManyValues) {
  EXPECT_EQ(code_of("[1,2,3]", {.max_bytes = 6}), Code::kPayloadTooLarge);
  EXPECT_TRUE(parse_json("[1,2,3]", {.max_values = 4}));
  EXPECT_EQ(code_of("[1,2,3]", {.max_values = 3}), Code::kInvalidJson);
  EXPECT_EQ(code_of("[[],[],[]]", {.max_values = 3}), Code::kInvalidJson);
}

TEST(ParseJson, WideObjectsTakeLinearTime) {
  std::string text = "{";
  for (int i = 0; i < 200'000; ++i) text += "\"key" + std::to_string(i) + "\":0,";
  text += "\"last\":1}";
  const auto parsed = parse_json(text, {.max_bytes = text.size()});
  ASSERT_TRUE(parsed);  // with a comparison of all pairs this would outlive the test's timeout
  EXPECT_EQ(parsed->size(), 200'001U);
}

TEST(ParseJson, RefusesEverythingThatIsNotExactlyOneValue) {
  for (const std::string_view text :
       {"",         " ",       "{",           "[1,]",     "{\"a\":1,}",   "{a:1}",
        "[1] x",    "{}{}",    "nul",         "'a'",      "// c\n1",      "NaN",
        "Infinity", "01",      "+1",          "1.",       ".5",           "1e999",
        "\"\x01\"", "\"\\x\"", "\"\\ud800\"", "\"\xff\"", "\"\xc0\x80\"", "\"\xed\xa0\x80\"",
        "\"abc"}) {
    EXPECT_EQ(code_of(text), Code::kInvalidJson);
  }
}

TEST(ParseJson, ANulIsNotTheEndOfTheText) {
  EXPECT_EQ(code_of(std::string_view("{}\0{}", 5)), Code::kInvalidJson);
  EXPECT_EQ(code_of(std::string_view("{}\0", 3)), Code::kInvalidJson);
}

TEST(ParseJson, ErrorsNameTheByteAndRepeatNothingOfTheText) {
  const Error error = parse_json(R"({"password" "hunter2"})").error();
  EXPECT_NE(error.message.find("byte"), std::string::npos);
  EXPECT_EQ(error.message.find("hunter2"), std::string::npos);
}

TEST(ToText, WritesWhatTheLibraryWouldWrite) {
  for (const std::string_view text :
       {R"({})", R"([])", R"([[],{},[{}]])", R"({"a":1,"b":-2,"c":18446744073709551615})",
        R"([1.5,-0.0,1e300,0.1,3.0])", R"({"plain":"x y~!#","":"","q\"uote":"a\\b"})",
        R"(["tab\t","\u0001","\u007f","\u00e9","\ud83d\ude00"])", R"([true,false,null])"}) {
    const auto parsed = nlohmann::ordered_json::parse(text);
    EXPECT_EQ(to_text(parsed), parsed.dump()) << text;
  }
}

TEST(ToText, ReplacesInvalidUtf8) {
  EXPECT_EQ(to_text(nlohmann::ordered_json("a\xff")), "\"a\xEF\xBF\xBD\"");
}

}  // namespace
}  // namespace tessera
