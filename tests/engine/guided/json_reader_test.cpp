#include "engine/guided/json_reader.hpp"

#include <string>

#include <gtest/gtest.h>

namespace tessera::guided {
namespace {

struct Reading {
  explicit Reading(std::string_view text, int max_depth = 64)
      : source(text), root(tree.append(source, max_depth, 10, findings)) {}

  std::string source;
  JsonTree tree;
  GuidedFindings findings;
  std::optional<JsonIndex> root;
};

bool is_json(std::string_view text) {
  return Reading(text).root.has_value();
}

TEST(JsonReader, MembersKeepTheirOrderAndTheirPlaces) {
  const Reading reading(R"( {"b":1, "a":[true,null]} )");
  ASSERT_TRUE(reading.root);
  const JsonTree& tree = reading.tree;
  const JsonIndex b = tree.first_child(*reading.root);
  const JsonIndex a = tree[b].next;
  EXPECT_EQ(tree[*reading.root].count, 2U);
  EXPECT_EQ(tree[*reading.root].offset, 1U);
  EXPECT_EQ(tree[b].name, "b");
  EXPECT_EQ(tree[b].offset, 6U);
  EXPECT_EQ(tree[a].name, "a");
  EXPECT_EQ(tree[a].next, tree.size());
  EXPECT_EQ(tree[a + 1].kind, JsonKind::kBoolean);
  EXPECT_TRUE(tree[a + 1].boolean);
  EXPECT_EQ(tree[a + 2].kind, JsonKind::kNull);
  EXPECT_EQ(tree[a + 2].parent, a);
}

TEST(JsonReader, NumbersStayAsTheyAreWritten) {
  for (const char* number :
       {"0", "-0", "1.50", "1e400", "-12E-3", "123456789012345678901234567890"}) {
    const Reading reading(number);
    ASSERT_TRUE(reading.root) << number;
    EXPECT_EQ(reading.tree[0].text, number);
  }
  for (const char* wrong : {"01", "+1", "1.", ".5", "1e", "-", "0x1", "1e+", "NaN", "--1"}) {
    EXPECT_FALSE(is_json(wrong)) << wrong;
  }
}

TEST(JsonReader, StringsAreDecoded) {
  const Reading reading(
      R"(["plain","\"\\\/\b\f\n\r\t","\u0041\u00e9\ud83d\ude00\u0000","ünï",""])");
  ASSERT_TRUE(reading.root);
  EXPECT_EQ(reading.tree[1].text, "plain");
  EXPECT_EQ(reading.tree[2].text, "\"\\/\b\f\n\r\t");
  EXPECT_EQ(reading.tree[3].text, std::string("A\u00e9\U0001F600\0", 8));
  EXPECT_EQ(reading.tree[4].text, "\u00fcn\u00ef");
  EXPECT_EQ(reading.tree[5].text, "");
}

// Every position of a special byte within the eight that are looked at together.
TEST(JsonReader, LongStringsEndWhereTheyEnd) {
  for (std::size_t length = 0; length < 40; ++length) {
    const std::string plain(length, 'x');
    const Reading reading("[\"" + plain + "\",\"" + plain + "\\n" + plain + "\"]");
    ASSERT_TRUE(reading.root) << length;
    EXPECT_EQ(reading.tree[1].text, plain);
    EXPECT_EQ(reading.tree[2].text, plain + "\n" + plain);
    EXPECT_FALSE(is_json("\"" + plain + "\x1F" + plain + "\"")) << length;
    EXPECT_FALSE(is_json("\"" + plain)) << length;
    EXPECT_TRUE(is_json("\"" + plain + "\x7F\u00ff" + plain + "\"")) << length;
  }
}

TEST(JsonReader, WhatIsNoUnicodeIsRefused) {
  for (const char* wrong : {R"("\ud800")", R"("\ud800x")", R"("\ud800\u0041")", R"("\udc00")",
                            R"("\u12g4")", R"("\u12")", R"("\x41")", "\"\xC3\"", "\"\xED\xA0\x80\"",
                            "\"\xC0\xAF\"", "\"\xFF\"", "\xEF\xBB\xBF{}"}) {
    const Reading reading(wrong);
    EXPECT_FALSE(reading.root) << wrong;
    ASSERT_EQ(reading.findings.size(), 1U) << wrong;
    EXPECT_EQ(reading.findings[0].kind, FindingKind::kInvalid);
  }
}

TEST(JsonReader, WhatIsNoJsonIsRefusedWithItsPlace) {
  for (const char* wrong :
       {"",        " ",        "{",          "[",         "[1",      "[1,",     "[1,]", "[,1]",
        "{\"a\"}", "{\"a\":}", "{\"a\":1,}", "{a:1}",     "{'a':1}", "1 2",     "[1]]", "tru",
        "True",    "]",        "[1}",        "{\"a\":1]", "// x\n1", "\"a\nb\""}) {
    EXPECT_FALSE(is_json(wrong)) << wrong;
  }
  const Reading reading(R"({"a":{"b/c":[1,2,oops]}})");
  ASSERT_EQ(reading.findings.size(), 1U);
  EXPECT_EQ(reading.findings[0].pointer, "/a/b~1c");
  EXPECT_EQ(reading.findings[0].offset, 17U);
}

TEST(JsonReader, AMemberGivenTwiceIsAFindingInSmallAndLargeObjects) {
  const Reading small(R"({"x":{"a":1,"b":2,"a":3,"\u0061":4}})");
  EXPECT_FALSE(small.root);
  ASSERT_EQ(small.findings.size(), 3U);  // 3 against 1, 4 against 1 and against 3
  EXPECT_EQ(small.findings[0].pointer, "/x/a");
  EXPECT_EQ(small.findings[0].keyword, "a");
  EXPECT_EQ(small.findings[0].offset, 22U);

  std::string large = "{";
  for (int i = 0; i < 1000; ++i) large += "\"n" + std::to_string(i) + "\":0,";
  EXPECT_TRUE(is_json(large + "\"m\":0}"));
  EXPECT_FALSE(is_json(large + "\"n500\":0}"));
}

TEST(JsonReader, DepthIsLimitedAndCostsNoStack) {
  const auto nested = [](std::size_t depth) {
    return std::string(depth, '[') + std::string(depth, ']');
  };
  EXPECT_TRUE(Reading(nested(64)).root);
  const Reading reading(nested(65));
  EXPECT_FALSE(reading.root);
  EXPECT_NE(reading.findings.at(0).reason.find("64"), std::string::npos);
  EXPECT_TRUE(Reading(nested(1'000'000), 1 << 30).root);
}

TEST(JsonReader, FindsMembersAndItemsOfAnySize) {
  for (const int size : {0, 1, 15, 16, 17, 300}) {
    std::string object = "{";
    std::string array = "[";
    for (int i = 0; i < size; ++i) {
      object += (i ? ",\"k" : "\"k") + std::to_string(i) + "\":[" + std::to_string(i) + "]";
      array += (i ? ",[" : "[") + std::to_string(i) + "]";
    }
    const Reading members(object + "}");
    const Reading items(array + "]");
    for (int i = 0; i < size; ++i) {
      const JsonIndex member = members.tree.find(0, "k" + std::to_string(i));
      ASSERT_NE(member, kNoJson) << size << " " << i;
      EXPECT_EQ(members.tree[member + 1].text, std::to_string(i));
      const JsonIndex item = items.tree.item(0, static_cast<std::size_t>(i));
      ASSERT_NE(item, kNoJson);
      EXPECT_EQ(items.tree[item + 1].text, std::to_string(i));
    }
    EXPECT_EQ(members.tree.find(0, "other"), kNoJson);
    EXPECT_EQ(items.tree.item(0, static_cast<std::size_t>(size)), kNoJson);
    EXPECT_EQ(items.tree.find(0, "k0"), kNoJson);
    EXPECT_EQ(members.tree.item(0, 0), kNoJson);
  }
}

TEST(JsonReader, PointersAreEscapedAndLeadBackFromOffsets) {
  const Reading reading(R"({"a~b":{"":[0,{"x/y":"here"}]}})");
  const JsonIndex here = reading.tree.at_offset(reading.source.find("\"here\""));
  ASSERT_NE(here, kNoJson);
  EXPECT_EQ(reading.tree.pointer(here), "/a~0b//1/x~1y");
  EXPECT_EQ(reading.tree.pointer(0), "");
  EXPECT_EQ(reading.tree.at_offset(1), kNoJson);
}

TEST(JsonReader, ATreeHoldsSeveralTexts) {
  const std::string first = R"({"a":"\n"})";
  const std::string second = R"([1,2])";
  JsonTree tree;
  GuidedFindings findings;
  const auto a = tree.append(first, 64, 10, findings);
  const auto b = tree.append(second, 64, 10, findings);
  ASSERT_TRUE(a && b);
  EXPECT_EQ(tree[*a + 1].text, "\n");
  EXPECT_EQ(tree[*b].parent, kNoJson);
  EXPECT_EQ(tree[tree.item(*b, 1)].text, "2");
}

}  // namespace
}  // namespace tessera::guided
