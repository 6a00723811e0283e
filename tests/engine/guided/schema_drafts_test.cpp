// What differs between the drafts.
#include <string>

#include <gtest/gtest.h>

#include "engine/guided/schema_keywords.hpp"
#include "tests/engine/guided/compiled_schema.hpp"

namespace tessera::guided {
namespace {

constexpr const char* kDraft4 = R"("$schema":"http://json-schema.org/draft-04/schema#")";
constexpr const char* kDraft6 = R"("$schema":"http://json-schema.org/draft-06/schema#")";
constexpr const char* kDraft7 = R"("$schema":"http://json-schema.org/draft-07/schema#")";
constexpr const char* kDraft2019 = R"("$schema":"https://json-schema.org/draft/2019-09/schema")";
constexpr const char* kDraft2020 = R"("$schema":"https://json-schema.org/draft/2020-12/schema")";

CompiledSchema under(const char* draft, const std::string& rest) {
  return CompiledSchema("{" + std::string(draft) + "," + rest + "}");
}

TEST(SchemaDrafts, AreNamedWithEitherSchemeAndWithOrWithoutHash) {
  for (const char* scheme : {"http://", "https://"}) {
    for (const char* hash : {"", "#"}) {
      const auto named = [&](const char* name) {
        return draft_named(std::string(scheme) + "json-schema.org/" + name + "/schema" + hash);
      };
      EXPECT_EQ(named("draft-04"), Draft::k4);
      EXPECT_EQ(named("draft-06"), Draft::k6);
      EXPECT_EQ(named("draft-07"), Draft::k7);
      EXPECT_EQ(named("draft/2019-09"), Draft::k2019_09);
      EXPECT_EQ(named("draft/2020-12"), Draft::k2020_12);
      EXPECT_EQ(named("draft-03"), std::nullopt);
    }
  }
}

TEST(SchemaDrafts, AnUnknownOneIsRefusedAndNoneIsTheDefault) {
  EXPECT_EQ(CompiledSchema(R"({"$schema":"http://json-schema.org/draft-03/schema#"})").places(),
            "/$schema $schema");
  EXPECT_EQ(CompiledSchema(R"({"$schema":7})").places(), "/$schema $schema");
  EXPECT_TRUE(CompiledSchema(R"({"$schema":"http://json-schema.org/schema#"})").ok());
  const char* by_draft = R"({"$ref":"#/$defs/a","maxLength":1,"$defs":{"a":{"minLength":0}}})";
  EXPECT_FALSE(CompiledSchema(by_draft).accepts("\"abc\""));
  EXPECT_TRUE(CompiledSchema(by_draft, {.default_draft = Draft::k7}).accepts("\"abc\""));
}

TEST(SchemaDrafts, KeywordsBeforeTheirTimeAreNotes) {
  EXPECT_TRUE(under(kDraft4, R"("const":1)").accepts("2"));
  EXPECT_FALSE(under(kDraft6, R"("const":1)").accepts("2"));
  EXPECT_TRUE(under(kDraft4, R"("propertyNames":{"maxLength":1})").accepts(R"({"ab":1})"));
  EXPECT_FALSE(under(kDraft6, R"("propertyNames":{"maxLength":1})").accepts(R"({"ab":1})"));
  EXPECT_TRUE(under(kDraft4, R"("contains":{"type":"null"})").accepts("[]"));
  EXPECT_FALSE(under(kDraft6, R"("contains":{"type":"null"})").accepts("[]"));
  EXPECT_TRUE(under(kDraft6, R"("if":{},"then":{"type":"null"})").accepts("1"));
  EXPECT_FALSE(under(kDraft7, R"("if":{},"then":{"type":"null"})").accepts("1"));
  EXPECT_TRUE(under(kDraft7, R"("dependentRequired":{"a":["b"]})").accepts(R"({"a":1})"));
  EXPECT_FALSE(under(kDraft2019, R"("dependentRequired":{"a":["b"]})").accepts(R"({"a":1})"));
  EXPECT_TRUE(under(kDraft7, R"("unevaluatedProperties":false)").accepts(R"({"a":1})"));
  EXPECT_FALSE(under(kDraft2019, R"("unevaluatedProperties":false)").accepts(R"({"a":1})"));
  EXPECT_TRUE(under(kDraft2019, R"("prefixItems":[{"type":"null"}])").accepts("[1]"));
  EXPECT_FALSE(under(kDraft2020, R"("prefixItems":[{"type":"null"}])").accepts("[1]"));
  EXPECT_TRUE(under(kDraft7, R"("contains":{},"minContains":2)").accepts("[1]"));
  EXPECT_FALSE(under(kDraft2019, R"("contains":{},"minContains":2)").accepts("[1]"));
}

TEST(SchemaDrafts, ReferencesHideTheirSiblingsUpToDraft7) {
  const std::string rest =
      R"("$ref":"#/definitions/a","maxLength":1,"definitions":{"a":{"minLength":1}})";
  for (const char* draft : {kDraft4, kDraft6, kDraft7}) {
    EXPECT_TRUE(under(draft, rest).accepts("\"abc\"")) << draft;
    EXPECT_FALSE(under(draft, rest).accepts("\"\"")) << draft;
  }
  for (const char* draft : {kDraft2019, kDraft2020}) {
    EXPECT_FALSE(under(draft, rest).accepts("\"abc\"")) << draft;
    EXPECT_TRUE(under(draft, rest).accepts("\"a\"")) << draft;
  }
}

TEST(SchemaDrafts, BooleanSchemasBeginWithDraft6) {
  EXPECT_EQ(under(kDraft4, R"("properties":{"a":false})").places(), "/properties/a properties");
  EXPECT_TRUE(under(kDraft4, R"("additionalProperties":false)").ok());
  EXPECT_TRUE(under(kDraft4, R"("items":[{}],"additionalItems":false)").ok());
  EXPECT_FALSE(under(kDraft6, R"("properties":{"a":false})").accepts(R"({"a":1})"));
  EXPECT_TRUE(under(kDraft6, R"("properties":{"a":false})").accepts(R"({"b":1})"));
}

TEST(SchemaDrafts, ArrayFormOfItemsEndsWith2019) {
  const std::string rest = R"("items":[{"type":"null"}],"additionalItems":{"type":"string"})";
  for (const char* draft : {kDraft4, kDraft6, kDraft7, kDraft2019}) {
    CompiledSchema schema = under(draft, rest);
    EXPECT_TRUE(schema.accepts(R"([null,"a"])")) << draft;
    EXPECT_FALSE(schema.accepts("[1]")) << draft;
    EXPECT_FALSE(schema.accepts("[null,1]")) << draft;
  }
  EXPECT_EQ(under(kDraft2020, rest).places(), "/items items");
  // Where nothing says 2020-12, it can only be the older form.
  EXPECT_FALSE(CompiledSchema("{" + rest + "}").accepts("[1]"));
  EXPECT_FALSE(CompiledSchema("{" + rest + "}").accepts("[null,1]"));
}

TEST(SchemaDrafts, AdditionalItemsNeedTheArrayForm) {
  for (const char* draft : {kDraft4, kDraft7, kDraft2019, kDraft2020}) {
    EXPECT_TRUE(under(draft, R"("additionalItems":{"type":"null"})").accepts("[1]")) << draft;
    EXPECT_TRUE(under(draft, R"("items":{},"additionalItems":{"type":"null"})").accepts("[1]"));
  }
}

TEST(SchemaDrafts, ContainsEvaluatesSince2020) {
  const std::string rest = R"("contains":{"type":"null"},"unevaluatedItems":{"type":"string"})";
  EXPECT_FALSE(under(kDraft2019, rest).accepts(R"([null,"a"])"));
  EXPECT_TRUE(under(kDraft2020, rest).accepts(R"([null,"a"])"));
}

TEST(SchemaDrafts, DependenciesAreUnderstoodInAll) {
  for (const char* draft : {kDraft4, kDraft6, kDraft7, kDraft2019, kDraft2020}) {
    CompiledSchema schema = under(draft, R"("dependencies":{"a":["b"],"c":{"maxProperties":1}})");
    EXPECT_FALSE(schema.accepts(R"({"a":1})")) << draft;
    EXPECT_TRUE(schema.accepts(R"({"a":1,"b":1})")) << draft;
    EXPECT_FALSE(schema.accepts(R"({"c":1,"d":1})")) << draft;
  }
}

TEST(SchemaDrafts, TheIdKeywordIsIdInDraft4) {
  const auto schema = [](const char* draft, const char* id) {
    return under(draft, std::string(R"("properties":{"a":{"$ref":"#x"}},"definitions":{"b":{")") +
                            id + R"(":"#x","type":"null"}})");
  };
  EXPECT_TRUE(schema(kDraft4, "id").ok());
  EXPECT_FALSE(schema(kDraft4, "$id").ok());
  EXPECT_TRUE(schema(kDraft7, "$id").ok());
  EXPECT_FALSE(schema(kDraft7, "id").ok());
  EXPECT_EQ(schema(kDraft2019, "$id").places(), "/properties/a/$ref $ref\n/definitions/b/$id $id");
  EXPECT_TRUE(CompiledSchema(R"({"$id":"#a","items":{"$ref":"#b","$id":"#c"},
      "$defs":{"b":{"$id":"#b"}}})")
                  .ok());
}

TEST(SchemaDrafts, AnEmbeddedResourceMayHaveItsOwn) {
  CompiledSchema schema = under(kDraft2020, R"("$id":"http://x/root","items":{"$ref":"old"},
      "$defs":{"old":{"$id":"old","$schema":"http://json-schema.org/draft-07/schema#",
                      "items":[{"type":"null"}]}})");
  ASSERT_TRUE(schema.ok()) << schema.places();
  EXPECT_TRUE(schema.accepts("[[null,1]]"));
  EXPECT_FALSE(schema.accepts("[[1]]"));
}

TEST(SchemaDrafts, AMetaschemaOfOnesOwnChoosesTheVocabularies) {
  const auto run = [](const std::string& vocabularies) {
    const SchemaOptions options{
        .documents = {
            {"http://x/meta", R"({"$schema":"https://json-schema.org/draft/2020-12/schema",
                         "$id":"http://x/meta","$vocabulary":{)" +
                                  vocabularies + "}}"}}};
    return CompiledSchema(
        R"({"$schema":"http://x/meta","properties":{"a":{"minimum":3}},"type":"null"})", options);
  };
  const std::string core = R"("https://json-schema.org/draft/2020-12/vocab/core":true)";
  const std::string applicator =
      R"(,"https://json-schema.org/draft/2020-12/vocab/applicator":true)";
  const std::string validation =
      R"(,"https://json-schema.org/draft/2020-12/vocab/validation":true)";
  EXPECT_TRUE(run(core).accepts(R"({"a":1})"));
  EXPECT_TRUE(run(core + applicator).accepts(R"({"a":1})"));
  EXPECT_FALSE(run(core + validation).accepts(R"({"a":1})"));
  EXPECT_TRUE(run(core + applicator + R"(,"http://x/other":false)").ok());
  EXPECT_EQ(run(core + R"(,"http://x/other":true)").places(), "/$schema $vocabulary");
}

TEST(SchemaDrafts, TheMetaschemasAreThere) {
  struct Case {
    const char* uri;
    const char* valid;
    const char* invalid;
  };
  for (const Case& c :
       {Case{"http://json-schema.org/draft-04/schema#", R"({"minimum":1,"exclusiveMinimum":true})",
             R"({"exclusiveMinimum":true})"},
        Case{"http://json-schema.org/draft-06/schema#", R"({"exclusiveMinimum":1})",
             R"({"exclusiveMinimum":true})"},
        Case{"http://json-schema.org/draft-07/schema", R"({"if":{"not":true}})",
             R"({"if":{"not":1}})"},
        Case{"https://json-schema.org/draft/2019-09/schema", R"({"items":[{"minContains":2}]})",
             R"({"items":[{"minContains":-2}]})"},
        Case{"https://json-schema.org/draft/2020-12/schema", R"({"prefixItems":[{"type":"null"}]})",
             R"({"items":[{}]})"}}) {
    CompiledSchema schema(std::string(R"({"items":{"$ref":")") + c.uri + "\"}}");
    ASSERT_TRUE(schema.ok()) << c.uri << " " << schema.places();
    EXPECT_TRUE(schema.accepts(std::string("[") + c.valid + "]")) << c.uri;
    EXPECT_FALSE(schema.accepts(std::string("[") + c.invalid + "]")) << c.uri;
    EXPECT_FALSE(schema.accepts(R"([{"type":"no-such"}])")) << c.uri;
    EXPECT_FALSE(schema.accepts(R"([{"properties":{"a":{"maxLength":"5"}}}])")) << c.uri;
    // As their own $schema says, they are schemas themselves.
    CompiledSchema whole(std::string(R"({"$ref":")") + c.uri + "\"}");
    EXPECT_TRUE(whole.accepts(*whole.graph.documents.at(1).text)) << c.uri;
  }
}

}  // namespace
}  // namespace tessera::guided
