// What each keyword means, as the front end hands it on. The official suite (schema_suite_test.cpp)
// has the breadth; here is what it does not say: the node's own form, limits, numbers beyond
// double.
#include "engine/guided/schema.hpp"

#include <string>

#include <gtest/gtest.h>

#include "tests/engine/guided/compiled_schema.hpp"

namespace tessera::guided {
namespace {

TEST(Schema, WhatSaysNothingIsTheTrueSchema) {
  for (const char* json :
       {"true", "{}", R"({"title":"x","description":"y","$comment":"z"})",
        R"({"x-unknown":{"type":"string"}})", R"({"$ref":"#/$defs/a","$defs":{"a":{}}})",
        R"({"type":["string","number","object","array","boolean","null"]})"}) {
    CompiledSchema schema(json);
    ASSERT_TRUE(schema.ok()) << json << " " << schema.places();
    EXPECT_EQ(schema.graph.root, kTrueSchema) << json;
  }
  EXPECT_EQ(CompiledSchema("false").graph.root, kFalseSchema);
}

TEST(Schema, NodesThatOnlyNameTypesAreShared) {
  CompiledSchema schema(
      R"({"properties":{"a":{"type":"string","description":"1"},"b":{"type":"string"},
          "c":{"type":["string"]},"d":{"type":"string","minLength":1}}})");
  ASSERT_TRUE(schema.ok());
  const auto& properties = schema.root().properties;
  EXPECT_EQ(properties[0].second, properties[1].second);
  EXPECT_EQ(properties[0].second, properties[2].second);
  EXPECT_NE(properties[0].second, properties[3].second);
  EXPECT_EQ(schema.graph[properties[0].second].types, kTypeString);
}

TEST(Schema, NumberHoldsTheIntegersAndIntegerTheIntegralNumbers) {
  CompiledSchema number(R"({"type":"number"})");
  EXPECT_EQ(number.root().types, kTypeNumber | kTypeInteger);
  EXPECT_TRUE(number.accepts("1"));
  EXPECT_TRUE(number.accepts("1.5"));
  CompiledSchema integer(R"({"type":"integer"})");
  EXPECT_EQ(integer.root().types, kTypeInteger);
  EXPECT_TRUE(integer.accepts("1.0"));
  EXPECT_TRUE(integer.accepts("1e20"));
  EXPECT_FALSE(integer.accepts("1.5"));
}

TEST(Schema, PropertiesKeepTheOrderWritten) {
  CompiledSchema schema(R"({"properties":{"z":{},"a":{},"m":{}},"required":["m","z"]})");
  ASSERT_EQ(schema.root().properties.size(), 3U);
  EXPECT_EQ(schema.root().properties[0].first, "z");
  EXPECT_EQ(schema.root().properties[1].first, "a");
  EXPECT_EQ(schema.root().properties[2].first, "m");
  EXPECT_EQ(schema.root().required, (std::vector<std::string>{"m", "z"}));
}

TEST(Schema, EnumValuesAreDistinctAndInOrder) {
  CompiledSchema schema(R"({"enum":["b",1,1.0,{"x":1,"y":2},"a",{"y":2.0,"x":1},[1],null]})");
  ASSERT_TRUE(schema.root().values);
  EXPECT_EQ(schema.root().values->size(), 6U);
  EXPECT_EQ(schema.graph.values.as_string(schema.root().values->at(0)), "b");
  EXPECT_TRUE(schema.accepts(R"({"y":2,"x":1.0})"));
  EXPECT_FALSE(schema.accepts(R"({"y":2})"));
}

TEST(Schema, ConstAndEnumTogetherAreWhatBothAllow) {
  EXPECT_TRUE(CompiledSchema(R"({"enum":[1,2],"const":2})").accepts("2"));
  CompiledSchema none(R"({"enum":[1,2],"const":3})");
  ASSERT_TRUE(none.ok());
  EXPECT_TRUE(none.root().values->empty());
}

TEST(Schema, BoundsAreExactBeyondDouble) {
  CompiledSchema schema(
      R"({"minimum":9007199254740993,"exclusiveMaximum":9007199254740994.0000000000000001})");
  EXPECT_FALSE(schema.accepts("9007199254740992"));
  EXPECT_TRUE(schema.accepts("9007199254740993"));
  EXPECT_TRUE(schema.accepts("9007199254740994"));
  EXPECT_FALSE(schema.accepts("9007199254740995"));
  EXPECT_TRUE(CompiledSchema(R"({"multipleOf":0.01})").accepts("19.99"));
  EXPECT_FALSE(CompiledSchema(R"({"multipleOf":0.01})").accepts("19.995"));
}

TEST(Schema, BothFormsOfExclusiveBoundsAreUnderstoodInEveryDraft) {
  for (const char* head : {"", R"("$schema":"http://json-schema.org/draft-04/schema#",)",
                           R"("$schema":"http://json-schema.org/draft-07/schema#",)"}) {
    CompiledSchema flag(std::string("{") + head + R"("minimum":3,"exclusiveMinimum":true})");
    EXPECT_FALSE(flag.accepts("3")) << head;
    EXPECT_TRUE(flag.accepts("3.1")) << head;
    CompiledSchema off(std::string("{") + head + R"("maximum":3,"exclusiveMaximum":false})");
    EXPECT_TRUE(off.accepts("3")) << head;
    CompiledSchema both(std::string("{") + head + R"("minimum":3,"exclusiveMinimum":3.5})");
    EXPECT_FALSE(both.accepts("3.5")) << head;
    EXPECT_TRUE(both.accepts("3.6")) << head;
  }
}

TEST(Schema, LengthsCountCodePoints) {
  CompiledSchema schema(R"({"minLength":2,"maxLength":2.0})");
  EXPECT_TRUE(schema.accepts("\"\U0001F600\u00e9\""));
  EXPECT_FALSE(schema.accepts("\"\U0001F600\""));
  EXPECT_FALSE(schema.accepts("\"abc\""));
  EXPECT_TRUE(schema.accepts("12345"));
}

TEST(Schema, EveryAssertionOnTextIsKept) {
  CompiledSchema schema(R"({"minLength":9,"pattern":"^2","format":"date"})");
  EXPECT_EQ(schema.root().text.size(), 3U);
  EXPECT_TRUE(schema.accepts("\"2024-02-29\""));
  EXPECT_FALSE(schema.accepts("\"1024-02-29\""));
  EXPECT_FALSE(schema.accepts("\"2023-02-29\""));
}

TEST(Schema, FormatsCanBeNotes) {
  const SchemaOptions notes{.assert_formats = false};
  EXPECT_TRUE(CompiledSchema(R"({"format":"date"})", notes).accepts("\"x\""));
  EXPECT_FALSE(CompiledSchema(R"({"format":"date"})").accepts("\"x\""));
  EXPECT_TRUE(CompiledSchema(R"({"format":"no-such"})").accepts("\"x\""));
  const SchemaOptions refuse{.assert_unknown_formats = true};
  const CompiledSchema unknown(R"({"properties":{"a":{"format":"no-such"}}})", refuse);
  EXPECT_EQ(unknown.places(), "/properties/a/format format");
  EXPECT_TRUE(CompiledSchema(R"({"format":"date"})", refuse).ok());
}

TEST(Schema, HugeCountsAreUnlimited) {
  CompiledSchema schema(
      R"({"maxItems":1e40,"maxProperties":99999999999999999999,"maxLength":1e30})");
  ASSERT_TRUE(schema.ok()) << schema.places();
  EXPECT_EQ(schema.root().max_items, Schema::kUnlimited);
  EXPECT_EQ(schema.root().max_properties, Schema::kUnlimited);
  EXPECT_TRUE(schema.accepts("\"abc\""));
  EXPECT_FALSE(CompiledSchema(R"({"minItems":1e40})").accepts("[]"));
}

TEST(Schema, NamesMayBeAnyText) {
  CompiledSchema schema(
      R"({"properties":{"":{"const":1},"a\u0000b":{"const":2},"\u00e9\ud83d\ude00":{"const":3}}})");
  EXPECT_TRUE(schema.accepts(R"({"":1,"a\u0000b":2,"é😀":3})"));
  EXPECT_FALSE(schema.accepts(R"({"":2})"));
  EXPECT_FALSE(schema.accepts(R"({"a\u0000b":3})"));
  EXPECT_FALSE(schema.accepts(R"({"é😀":4})"));
  EXPECT_TRUE(schema.accepts(R"({"a":9})"));
}

TEST(Schema, ItemsThatAreWrittenEvaluate) {
  EXPECT_FALSE(CompiledSchema(R"({"prefixItems":[{}]})").root().has_items);
  EXPECT_TRUE(CompiledSchema(R"({"items":{"type":"null"}})").root().has_items);
  EXPECT_FALSE(CompiledSchema(R"({"properties":{"a":{}}})").root().has_additional);
  EXPECT_TRUE(CompiledSchema(R"({"additionalProperties":true})").root().has_additional);
}

TEST(Schema, WhatIsNotReachedIsNotCompiled) {
  CompiledSchema schema(
      R"({"$defs":{"a":{"pattern":"(a)\\1"},"b":{"type":"no-such"}},"type":"null"})");
  ASSERT_TRUE(schema.ok()) << schema.places();
  EXPECT_EQ(schema.graph.nodes.size(), 3U);
}

TEST(Schema, PointersNameThePlace) {
  CompiledSchema schema(R"({"properties":{"a/b":{"items":[{"minLength":1},{"minLength":2}]}}})");
  ASSERT_TRUE(schema.ok()) << schema.places();
  const Schema& list = schema.graph[schema.root().properties[0].second];
  EXPECT_EQ(schema.graph.pointer(schema.graph.root), "");
  EXPECT_EQ(schema.graph.pointer(schema.root().properties[0].second), "/properties/a~1b");
  EXPECT_EQ(schema.graph.pointer(list.prefix[1]), "/properties/a~1b/items/1");
}

// No recursion anywhere: as deep as the limit lets it be, and as long.
TEST(Schema, DepthAndLengthCostNoStack) {
  std::string deep;
  for (int i = 0; i < 20'000; ++i) deep += R"({"not":)";
  GuidedLimits limits;
  limits.max_source_depth = 1 << 30;
  EXPECT_TRUE(CompiledSchema(deep + "{}" + std::string(20'000, '}'), {}, limits).ok());

  std::string chain = R"({"$ref":"#/$defs/0","$defs":{)";
  for (int i = 0; i < 20'000; ++i) {
    chain += "\"" + std::to_string(i) + R"(":{"$ref":"#/$defs/)" + std::to_string(i + 1) + "\"},";
  }
  CompiledSchema schema(chain + R"("20000":{"type":"null"}}})");
  ASSERT_TRUE(schema.ok()) << schema.places();
  EXPECT_EQ(schema.root().types, kTypeNull);

  std::string value = std::string(20'000, '[') + std::string(20'000, ']');
  EXPECT_TRUE(CompiledSchema(R"({"const":)" + value + "}", {}, limits).ok());
}

}  // namespace
}  // namespace tessera::guided
