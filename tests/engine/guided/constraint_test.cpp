#include "engine/guided/constraint.hpp"

#include <gtest/gtest.h>

#include "tests/engine/guided/mask_fixture.hpp"

namespace tessera::guided {
namespace {

CompileError error_of(const ConstraintSpec& spec, const GuidedLimits& limits = {}) {
  auto made = compile_constraint(spec, toy_vocabulary(1), limits);
  auto* error = std::get_if<CompileError>(&made);
  if (!error) {
    ADD_FAILURE() << "compiles: " << spec.source;
    return {};
  }
  EXPECT_FALSE(error->findings.empty());
  return *error;
}

bool accepts(const std::shared_ptr<Constraint>& constraint, const Vocabulary& vocabulary,
             std::string_view text) {
  Matcher matcher(constraint);
  for (const TokenId id : vocabulary.encode(text)) {
    if (!matcher.accept(id)) return false;
  }
  return matcher.accepting();
}

TEST(Constraint, EqualSpecsHaveEqualKeysAndOthersOthers) {
  EXPECT_EQ(regex_spec("a").key(), regex_spec("a").key());
  std::vector<ConstraintSpec> specs = {regex_spec("a"), regex_spec("ab"), choice_spec({"ab"}),
                                       choice_spec({"a", "b"}), choice_spec({"a", "", "b"})};
  specs.push_back(specs[0]);
  specs.back().free_until = "</think>";
  specs.push_back(specs.back());
  specs.back().free_from = "<think>";
  specs.push_back(specs[0]);
  specs.back().free_until_token = 7;
  specs.push_back(specs[0]);
  specs.back().document.whitespace = Whitespace::kFlexible;
  specs.push_back(specs[0]);
  specs.back().schema.documents = {{"a", "b"}};
  specs.push_back(specs[0]);
  specs.back().kind = ConstraintKind::kTags;
  specs.back().tags.tags = {
      {"<a>", "</a>", std::make_shared<const ConstraintSpec>(regex_spec("x"))}};
  specs.push_back(specs.back());
  specs.back().tags.tags[0].body = std::make_shared<const ConstraintSpec>(regex_spec("y"));
  for (std::size_t i = 0; i < specs.size(); ++i) {
    for (std::size_t k = 0; k < i; ++k) EXPECT_NE(specs[i].key(), specs[k].key()) << i << " " << k;
  }
}

TEST(Constraint, AChoiceIsOneOfItsTexts) {
  const auto vocabulary = toy_vocabulary(1);
  const auto constraint = compiled(choice_spec({"foo", "foobar", "日本"}), vocabulary);
  for (const char* text : {"foo", "foobar", "日本"}) {
    EXPECT_TRUE(accepts(constraint, *vocabulary, text)) << text;
  }
  for (const char* text : {"", "fo", "foob", "foobarx", "日"}) {
    EXPECT_FALSE(accepts(constraint, *vocabulary, text)) << text;
  }
}

TEST(Constraint, AJsonObjectIsAnyObjectAndNothingElse) {
  const auto vocabulary = toy_vocabulary(1);
  const auto constraint = compiled({}, vocabulary);
  for (const char* text : {"{}", "{\"a\":[1,true]}", "{\"\":{\"x\":\"é\"}}"}) {
    EXPECT_TRUE(accepts(constraint, *vocabulary, text)) << text;
  }
  for (const char* text : {"[]", "1", "{\"a\"}", "{\"a\":1"}) {
    EXPECT_FALSE(accepts(constraint, *vocabulary, text)) << text;
  }
}

TEST(Constraint, AnErrorSaysWhatCanBeDoneAboutIt) {
  EXPECT_EQ(error_of(regex_spec("a(")).kind, CompileError::Kind::kInvalid);
  EXPECT_EQ(error_of(regex_spec("(a)\\1")).kind, CompileError::Kind::kUnsupported);
  EXPECT_EQ(error_of(choice_spec({})).kind, CompileError::Kind::kInvalid);
  GuidedLimits few;
  few.max_enum_values = 2;
  EXPECT_EQ(error_of(choice_spec({"a", "b", "c"}), few).kind, CompileError::Kind::kTooLarge);
  GuidedLimits small;
  small.max_source_bytes = 10;
  EXPECT_EQ(error_of(regex_spec("abcdefghijk"), small).kind, CompileError::Kind::kTooLarge);
  GuidedLimits dry;
  dry.compile_fuel = 0;
  ConstraintSpec schema;
  schema.kind = ConstraintKind::kJsonSchema;
  schema.source = R"({"required":["a"],"properties":{"a":{"pattern":"^(x|y)+$"}}})";
  EXPECT_EQ(error_of(schema, dry).kind, CompileError::Kind::kTooComplex);
}

TEST(Constraint, EveryChoiceThatIsNotUtf8IsTold) {
  const CompileError error = error_of(choice_spec({"a", "\xFF", "b", "\xC3"}));
  EXPECT_EQ(error.kind, CompileError::Kind::kInvalid);
  ASSERT_EQ(error.findings.size(), 2U);
  EXPECT_EQ(error.findings[0].pointer, "/1");
  EXPECT_EQ(error.findings[1].pointer, "/3");
}

TEST(Constraint, WhatMatchesNothingIsRefused) {
  EXPECT_EQ(error_of(regex_spec("a(?=b)c")).kind, CompileError::Kind::kUnsupported);
}

}  // namespace
}  // namespace tessera::guided
