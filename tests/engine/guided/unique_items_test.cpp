// Items that are compared, together with all else that is asked of them: what can be met is found
// without trying one value after the other, and what cannot is refused.

#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/engine/guided/document_fixture.hpp"

namespace tessera::guided {
namespace {

struct UniqueCase {
  const char* name;
  const char* schema;
  std::vector<std::string> documents;
  std::vector<std::string> others;  // that are none
};

std::ostream& operator<<(std::ostream& out, const UniqueCase& one) {
  return out << one.name;
}

const std::vector<UniqueCase>& cases() {
  static const std::vector<UniqueCase> all{
      {"NotAllOfAKind",
       R"({"type":"array","uniqueItems":true,"not":{"items":{"type":"null"}}})",
       {"[0]", "[null,0]", "[0,null]"},
       {"[]", "[null]", "[0,0]"}},
      {"NotAllArrays",
       R"({"type":"array","uniqueItems":true,"not":{"items":{"type":"array","items":{}}}})",
       {"[0]", "[[],0]", "[[],[0],0]"},
       {"[]", "[[]]", "[[],[],0]"}},
      {"EitherWay",
       R"({"uniqueItems":true,"minItems":2,"maxItems":2,
           "anyOf":[{"items":{"type":"array","items":{"type":"integer"}}},
                    {"not":{"items":{"type":"array","items":{"type":"integer"}}}}]})",
       {"[[],[15]]", "[0,1]", "[[\"a\"],1]"},
       {"[[],[]]", "[0]"}},
      {"WhereOneMayHaveToGiveWay",
       R"({"type":"array","uniqueItems":true,"minItems":2,
           "prefixItems":[{"enum":[1]},{"enum":[1,2]}]})",
       {"[1,2]"},
       {"[1,1]", "[1]"}},
      {"AllOfThreeValues",
       R"({"type":"array","uniqueItems":true,"minItems":3,"items":{"enum":[1,2,3]}})",
       {"[1,2,3]", "[3,1,2]"},
       {"[1,2]", "[1,2,1]"}},
      {"ContainsWhatMayNotComeAgain",
       R"({"type":"array","uniqueItems":true,"contains":{"type":"null"}})",
       {"[null]", "[null,1]", "[1,null]"},
       {"[]", "[1]", "[null,null]"}},
      {"ExactlyOneOfShortAndDistinct",
       R"({"type":"array","oneOf":[{"maxItems":1},{"uniqueItems":true}]})",
       {"[0,1]", "[\"\",0,null]"},
       {"[]", "[0]", "[0,0]"}},
      {"TwoEqualOnes",
       R"({"type":"array","not":{"uniqueItems":true},
           "prefixItems":[{"type":"string"},{"type":"number"},{"enum":["b",null]}],
           "items":{"enum":["xyz",false]}})",
       {R"(["b",0,"b"])", R"(["xyz",0,null,"xyz"])", R"(["",0,null,false,false])"},
       {R"(["",0,null,"xyz",false])", R"(["",0,"b"])"}},
      {"WhatTheConditionSaysOfBoth",
       R"({"if":{"type":"array","uniqueItems":true,
                 "anyOf":[{"items":{"type":"number"}},{"type":"string"}]},
           "then":false,"else":{"type":"array","uniqueItems":true}})",
       {"[\"\"]", "[0,null]"},
       {"[]", "[0]", "[null,null]"}},
  };
  return all;
}

class UniqueItems : public testing::TestWithParam<UniqueCase> {};

TEST_P(UniqueItems, AreToldApartFromWhatTheyAreNot) {
  Documents documents(GetParam().schema);
  ASSERT_TRUE(documents.ok()) << documents.findings.front().reason;
  for (const std::string& text : GetParam().documents) EXPECT_TRUE(documents.accepts(text)) << text;
  for (const std::string& text : GetParam().others) EXPECT_FALSE(documents.accepts(text)) << text;
}

TEST_P(UniqueItems, CanBeEndedFromEverywhereOnTheWay) {
  Documents documents(GetParam().schema);
  ASSERT_TRUE(documents.ok()) << documents.findings.front().reason;
  for (const std::string& text : GetParam().documents) {
    for (std::size_t read = 0; read <= text.size(); ++read) {
      const std::string whole = documents.completed(text.substr(0, read));
      EXPECT_TRUE(documents.accepts(whole)) << text.substr(0, read) << " goes on as " << whole;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Documents, UniqueItems, testing::ValuesIn(cases()),
                         [](const auto& one) { return std::string(one.param.name); });

TEST(UniqueItemsThatCannotBe, AreRefused) {
  for (const char* schema :
       {R"({"type":"array","not":{"uniqueItems":true},
            "prefixItems":[{"type":"string"},{"type":"number"}],"items":false})",
        R"({"type":"array","uniqueItems":true,"minItems":3,"items":{"enum":[1,2]}})",
        R"({"type":"array","not":{"uniqueItems":true},"maxItems":1})"}) {
    Documents documents(schema);
    ASSERT_FALSE(documents.ok()) << schema;
    EXPECT_EQ(documents.findings.front().reason, "nothing satisfies this schema") << schema;
  }
}

}  // namespace
}  // namespace tessera::guided
