#include "storage/flat_json.hpp"

#include <cstdint>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace tessera {
namespace {

TEST(FlatJson, CutsAnObjectIntoMembers) {
  const std::string text =
      R"({"id":"a,b","n":-17,"list":["x","y,]"],"nested":{"a":{"b":"}"}},"e":""})";
  const auto flat = FlatJson::cut(text);
  ASSERT_TRUE(flat);
  EXPECT_EQ(FlatJson::as_text(*flat->find("id")), "a,b");
  EXPECT_EQ(FlatJson::as_integer<std::int64_t>(*flat->find("n")), -17);
  EXPECT_EQ(flat->find("nested"), R"({"a":{"b":"}"}})");
  EXPECT_EQ(FlatJson::as_text(*flat->find("e")), "");
  EXPECT_FALSE(flat->find("none"));
  EXPECT_TRUE(flat->has("id")) << "in any order";
  std::vector<std::string> items;
  EXPECT_TRUE(FlatJson::each_item(*flat->find("list"), [&](std::string_view item) {
    items.emplace_back(item);
    return true;
  }));
  EXPECT_EQ(items, (std::vector<std::string>{"\"x\"", "\"y,]\""}));
}

TEST(FlatJson, WhatIsAbsentIsNotFoundWhateverItsLetters) {
  const auto flat = FlatJson::cut(R"({"ab":1,"":2,"cd":3})");
  ASSERT_TRUE(flat);
  EXPECT_EQ(flat->find(""), "2");
  for (char first = '!'; first <= '~'; ++first) {
    for (char second = '!'; second <= '~'; ++second) {
      const std::string name = {first, second};
      EXPECT_EQ(flat->has(name), name == "ab" || name == "cd") << name;
    }
  }
}

TEST(FlatJson, AnEmptyObjectAndAnEmptyListHaveNothing) {
  const auto flat = FlatJson::cut("{}");
  ASSERT_TRUE(flat);
  EXPECT_FALSE(flat->has("a"));
  EXPECT_TRUE(FlatJson::each_item("[]", [](std::string_view) { return false; }));
}

TEST(FlatJson, WhatIsNotFlatIsLeftToTheParser) {
  for (const char* text :
       {"", "{", "}", "[]", "{ }", "{\"a\"}", "{\"a\":}", "{\"a\":1,}", "{\"a\":1 }", "{\"a\" :1}",
        "{\"a\":\"\\n\"}", "{\"a\":\"b}", "{\"a\":[1}", "{\"a\":{}", "{\"a\":1\"b\":2}", "{a:1}",
        "{\"a\":1}x", "{\"a\":A}"}) {
    EXPECT_FALSE(FlatJson::cut(text)) << text;
  }
  std::string many = "{";
  for (int i = 0; i <= 32; ++i) many += "\"" + std::to_string(i) + "\":0,";
  many.back() = '}';
  EXPECT_FALSE(FlatJson::cut(many));
}

TEST(FlatJson, ValuesOfAnotherKindAreNone) {
  EXPECT_FALSE(FlatJson::as_text("17"));
  EXPECT_FALSE(FlatJson::as_integer<std::int64_t>("1.5"));
  EXPECT_FALSE(FlatJson::as_integer<std::uint32_t>("-1"));
  EXPECT_FALSE(FlatJson::as_integer<std::uint32_t>("4294967296"));
  EXPECT_FALSE(FlatJson::as_integer<std::int64_t>("\"1\""));
  EXPECT_FALSE(FlatJson::as_integer<std::int64_t>("true"));
  for (const char* value : {"17", "[", "[1,]", "[,1]", "[[1]]", "{}"}) {
    EXPECT_FALSE(FlatJson::each_item(value, [](std::string_view) { return true; })) << value;
  }
}

}  // namespace
}  // namespace tessera
