// Where references lead. What the official suite covers is not repeated here.
#include <string>

#include <gtest/gtest.h>

#include "engine/guided/schema_uri.hpp"
#include "tests/engine/guided/compiled_schema.hpp"

namespace tessera::guided {
namespace {

// The examples of RFC 3986, 5.4.
TEST(SchemaUri, ResolvesAsTheStandardShows) {
  constexpr const char* kBase = "http://a/b/c/d;p?q";
  const std::pair<const char*, const char*> cases[] = {
      {"g:h", "g:h"},
      {"g", "http://a/b/c/g"},
      {"./g", "http://a/b/c/g"},
      {"g/", "http://a/b/c/g/"},
      {"/g", "http://a/g"},
      {"//g", "http://g"},
      {"?y", "http://a/b/c/d;p?y"},
      {"g?y", "http://a/b/c/g?y"},
      {";x", "http://a/b/c/;x"},
      {"g;x", "http://a/b/c/g;x"},
      {"", "http://a/b/c/d;p?q"},
      {".", "http://a/b/c/"},
      {"./", "http://a/b/c/"},
      {"..", "http://a/b/"},
      {"../", "http://a/b/"},
      {"../g", "http://a/b/g"},
      {"../..", "http://a/"},
      {"../../", "http://a/"},
      {"../../g", "http://a/g"},
      {"../../../g", "http://a/g"},
      {"/./g", "http://a/g"},
      {"/../g", "http://a/g"},
      {"g.", "http://a/b/c/g."},
      {".g", "http://a/b/c/.g"},
      {"g..", "http://a/b/c/g.."},
      {"./../g", "http://a/b/g"},
      {"./g/.", "http://a/b/c/g/"},
      {"g/./h", "http://a/b/c/g/h"},
      {"g/../h", "http://a/b/c/h"},
      {"g;x=1/../y", "http://a/b/c/y"},
  };
  for (const auto& [reference, expected] : cases) {
    EXPECT_EQ(resolve_uri(kBase, reference), expected) << reference;
  }
}

TEST(SchemaUri, ResolvesWithoutAFullBase) {
  EXPECT_EQ(resolve_uri("", "a.json"), "a.json");
  EXPECT_EQ(resolve_uri("dir/a.json", "b.json"), "dir/b.json");
  EXPECT_EQ(resolve_uri("dir/a.json", "../b.json"), "b.json");
  EXPECT_EQ(resolve_uri("/dir/a.json", "b.json"), "/dir/b.json");
  EXPECT_EQ(resolve_uri("http://x", "a"), "http://x/a");
  EXPECT_EQ(resolve_uri("urn:uuid:1", "urn:uuid:2"), "urn:uuid:2");
  EXPECT_EQ(resolve_uri("http://x/y", "HTTP://z/./q"), "HTTP://z/q");
}

TEST(SchemaUri, PercentSignsNeedTwoDigits) {
  EXPECT_EQ(percent_decode("a%25b%7E%c3%A9"), "a%b~\u00e9");
  for (const char* wrong : {"%", "%2", "%zz", "a%+1"}) {
    EXPECT_EQ(percent_decode(wrong), std::nullopt) << wrong;
  }
}

TEST(SchemaReferences, PointersUndoBothKindsOfEscape) {
  CompiledSchema schema(R"({"$defs":{"a/b~c %":{"const":1},"d\"é":{"const":2}},
      "properties":{"x":{"$ref":"#/$defs/a~1b~0c%20%25"},"y":{"$ref":"#/%24defs/d%22%C3%A9"}}})");
  ASSERT_TRUE(schema.ok()) << schema.places();
  EXPECT_TRUE(schema.accepts(R"({"x":1,"y":2})"));
  EXPECT_FALSE(schema.accepts(R"({"x":2})"));
  EXPECT_FALSE(schema.accepts(R"({"y":1})"));
}

TEST(SchemaReferences, MayLeadIntoPlacesThatNoKeywordMakesSchemas) {
  CompiledSchema schema(
      R"({"components":{"schemas":[{"Pet":{"type":"null"}}]},
          "items":{"$ref":"#/components/schemas/0/Pet"}})");
  EXPECT_TRUE(schema.accepts("[null]"));
  EXPECT_FALSE(schema.accepts("[1]"));
}

TEST(SchemaReferences, ThatLeadNowhereAreAllTold) {
  CompiledSchema schema(R"({"properties":{"a":{"$ref":"#/no"},"b":{"$ref":"#no"},
      "c":{"$ref":"http://other/schema"},"d":{"$ref":5},"e":{"$ref":"#/properties/00"},
      "f":{"$ref":"#/required/0"}},"required":["a"]})");
  EXPECT_EQ(schema.places(),
            "/properties/a/$ref $ref\n/properties/b/$ref $ref\n/properties/c/$ref $ref\n"
            "/properties/d/$ref $ref\n/properties/e/$ref $ref\n/required/0 required");
  EXPECT_EQ(schema.findings[0].kind, FindingKind::kInvalid);
  EXPECT_EQ(schema.findings[2].kind, FindingKind::kUnsupported);
  EXPECT_NE(schema.findings[2].reason.find("nothing is fetched"), std::string::npos);
}

TEST(SchemaReferences, RecursionIsAnEdge) {
  CompiledSchema schema(R"({"type":"object","properties":{"next":{"$ref":"#"}},
      "additionalProperties":false})");
  ASSERT_TRUE(schema.ok());
  EXPECT_EQ(schema.root().properties[0].second, schema.graph.root);
  EXPECT_TRUE(schema.accepts(R"({"next":{"next":{}}})"));
  EXPECT_FALSE(schema.accepts(R"({"next":{"other":{}}})"));
}

TEST(SchemaReferences, ACircleOfReferencesAllowsNothing) {
  EXPECT_EQ(CompiledSchema(R"({"$ref":"#"})").graph.root, kFalseSchema);
  CompiledSchema circle(R"({"$ref":"#/$defs/a","$defs":{"a":{"$ref":"#/$defs/b"},
      "b":{"$ref":"#/$defs/a"}}})");
  ASSERT_TRUE(circle.ok()) << circle.places();
  EXPECT_EQ(circle.graph.root, kFalseSchema);
  CompiledSchema inside(R"({"properties":{"a":{"$ref":"#/properties/a"}}})");
  EXPECT_TRUE(inside.accepts("{}"));
  EXPECT_FALSE(inside.accepts(R"({"a":1})"));
  // Among other conditions as well; here the second is met by everything that meets the first.
  CompiledSchema among(R"({"items":{"$ref":"#/$defs/a"},
      "$defs":{"a":{"type":"null","allOf":[{"$ref":"#/$defs/a"}]}}})");
  ASSERT_TRUE(among.ok()) << among.places();
  EXPECT_TRUE(among.accepts("[]"));
  EXPECT_FALSE(among.accepts("[null]"));
}

TEST(SchemaReferences, ACircleThroughAChoiceIsRefused) {
  for (const char* json :
       {R"({"not":{"$ref":"#"}})", R"({"anyOf":[{"$ref":"#"},{"type":"null"}]})",
        R"({"if":{"$ref":"#"},"then":{"type":"null"}})",
        R"({"dependentSchemas":{"a":{"$ref":"#"}}})", R"({"oneOf":[{"allOf":[{"$ref":"#"}]}]})"}) {
    const CompiledSchema schema(json);
    EXPECT_FALSE(schema.ok()) << json;
    ASSERT_EQ(schema.findings.size(), 1U) << json;
    EXPECT_NE(schema.findings[0].reason.find("back to itself"), std::string::npos);
  }
  // Through a property or an item it is ordinary recursion.
  EXPECT_TRUE(CompiledSchema(R"({"not":{"items":{"$ref":"#"}}})").ok());
}

TEST(SchemaReferences, IdsMoveTheBase) {
  CompiledSchema schema(
      R"({"$id":"http://x/a/root.json","properties":{"p":{"$ref":"sub/s.json#/$defs/n"},
      "q":{"$ref":"/a/sub/s.json"},"r":{"$ref":"sub/t.json"}},
      "$defs":{"s":{"$id":"sub/s.json","type":"string","$defs":{"n":{"type":"null"},
               "t":{"$id":"t.json","type":"boolean"}}}}})");
  ASSERT_TRUE(schema.ok()) << schema.places();
  EXPECT_TRUE(schema.accepts(R"({"p":null,"q":"s","r":true})"));
  EXPECT_FALSE(schema.accepts(R"({"p":"s"})"));
  EXPECT_FALSE(schema.accepts(R"({"q":null})"));
  EXPECT_FALSE(schema.accepts(R"({"r":null})"));
}

// As generators of draft 4 schemas write them.
TEST(SchemaReferences, PointersFallBackToTheDocumentsRoot) {
  CompiledSchema schema(R"({"$schema":"http://json-schema.org/draft-04/schema#",
      "definitions":{"app":{"id":"schemata/app","definitions":{"name":{"type":"string"}},
          "properties":{"name":{"$ref":"#/definitions/app/definitions/name"}}}},
      "properties":{"app":{"$ref":"#/definitions/app"}}})");
  ASSERT_TRUE(schema.ok()) << schema.places();
  EXPECT_TRUE(schema.accepts(R"({"app":{"name":"x"}})"));
  EXPECT_FALSE(schema.accepts(R"({"app":{"name":1}})"));
}

TEST(SchemaReferences, DocumentsOfTheTenantAreThere) {
  const SchemaOptions options{
      .documents = {{"http://x/list", R"({"items":{"$ref":"item#/$defs/n"}})"},
                    {"http://x/item", R"({"$defs":{"n":{"type":"null"}}})"},
                    {"http://x/broken", R"({"properties":{"a":{"type":"no"}}})"},
                    {"http://x/text", "no JSON"}}};
  CompiledSchema schema(R"({"$ref":"http://x/list"})", options);
  ASSERT_TRUE(schema.ok()) << schema.places();
  EXPECT_TRUE(schema.accepts("[null]"));
  EXPECT_FALSE(schema.accepts("[1]"));
  EXPECT_EQ(schema.graph.pointer(schema.graph.root), "http://x/list#");
  const CompiledSchema broken(R"({"$ref":"http://x/broken"})", options);
  EXPECT_EQ(broken.places(), "http://x/broken#/properties/a/type type");
  const CompiledSchema text(R"({"items":{"$ref":"http://x/text"}})", options);
  ASSERT_EQ(text.findings.size(), 1U);
  EXPECT_EQ(text.findings[0].pointer, "http://x/text#");
  GuidedLimits small;
  small.max_source_bytes = 70;  // of all texts together
  EXPECT_TRUE(CompiledSchema(R"({"$ref":"http://x/item"})", options, small).ok());
  const CompiledSchema large(R"({"$ref":"http://x/list"})", options, small);
  ASSERT_EQ(large.findings.size(), 1U);
  EXPECT_EQ(large.findings[0].kind, FindingKind::kTooLarge);
}

TEST(SchemaReferences, IdsInValuesAreNoIds) {
  CompiledSchema schema(R"({"enum":[{"$id":"#x","$anchor":"y"}],"$ref":"#y"})");
  EXPECT_EQ(schema.places(), "/$ref $ref");
}

// A tree that allows no unknown members, by a dynamic anchor: the extension binds the recursion.
TEST(SchemaReferences, DynamicAnchorsBindTheOutermost) {
  const std::string tree = R"("tree":{"$id":"http://x/tree","$dynamicAnchor":"node","type":"object",
      "properties":{"data":true,"children":{"type":"array","items":{"$dynamicRef":"#node"}}}})";
  CompiledSchema strict(R"({"$id":"http://x/strict","$dynamicAnchor":"node","$ref":"tree",
      "unevaluatedProperties":false,"$defs":{)" +
                        tree + "}}");
  ASSERT_TRUE(strict.ok()) << strict.places();
  EXPECT_TRUE(strict.accepts(R"({"children":[{"data":1}]})"));
  EXPECT_FALSE(strict.accepts(R"({"children":[{"daat":1}]})"));
  CompiledSchema loose(R"({"$id":"http://x/loose","$ref":"tree","$defs":{)" + tree + "}}");
  EXPECT_TRUE(loose.accepts(R"({"children":[{"daat":1}]})"));
}

// One list, used with two bindings of its item in one schema: two nodes of one place.
TEST(SchemaReferences, OnePlaceIsANodeForEachDynamicScope) {
  CompiledSchema schema(
      R"({"$id":"http://x/root","properties":{"n":{"$ref":"numbers"},"s":{"$ref":"strings"}},
      "$defs":{
        "list":{"$id":"list","items":{"$dynamicRef":"#item"},
          "$defs":{"any":{"$dynamicAnchor":"item"}}},
        "numbers":{"$id":"numbers","$ref":"list","$defs":{"i":{"$dynamicAnchor":"item",
          "type":"number"}}},
        "strings":{"$id":"strings","$ref":"list","$defs":{"i":{"$dynamicAnchor":"item",
          "type":"string"}}}}})");
  ASSERT_TRUE(schema.ok()) << schema.places();
  EXPECT_TRUE(schema.accepts(R"({"n":[1],"s":["a"]})"));
  EXPECT_FALSE(schema.accepts(R"({"n":["a"]})"));
  EXPECT_FALSE(schema.accepts(R"({"s":[1]})"));
}

TEST(SchemaReferences, TooManyDynamicScopesAreRefusedAndNotTried) {
  std::string defs;
  for (int i = 0; i < 2000; ++i) {
    const std::string n = std::to_string(i);
    defs += R"("d)" + n + R"(":{"$id":"r)" + n + R"(","$dynamicAnchor":"a)" + n +
            R"(","items":{"anyOf":[{"$ref":"r)" + std::to_string((i + 1) % 2000) +
            R"("},{"$ref":"r)" + std::to_string((i * 7 + 3) % 2000) +
            R"("}]},"contains":{"$dynamicRef":"#a)" + n + "\"}},";
  }
  const CompiledSchema schema(R"({"$id":"http://x/root","$ref":"r0","$defs":{)" + defs +
                              R"("z":{}}})");
  ASSERT_FALSE(schema.ok());
  EXPECT_EQ(schema.findings[0].kind, FindingKind::kTooComplex) << schema.findings[0].reason;
}

}  // namespace
}  // namespace tessera::guided
