// What is refused, with the place and the reason, and everything at once.
#include <string>

#include <gtest/gtest.h>

#include "engine/guided/openai_strict.hpp"
#include "tests/engine/guided/compiled_schema.hpp"

namespace tessera::guided {
namespace {

TEST(SchemaFindings, AreAllToldInTheOrderOfTheText) {
  const CompiledSchema schema(R"({"type":"objekt","properties":{"a":{"minimum":"5"},
      "b":{"pattern":"("},"c":{"enum":1},"d":{"maxLength":-1}},"required":"a","anyOf":[]})");
  EXPECT_EQ(schema.places(),
            "/type type\n/properties/a/minimum minimum\n/properties/b/pattern pattern\n"
            "/properties/c/enum enum\n/properties/d/maxLength maxLength\n/required required\n"
            "/anyOf anyOf");
  for (const GuidedFinding& finding : schema.findings) {
    EXPECT_EQ(finding.kind, FindingKind::kInvalid) << finding.pointer;
    EXPECT_FALSE(finding.reason.empty());
    EXPECT_GT(finding.offset, 0U);
  }
}

TEST(SchemaFindings, WrongValuesOfKeywordsAreInvalid) {
  for (const char* json :
       {"1",
        "null",
        "\"a\"",
        "[]",
        R"({"type":1})",
        R"({"type":[]})",
        R"({"type":["null",1]})",
        R"({"type":"any"})",
        R"({"const":1,"enum":{}})",
        R"({"minimum":true})",
        R"({"exclusiveMinimum":"1"})",
        R"({"multipleOf":0})",
        R"({"multipleOf":-1})",
        R"({"multipleOf":"1"})",
        R"({"minLength":1.5})",
        R"({"minLength":-1})",
        R"({"maxItems":"1"})",
        R"({"maxItems":null})",
        R"({"pattern":1})",
        R"({"pattern":"["})",
        R"({"format":1})",
        R"({"items":1})",
        R"({"prefixItems":{}})",
        R"({"prefixItems":[]})",
        R"({"contains":1})",
        R"({"uniqueItems":1})",
        R"({"unevaluatedItems":1})",
        R"({"properties":[]})",
        R"({"properties":{"a":1}})",
        R"({"patternProperties":{"[":{}}})",
        R"({"patternProperties":1})",
        R"({"additionalProperties":"no"})",
        R"({"propertyNames":1})",
        R"({"required":["a",1]})",
        R"({"required":true})",
        R"({"dependentRequired":[]})",
        R"({"dependentRequired":{"a":"b"}})",
        R"({"dependentSchemas":{"a":[]}})",
        R"({"dependencies":{"a":1}})",
        R"({"minProperties":[]})",
        R"({"allOf":{}})",
        R"({"allOf":[]})",
        R"({"anyOf":[1]})",
        R"({"oneOf":true})",
        R"({"not":1})",
        R"({"if":1})",
        R"({"if":true,"then":1})",
        R"({"if":true,"else":1})",
        R"({"contains":{},"minContains":-1})",
        R"({"unevaluatedProperties":1})",
        R"({"$ref":"#/$defs/a","$defs":{"a":1}})",
        R"({"$dynamicRef":1})",
        R"({"$id":1})",
        R"({"$schema":"https://json-schema.org/draft/2020-12/schema","$id":"a#b"})",
        R"({"$defs":{"a":{"$anchor":1}}})"}) {
    const CompiledSchema schema(json);
    ASSERT_FALSE(schema.ok()) << json;
    for (const GuidedFinding& finding : schema.findings) {
      EXPECT_EQ(finding.kind, FindingKind::kInvalid) << json << ": " << finding.reason;
    }
  }
}

TEST(SchemaFindings, Draft3sRequiredIsNamed) {
  const CompiledSchema schema(R"({"properties":{"a":{"type":"string","required":true}}})");
  ASSERT_EQ(schema.places(), "/properties/a/required required");
  EXPECT_NE(schema.findings[0].reason.find("draft 3"), std::string::npos);
}

TEST(SchemaFindings, WhatCannotBeEnforcedIsUnsupported) {
  const CompiledSchema schema(R"({"properties":{"a":{"pattern":"(a)\\1"}}})");
  ASSERT_EQ(schema.places(), "/properties/a/pattern pattern");
  EXPECT_EQ(schema.findings[0].kind, FindingKind::kUnsupported);
  // In a reference's target it is told once, where it stands.
  const CompiledSchema twice(R"({"items":{"$ref":"#/$defs/p"},"contains":{"$ref":"#/$defs/p"},
      "$defs":{"p":{"patternProperties":{"(a)\\1":{}}}}})");
  EXPECT_EQ(twice.places(), "/$defs/p/patternProperties/(a)\\1 patternProperties");
}

TEST(SchemaFindings, AreToldOnceHoweverOftenTheirPlaceIsMet) {
  for (const char* wrong : {R"({"type":"x"})", "5", R"({"pattern":"("})", R"({"$ref":"#/no"})"}) {
    const CompiledSchema schema(R"({"items":{"$ref":"#/$defs/p"},"contains":{"$ref":"#/$defs/p"},
        "prefixItems":[{"$ref":"#/$defs/p"}],"$defs":{"p":)" +
                                std::string(wrong) + "}}");
    EXPECT_EQ(schema.findings.size(), 1U) << wrong << " " << schema.places();
  }
}

TEST(SchemaFindings, AreNotMoreThanTheLimit) {
  std::string json = R"({"properties":{)";
  for (int i = 0; i < 500; ++i) json += "\"p" + std::to_string(i) + R"(":{"type":"x"},)";
  GuidedLimits limits;
  EXPECT_EQ(CompiledSchema(json + R"("z":{}}})").findings.size(), limits.max_findings);
  limits.max_findings = 3;
  EXPECT_EQ(CompiledSchema(json + R"("z":{}}})", {}, limits).findings.size(), 3U);
}

TEST(SchemaFindings, LimitsAreNamed) {
  const auto kind_of = [](const std::string& json, GuidedLimits limits) {
    const CompiledSchema schema(json, {}, limits);
    return schema.ok() ? std::nullopt : std::optional(schema.findings.at(0).kind);
  };
  GuidedLimits limits;
  limits.max_source_bytes = 10;
  EXPECT_EQ(kind_of(R"({"type":"string"})", limits), FindingKind::kTooLarge);
  limits = {};
  limits.max_schema_nodes = 4;  // true and false are two of them
  EXPECT_EQ(kind_of(R"({"items":{"minLength":1}})", limits), std::nullopt);
  EXPECT_EQ(
      kind_of(R"({"items":{"minLength":1,"allOf":[{"minLength":2},{"minLength":3}]}})", limits),
      FindingKind::kTooLarge);
  limits = {};
  limits.max_properties = 2;
  EXPECT_EQ(kind_of(R"({"properties":{"a":{},"b":{}},"required":["a","b"]})", limits),
            std::nullopt);
  EXPECT_EQ(kind_of(R"({"properties":{"a":{},"b":{},"c":{}}})", limits), FindingKind::kTooLarge);
  EXPECT_EQ(kind_of(R"({"required":["a","b","c"]})", limits), FindingKind::kTooLarge);
  limits = {};
  limits.max_enum_values = 3;
  EXPECT_EQ(kind_of(R"({"enum":[1,2,3]})", limits), std::nullopt);
  EXPECT_EQ(kind_of(R"({"enum":[1,2,[3]]})", limits), FindingKind::kTooLarge);
  limits = {};
  limits.max_enum_bytes = 5;
  EXPECT_EQ(kind_of(R"({"enum":["abc","de"]})", limits), std::nullopt);
  EXPECT_EQ(kind_of(R"({"enum":["abc","def"]})", limits), FindingKind::kTooLarge);
}

TEST(SchemaFindings, NumbersBeyondReachAreTooLarge) {
  for (const char* json : {R"({"minimum":1e9999999999})", R"({"const":1e-9999999999})"}) {
    const CompiledSchema schema(json);
    ASSERT_FALSE(schema.ok()) << json;
    EXPECT_EQ(schema.findings[0].kind, FindingKind::kTooLarge) << json;
  }
}

TEST(SchemaFindings, TextThatIsNoJsonIsTheOnlyFinding) {
  const CompiledSchema schema(R"({"type":"no-such",})");
  ASSERT_EQ(schema.findings.size(), 1U);
  EXPECT_EQ(schema.findings[0].reason.substr(0, 12), "invalid JSON");
  EXPECT_EQ(CompiledSchema(R"({"type":"null","type":"null"})").places(), "/type type");
}

TEST(SchemaFindings, AnEmptyEnumAllowsNothing) {
  CompiledSchema schema(R"({"enum":[]})");
  ASSERT_TRUE(schema.ok());
  EXPECT_TRUE(schema.root().values->empty());
}

std::string strict_places(std::string_view json) {
  std::string out;
  for (const GuidedFinding& finding : check_openai_strict(json)) {
    out += (out.empty() ? "" : "\n") + finding.pointer + " " + finding.keyword;
  }
  return out;
}

TEST(OpenAiStrict, TheSubsetHasNoFindings) {
  EXPECT_EQ(strict_places(R"({"type":"object","properties":{"a":{"type":["string","null"]},
      "b":{"type":"array","items":{"$ref":"#/$defs/c"}}},"required":["a","b"],
      "additionalProperties":false,"$defs":{"c":{"type":"object","properties":{},"required":[],
      "additionalProperties":false}}})"),
            "");
}

TEST(OpenAiStrict, OpenObjectsAndOptionalPropertiesAreFound) {
  EXPECT_EQ(strict_places(R"({"type":"object","properties":{"a":{},"b":{"anyOf":[
      {"type":"object","properties":{"c":{}},"required":["c"]}]}},"required":["b"],
      "additionalProperties":true})"),
            "/properties/a required\n/properties/b/anyOf/0 additionalProperties\n"
            "/additionalProperties additionalProperties");
  EXPECT_EQ(strict_places(R"({"type":"array"})"), " type");
  EXPECT_EQ(strict_places(R"({"anyOf":[]})"), " type");
  EXPECT_EQ(check_openai_strict("{").size(), 1U);
}

TEST(OpenAiStrict, LimitsAreThoseOfTheService) {
  const auto nested = [](int levels) {
    std::string json = R"({"type":"null"})";
    for (int i = 0; i < levels; ++i) {
      json = R"({"type":"object","properties":{"a":)" + json +
             R"(},"required":["a"],"additionalProperties":false})";
    }
    return json;
  };
  EXPECT_EQ(strict_places(nested(10)), "");
  EXPECT_EQ(check_openai_strict(nested(11)).size(), 1U);

  const auto with_enum = [](int values, int bytes) {
    std::string json = R"({"type":"object","properties":{"a":{"enum":[)";
    for (int i = 0; i < values; ++i) {
      std::string value = std::to_string(i);
      value.resize(static_cast<std::size_t>(bytes), 'x');
      json += (i ? ",\"" : "\"") + value + "\"";
    }
    return json + R"(]}},"required":["a"],"additionalProperties":false})";
  };
  EXPECT_EQ(strict_places(with_enum(1000, 8)), "");
  EXPECT_EQ(strict_places(with_enum(1001, 8)), " enum");
  EXPECT_EQ(strict_places(with_enum(1000, 119)), "");
  EXPECT_EQ(strict_places(with_enum(1000, 120)), " ");
}

}  // namespace
}  // namespace tessera::guided
