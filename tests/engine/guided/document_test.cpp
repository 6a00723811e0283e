// What documents a schema allows, keyword by keyword, and that a refusal comes as early as it can.

#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/engine/guided/document_fixture.hpp"

namespace tessera::guided {
namespace {

struct KeywordCase {
  const char* name;
  const char* schema;
  std::vector<const char*> accepted;
  std::vector<const char*> refused;
};

void PrintTo(const KeywordCase& one, std::ostream* out) {
  *out << one.name;
}

const std::vector<KeywordCase>& keyword_cases() {
  static const std::vector<KeywordCase> kCases{
      {"type", R"({"type":["string","null"]})", {R"("a")", "null"}, {"1", "[]", "true", "{}"}},
      {"anything", "{}", {"1", "-0.5e3", R"({"a":[{}],"b":"\u00e9"})", "[]"}, {"", "01", "[1,]"}},
      {"enum",
       R"({"enum":["ab","ac",7,[1],{"a":null}]})",
       {R"("ab")", "7", "[1]", R"({"a":null})"},
       {R"("a")", "8", "[1,1]", "{}", "[2]"}},
      {"constObject",
       R"({"const":{"a":1,"b":[true]}})",
       {R"({"b":[true],"a":1})"},
       {R"({"a":1})", R"({"a":1,"b":[true],"c":0})", R"({"a":2,"b":[true]})"}},
      {"required", R"({"required":["a","b"]})", {R"({"b":1,"a":2})", "3"}, {R"({"a":2})", "{}"}},
      {"patternOfOneString",
       R"({"properties":{"a":{"type":"string","pattern":"^k$"},"b":{"pattern":"^k$"}}})",
       {R"({"a":"k","b":"k"})", R"({"a":"\u006b","b":1})"},
       {R"({"a":"kk"})", R"({"a":""})", R"({"a":1})", R"({"b":"l"})"}},
      {"additional",
       R"({"properties":{"a":{}},"additionalProperties":{"type":"null"}})",
       {R"({"a":1,"x":null})", "{}"},
       {R"({"x":1})"}},
      {"closed",
       R"({"type":"object","properties":{"ab":{},"ac":{}},"additionalProperties":false})",
       {R"({"ac":1,"ab":2})", "{}"},
       {R"({"a":1})", R"({"abc":1})", R"({"ab":1,"ab":2})"}},
      {"patternProperties",
       R"({"patternProperties":{"^x":{"type":"null"},"y$":{"enum":[null,1]}},
        "additionalProperties":false})",
       {R"({"xa":null,"ay":1,"xy":null})"},
       {R"({"xy":1})", R"({"a":null})"}},
      {"propertyNames",
       R"({"propertyNames":{"maxLength":2}})",
       {R"({"ab":1,"":2})"},
       {R"({"abc":1})"}},
      {"duplicates",
       R"({"type":"object"})",
       {R"({"a":1,"b":1})"},
       {R"({"a":1,"a":1})", R"({"a":1,"\u0061":1})"}},
      {"counts",
       R"({"minProperties":1,"maxProperties":2})",
       {R"({"a":1})", R"({"a":1,"b":2})"},
       {"{}", R"({"a":1,"b":2,"c":3})"}},
      {"dependentRequired",
       R"({"dependentRequired":{"a":["b"]}})",
       {R"({"b":1})", R"({"a":1,"b":2})", R"({"b":1,"a":2})"},
       {R"({"a":1})"}},
      {"dependentSchemas",
       R"({"dependentSchemas":{"a":{"properties":{"b":{"type":"null"}}}}})",
       {R"({"b":1})", R"({"a":1,"b":null})", R"({"b":null,"a":1})"},
       {R"({"a":1,"b":1})", R"({"b":1,"a":1})"}},
      {"items",
       R"({"prefixItems":[{"type":"null"}],"items":{"type":"boolean"},"maxItems":3})",
       {"[]", "[null,true]", "[null,true,false]"},
       {"[true]", "[null,1]", "[null,true,true,true]"}},
      {"contains",
       R"({"contains":{"const":1},"minContains":2,"maxContains":3})",
       {"[1,0,1]", "[1,1,1,0]"},
       {"[1,0]", "[1,1,1,1]", "[]"}},
      {"uniqueItems",
       R"({"uniqueItems":true})",
       {R"([1,"1",[1],[1,1],{"a":1},{"a":2}])"},
       {"[1,1]", "[1,1.0]", "[[1],[1]]", R"([{"a":1,"b":2},{"b":2,"a":1}])", R"(["a","\u0061"])"}},
      {"notUnique",
       R"({"not":{"uniqueItems":true},"items":{"type":["integer","array"]}})",
       {"[1,2,1]", "[[2],3,[2]]"},
       {"[]", "[1,2]", "1", "[[1],[1,1]]"}},
      {"uniqueOfFew",
       R"({"items":{"enum":["a","b"]},"uniqueItems":true,"minItems":2})",
       {R"(["b","a"])"},
       {R"(["a"])", R"(["a","b","a"])"}},
      {"allOf",
       R"({"allOf":[{"required":["a"]},{"properties":{"a":{"type":"string"}}},
        {"properties":{"a":{"maxLength":1}}}]})",
       {R"({"a":"x"})"},
       {R"({"a":"xy"})", "{}"}},
      {"anyOf",
       R"({"anyOf":[{"required":["a"],"properties":{"a":{"const":1}}},{"required":["b"]}]})",
       {R"({"a":1})", R"({"a":2,"b":0})"},
       {R"({"a":2})", "{}"}},
      {"oneOf",
       R"({"oneOf":[{"required":["a"]},{"required":["b"]}]})",
       {R"({"a":1})", R"({"b":1,"c":1})"},
       {R"({"a":1,"b":1})", "{}"}},
      {"oneOfNumbers",
       R"({"oneOf":[{"type":"integer"},{"minimum":2}]})",
       {"1", "2.5", "-3"},
       {"3", "1.5"}},
      {"not",
       R"({"not":{"required":["a"],"properties":{"a":{"type":"string"}}}})",
       {R"({"a":1})", "{}"},
       {R"({"a":"x"})"}},
      {"ifThenElse",
       R"({"if":{"properties":{"k":{"const":"x"}},"required":["k"]},
        "then":{"required":["x"]},"else":{"required":["y"]}})",
       {R"({"k":"x","x":1})", R"({"x":0,"k":"x"})", R"({"k":"z","y":1})"},
       {R"({"k":"x","y":1})", R"({"k":"z","x":1})"}},
      {"unevaluatedProperties",
       R"({"anyOf":[{"properties":{"a":{"const":1}},"required":["a"]},
        {"properties":{"b":{}}}],"unevaluatedProperties":false})",
       {R"({"b":1})", R"({"a":1})", R"({"a":1,"b":2})", "{}"},
       {R"({"a":2})", R"({"c":1})", R"({"a":2,"b":1})"}},
      {"unevaluatedItems",
       R"({"prefixItems":[{}],"contains":{"type":"string"},
        "unevaluatedItems":{"type":"null"}})",
       {R"([1,"a",null])"},
       {R"([1,"a",2])", "[1,null]"}},
      {"recursion",
       R"({"$ref":"#/$defs/t","$defs":{"t":{"type":"object","required":["l"],
        "additionalProperties":false,
        "properties":{"l":{"anyOf":[{"type":"null"},{"$ref":"#/$defs/t"}]}}}}})",
       {R"({"l":{"l":null}})"},
       {R"({"l":{"l":1}})", R"({"l":{}})"}},
  };
  return kCases;
}

class Keyword : public testing::TestWithParam<KeywordCase> {};

TEST_P(Keyword, AllowsExactlyWhatItSays) {
  Documents documents(GetParam().schema);
  ASSERT_TRUE(documents.ok());
  for (const char* text : GetParam().accepted) EXPECT_TRUE(documents.accepts(text)) << text;
  for (const char* text : GetParam().refused) EXPECT_FALSE(documents.accepts(text)) << text;
}

INSTANTIATE_TEST_SUITE_P(All, Keyword, testing::ValuesIn(keyword_cases()),
                         [](const auto& one) { return std::string(one.param.name); });

TEST(Document, IsDeadWhereNothingCanComeOfIt) {
  Documents documents(R"({"type":"object","properties":{"a":{"enum":["xy","xz"]},"b":false},
    "required":["a"],"additionalProperties":false})");
  EXPECT_TRUE(documents.begins(R"({"a":"x)"));
  EXPECT_FALSE(documents.begins(R"({"b)"));
  EXPECT_FALSE(documents.begins(R"({"a":"y)"));
  EXPECT_FALSE(documents.begins("{}"));
  EXPECT_FALSE(documents.begins(R"({"a":"xy",)"));
}

TEST(Document, ATakenNameIsDeadBeforeItsQuote) {
  Documents documents(R"({"type":"object","patternProperties":{"^a?$":{}},
    "additionalProperties":false})");
  EXPECT_TRUE(documents.begins(R"({"":1,"a)"));
  EXPECT_FALSE(documents.begins(R"({"a":1,"a)"));
  EXPECT_FALSE(documents.begins(R"({"a":1,"":2,)"));
}

TEST(Document, AnItemThatWouldUseUpTheLastValueIsRefused) {
  Documents documents(R"({"prefixItems":[{"enum":["a","b"]},{"const":"a"}],"minItems":2,
    "uniqueItems":true,"type":"array"})");
  EXPECT_FALSE(documents.begins(R"(["a)"));
  EXPECT_TRUE(documents.accepts(R"(["b","a"])"));
}

TEST(Document, NothingSatisfiesThisSchema) {
  for (const char* schema :
       {"false", R"({"type":"object","required":["a"],"properties":{"a":false}})",
        R"({"type":"array","minItems":3,"uniqueItems":true,"items":{"type":"boolean"}})",
        R"({"$ref":"#/$defs/t","$defs":{"t":{"type":"object","required":["t"],
          "properties":{"t":{"$ref":"#/$defs/t"}}}}})"}) {
    Documents documents(schema);
    ASSERT_EQ(documents.findings.size(), 1U) << schema;
    EXPECT_NE(documents.findings[0].reason.find("nothing satisfies"), std::string::npos) << schema;
  }
}

TEST(Document, NamesComeInTheSchemasOrder) {
  Documents documents(R"({"type":"object","properties":{"b":{},"a":{},"c":{}},"required":["a"]})",
                      DocumentOptions{});
  EXPECT_TRUE(documents.accepts(R"({"b":1,"a":2,"c":3,"z":4,"y":5})"));
  EXPECT_TRUE(documents.accepts(R"({"a":2,"y":5})"));
  EXPECT_FALSE(documents.begins(R"({"a":1,"b)") && documents.accepts(R"({"a":1,"b":2})"));
  EXPECT_FALSE(documents.begins(R"({"c)") && documents.begins(R"({"c":)"));
  EXPECT_FALSE(documents.begins(R"({"z":)"));
}

TEST(Document, CompactHasNoBlanksAndFlexibleBoundsThem) {
  DocumentOptions flexible = Documents::any_order();
  flexible.whitespace = Whitespace::kFlexible;
  flexible.max_whitespace = 2;
  Documents loose(R"({"properties":{"a":{"items":{}}}})", flexible);
  EXPECT_TRUE(loose.accepts("{ \n\"a\" : [ 1 , 2 ] }"));
  EXPECT_FALSE(loose.begins("{   "));
  EXPECT_FALSE(loose.begins(" "));
  EXPECT_FALSE(loose.begins("{} "));
  EXPECT_FALSE(loose.begins("1 "));
  Documents compact("{}");
  EXPECT_FALSE(compact.begins("{ "));
}

TEST(Document, ANumberMayEndWhereItCouldGoOn) {
  Documents documents(R"({"type":"integer","minimum":10,"maximum":200})");
  EXPECT_FALSE(documents.accepts("1"));
  EXPECT_TRUE(documents.accepts("10"));
  EXPECT_TRUE(documents.begins("150"));
  EXPECT_FALSE(documents.begins("201"));
  EXPECT_TRUE(documents.recognizer().finished(documents.after("200")));
  EXPECT_FALSE(documents.recognizer().finished(documents.after("20")));
}

TEST(Document, DepthIsBoundedAndNeverATrap) {
  DocumentOptions options = Documents::any_order();
  options.max_depth = 2;
  Documents free("{}", options);
  EXPECT_TRUE(free.accepts("[[1]]"));
  EXPECT_FALSE(free.begins("[[["));
  // An x needs two more levels.
  Documents needy(R"({"properties":{"x":{"type":"array","minItems":1,"items":{"type":"array"}}}})",
                  options);
  EXPECT_FALSE(needy.begins(R"({"x)") && needy.begins(R"({"x")"));
  options.max_depth = 3;
  EXPECT_TRUE(Documents(R"({"properties":{"x":{"type":"array","minItems":1,
    "items":{"type":"array"}}}})",
                        options)
                  .accepts(R"({"x":[[]]})"));
}

TEST(Document, WhatIsForced) {
  DocumentOptions options;
  options.escapes = Escapes::kMinimal;
  Documents documents(
      R"({"type":"object","properties":{"kind":{"const":"cat"},"age":{"type":"integer"}},
    "required":["kind","age"],"additionalProperties":false})",
      options);
  EXPECT_EQ(documents.forced(""), R"({"kind":"cat","age":)");
  EXPECT_EQ(documents.completed(""), R"({"kind":"cat","age":0})");
}

TEST(Document, TheShortestRestEndsIt) {
  Documents documents(R"({"type":"object","required":["list"],"properties":{"list":{"type":"array",
    "minItems":2,"items":{"oneOf":[{"type":"string","minLength":2},{"type":"object",
    "required":["k"],"properties":{"k":{"const":5}}}]}}}})");
  for (const char* text : {"", "{", R"({"li)", R"({"list":[)", R"({"list":["\u00)",
                           R"({"list":[{"x":tr)", R"({"list":[{"k":5},)", R"({"other":{"a":[1.)"}) {
    EXPECT_TRUE(documents.accepts(documents.completed(text))) << text << documents.completed(text);
  }
}

TEST(Document, EqualPlacesHaveEqualMasks) {
  Documents documents(R"({"type":"object","properties":{"list":{"type":"array",
    "items":{"type":"string"}}}})");
  Recognizer& recognizer = documents.recognizer();
  const auto key = [&](std::string_view text) {
    return recognizer.mask_key(documents.after(text));
  };
  EXPECT_EQ(key(R"({"list":["ab)"), key(R"({"list":["xyz","q)"));
  EXPECT_EQ(key(R"({"list":[""],"u)"), key(R"({"list":["b"],"u)"));
  // A token may end one of these names and hold the other.
  EXPECT_FALSE(key(R"({"list":[""],"u)") == key(R"({"list":[""],"v)"));
  EXPECT_FALSE(key(R"({"list":["ab)") == key(R"({"list":["ab")"));
}

TEST(Document, ManyOptionalNamesStayCheap) {
  std::string schema = R"({"type":"object","additionalProperties":false,"properties":{)";
  for (int i = 0; i < 2000; ++i) {
    schema += (i ? "," : "") + ("\"name" + std::to_string(i)) + R"(":{"type":"integer"})";
  }
  schema += "}}";
  for (const PropertyOrder order : {PropertyOrder::kAny, PropertyOrder::kSchema}) {
    DocumentOptions options;
    options.property_order = order;
    Documents documents(schema, options);
    ASSERT_TRUE(documents.ok());
    EXPECT_TRUE(documents.accepts(R"({"name7":1,"name70":2,"name1999":3})"));
    EXPECT_FALSE(documents.begins(R"({"name7":1,"name7":)"));
    EXPECT_FALSE(documents.begins(R"({"name2)") && documents.begins(R"({"name2000)"));
  }
}

// Of 200 objects, each of its own kind: `before` and `after` stand around what the kind is.
std::string many_kinds(const std::string& keyword, const std::string& before,
                       const std::string& after) {
  std::string schema = R"({"type":"object",")" + keyword + "\":[";
  for (int i = 0; i < 200; ++i) {
    const std::string n = std::to_string(i);
    schema += (i ? "," : "") + (R"({"properties":{"kind":{)" + before + "k" + n) + after +
              R"(},"v)" + n + R"(":{"type":"integer"}},"required":["kind","v)" + n + R"("]})";
  }
  return schema + "]}";
}

TEST(Document, ManyBranchesAreToldApartByTheirDiscriminator) {
  for (const std::string& schema :
       {many_kinds("anyOf", R"("const":")", "\""), many_kinds("oneOf", R"("const":")", "\""),
        many_kinds("oneOf", R"("type":"string","pattern":"^)", "$\"")}) {
    const std::string keyword = schema.substr(0, 80);
    Documents documents(schema);
    ASSERT_TRUE(documents.ok()) << keyword;
    EXPECT_TRUE(documents.accepts(R"({"kind":"k7","v7":1})")) << keyword;
    EXPECT_TRUE(documents.accepts(R"({"v8":"x","v7":1,"kind":"k7"})")) << keyword;
    EXPECT_FALSE(documents.accepts(R"({"kind":"k7","v8":1})")) << keyword;
    EXPECT_FALSE(documents.begins(R"({"kind":"z)")) << keyword;
  }
}

// 729 alternatives, each with a name of its own that the others do not mind.
std::string nested_one_of(int depth, int& leaves) {
  if (depth == 0) {
    return R"({"type":"object","properties":{"k)" + std::to_string(leaves++) +
           R"(":{"type":"string"},"s":{"type":"integer"}},"required":["s"]})";
  }
  std::string alternatives;
  for (int i = 0; i < 3; ++i) {
    alternatives += (i == 0 ? "" : ",") + nested_one_of(depth - 1, leaves);
  }
  return R"({"oneOf":[)" + alternatives + "]}";
}

TEST(Document, WhatNoMemberCanSettleAnyMoreIsNotSearched) {
  DocumentOptions options;
  options.property_order = PropertyOrder::kSchema;
  int leaves = 0;
  Documents documents(nested_one_of(6, leaves), options);
  ASSERT_TRUE(documents.ok());
  const std::string text = documents.completed(R"({"s":1)");
  EXPECT_TRUE(documents.accepts(text)) << text;
}

// A pair of trees or a leaf: the pair comes first, and may nest as deep as there is room.
TEST(Document, WhatRefersToItselfTwiceIsCompletedByAShortText) {
  Documents documents(R"({"$ref":"#/$defs/tree","$defs":{"tree":{"type":"object","anyOf":[
    {"properties":{"left":{"$ref":"#/$defs/tree"},"right":{"$ref":"#/$defs/tree"}},
     "required":["left","right"]},
    {"properties":{"leaf":{"type":"string"}},"required":["leaf"]}]}}})");
  ASSERT_TRUE(documents.ok());
  for (const char* begun : {"{", R"({"left":)", R"({"left":1,)", R"({"other":[{"x":)"}) {
    const std::string text = documents.completed(begun);
    EXPECT_TRUE(documents.accepts(text)) << text.substr(0, 200);
    EXPECT_LT(text.size(), 100U) << text.substr(0, 200);
  }
}

}  // namespace
}  // namespace tessera::guided
