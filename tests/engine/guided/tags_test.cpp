#include <cstdint>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "engine/guided/tag_recognizer.hpp"
#include "engine/guided/tag_triggers.hpp"
#include "engine/guided/token_mask.hpp"
#include "engine/guided/vocabulary.hpp"
#include "tests/engine/guided/grammar_fixture.hpp"

namespace tessera::guided {
namespace {

// Bodies are GBNF grammars: the text of each is its `source`.
std::shared_ptr<const ConstraintSpec> body(std::string gbnf) {
  return std::make_shared<ConstraintSpec>(
      ConstraintSpec{.kind = ConstraintKind::kGbnf, .source = std::move(gbnf)});
}

const std::string kNumber = "root ::= [0-9]+";
const std::string kNested = "root ::= \"[\" root* \"]\"";
constexpr TokenId kCall = 900;  // special tokens
constexpr TokenId kCallEnd = 901;
constexpr TokenId kThinkEnd = 902;
constexpr TokenId kOther = 903;

struct TagFixture {
  explicit TagFixture(const TagRules& rules) {
    make_body = [this](const ConstraintSpec& spec) {
      ++bodies_made;
      return make_gbnf_recognizer(spec.source, base.pool, base.fuel, base.limits);
    };
    auto made =
        make_tag_recognizer(rules, {kCall, kCallEnd, kOther}, make_body, base.fuel, base.limits);
    base.fuel.refill(base.limits.mask_fuel);
    if (auto* wrong = std::get_if<GuidedFindings>(&made)) {
      base.findings = std::move(*wrong);
    } else {
      recognizer = std::get<std::unique_ptr<Recognizer>>(std::move(made));
    }
  }
  bool accepts(std::string_view text) { return guided::accepts(*recognizer, text); }
  bool live(std::string_view text) { return guided::live(*recognizer, text); }
  std::string rest(std::string_view text) {
    return recognizer->shortest_rest(read(*recognizer, text));
  }

  GrammarFixture base;
  BodyRecognizerMaker make_body;
  int bodies_made = 0;
  std::unique_ptr<Recognizer> recognizer;
};

TagRules two_tools() {
  return {.triggers = {"<f="},
          .tags = {{.begin = "<f=num>", .end = "</f>", .body = body(kNumber)},
                   {.begin = "<f=list>", .end = "</f>", .body = body(kNested)}}};
}

TEST(Tags, FreeTextExcludesNothingButABrokenTag) {
  TagFixture tags(two_tools());
  EXPECT_TRUE(tags.accepts(""));
  EXPECT_TRUE(tags.accepts("any <text, \xFF\x80 and <f <<f </f>"));
  EXPECT_TRUE(tags.accepts("one <f=num>12</f> and <f=list>[[][]]</f>."));
  EXPECT_FALSE(tags.accepts("<f="));
  EXPECT_TRUE(tags.live("<f="));
  EXPECT_FALSE(tags.live("<f=x"));
  EXPECT_FALSE(tags.live("<f=num></f>"));
  EXPECT_FALSE(tags.live("<<f=list>]"));
  EXPECT_FALSE(tags.accepts("<f=num>1</f"));
  EXPECT_FALSE(tags.live("<f=num>1</g"));
}

TEST(Tags, ATextThatIsAskedForATagCannotEndWithoutOne) {
  TagRules rules = two_tools();
  rules.at_least_one = true;
  TagFixture tags(rules);
  EXPECT_FALSE(tags.accepts("no tag"));
  EXPECT_TRUE(tags.accepts("a tag: <f=num>1</f> and more"));
  EXPECT_EQ(tags.rest(""), "<f=num>0</f>");
  EXPECT_EQ(tags.rest("<f=l"), "ist>[]</f>");
  EXPECT_TRUE(tags.accepts("x <f" + tags.rest("x <f")));
  EXPECT_EQ(tags.rest("<f=num>7</f>"), "");
}

TEST(Tags, NothingFollowsTheFirstTagWhereOneIsEnough) {
  TagRules rules = two_tools();
  rules.stop_after_first = true;
  TagFixture tags(rules);
  const Position end = read(*tags.recognizer, "well: <f=num>1</f>");
  EXPECT_TRUE(tags.recognizer->finished(end));
  EXPECT_FALSE(tags.live("well: <f=num>1</f> "));
  EXPECT_TRUE(tags.accepts("well"));
}

TEST(Tags, WithoutFreeTextThereAreTagsAndSeparatorsOnly) {
  TagRules rules = two_tools();
  rules.free_text = false;
  rules.at_least_one = true;
  rules.separator = ", ";
  TagFixture tags(rules);
  EXPECT_FALSE(tags.accepts(""));
  EXPECT_FALSE(tags.live("x"));
  EXPECT_TRUE(tags.accepts("<f=num>1</f>"));
  EXPECT_TRUE(tags.accepts("<f=num>1</f>, <f=list>[]</f>"));
  EXPECT_FALSE(tags.accepts("<f=num>1</f>, "));
  EXPECT_FALSE(tags.live("<f=num>1</f> "));
  EXPECT_TRUE(tags.accepts("<f=num>1</f>," + tags.rest("<f=num>1</f>,")));
  EXPECT_EQ(tags.recognizer->forced(read(*tags.recognizer, "")), std::uint8_t{'<'});
  rules.separator = "";
  rules.at_least_one = false;
  TagFixture plain(rules);
  EXPECT_TRUE(plain.accepts("<f=num>1</f><f=num>2</f>"));
  EXPECT_TRUE(plain.accepts(""));
}

TEST(Tags, SpecialTokensOpenAndCloseThem) {
  TagRules rules;
  rules.tags = {
      {.begin = "num:", .end = "!", .body = body(kNumber), .begin_token = kCall},
      {.begin = "", .end = "", .body = body(kNested), .begin_token = kCall, .end_token = kCallEnd}};
  rules.at_least_one = true;
  TagFixture tags(rules);
  Recognizer& recognizer = *tags.recognizer;
  const Position text = read(recognizer, "let me see ");
  EXPECT_FALSE(recognizer.step_special(text, kOther).dead());
  EXPECT_TRUE(recognizer.step_special(text, kThinkEnd).dead());
  TokenMask mask(1000);
  recognizer.add_special(text, mask);
  EXPECT_TRUE(mask[kCall] && mask[kOther] && mask[kCallEnd]);
  EXPECT_FALSE(mask[kThinkEnd]);

  const Position call = recognizer.step_special(text, kCall);
  ASSERT_FALSE(call.dead());
  EXPECT_TRUE(recognizer.accepting(read(recognizer, "num:42!", call)));
  const Position list = read(recognizer, "[[]]", call);
  EXPECT_FALSE(recognizer.accepting(list));
  TokenMask end(1000);
  recognizer.add_special(list, end);
  EXPECT_TRUE(end[kCallEnd]);
  EXPECT_FALSE(end[kOther]);
  EXPECT_TRUE(recognizer.accepting(recognizer.step_special(list, kCallEnd)));
  EXPECT_TRUE(recognizer.step_special(call, kCallEnd).dead());
}

TEST(Tags, AllReadingsOfAnAmbiguousTextAreFollowed) {
  // A body that may contain its own end, and a begin that is a prefix of another.
  TagFixture tags({.triggers = {"<"},
                   .tags = {{.begin = "<a", .end = ">", .body = body("root ::= [a-z>]+")},
                            {.begin = "<ab", .end = "]", .body = body(kNumber)}},
                   .stop_after_first = true});
  EXPECT_TRUE(tags.accepts("<ab>"));
  EXPECT_TRUE(tags.accepts("<ab>>"));
  EXPECT_TRUE(tags.accepts("<a>>"));
  EXPECT_TRUE(tags.accepts("<ab12]"));
  EXPECT_FALSE(tags.live("<abc1"));
  EXPECT_FALSE(tags.live("<a1"));
}

TEST(Tags, TriggersWithinEachOtherAreAllSeen) {
  TagFixture tags({.triggers = {"<<x", "<x"},
                   .tags = {{.begin = "<<x1", .end = ";", .body = body(kNumber)},
                            {.begin = "<x2", .end = ";", .body = body(kNumber)}}});
  EXPECT_TRUE(tags.accepts("<<x10;"));
  EXPECT_TRUE(tags.accepts("<<<x10;"));
  EXPECT_TRUE(tags.accepts("<<x20;"));
  EXPECT_TRUE(tags.accepts(".<x20;"));
  EXPECT_FALSE(tags.live(".<x1"));
}

TEST(Tags, WhatCanNeverBeMetIsToldBeforeAnythingIsGenerated) {
  TagRules rules = two_tools();
  rules.triggers.push_back("{never");
  rules.tags[1].body = body("root ::= nosuch");
  rules.tags.push_back({.begin = "", .end = "", .body = body(kNumber)});
  rules.tags.push_back({.begin = "<f=", .end = "", .body = nullptr});
  TagFixture tags(rules);
  EXPECT_EQ(tags.base.places(),
            "/triggers/1 triggers\n/tags/2 begin\n/tags/1/1:10 nosuch\n/tags/3 body\n");

  TagFixture hidden({.triggers = {"<call>", "all"},
                     .tags = {{.begin = "<call>", .end = ".", .body = body(kNumber)},
                              {.begin = "all:", .end = ".", .body = body(kNumber)}}});
  EXPECT_EQ(hidden.base.places(), "/tags/0 begin\n");
}

TEST(Tags, ABodyIsMadeOnceForAllTagsThatShareIt) {
  TagRules rules;
  rules.triggers = {"<"};
  const auto shared = body(kNumber);
  for (int i = 0; i < 500; ++i)
    rules.tags.push_back({.begin = "<t" + std::to_string(i) + ">", .end = ">", .body = shared});
  TagFixture tags(rules);
  EXPECT_EQ(tags.bodies_made, 1);
  EXPECT_TRUE(tags.accepts("<t499>1> <t0>2>"));
  EXPECT_FALSE(tags.live("<t500"));
}

// Against a search for the trigger by hand, in free text that is full of beginnings of triggers.
TEST(Tags, FreeTextAgreesWithASearchOnRandomTexts) {
  TagFixture tags({.triggers = {"aab", "aba"},
                   .tags = {{.begin = "aab", .end = "c", .body = body(kNumber)},
                            {.begin = "aba", .end = "c", .body = body(kNumber)}}});
  std::mt19937_64 random(7);
  for (int round = 0; round < 3000; ++round) {
    std::string text;
    for (int i = 0; i < 12; ++i) text += "aabc1"[random() % 5];
    bool expected = true;
    for (std::size_t at = 0; at < text.size() && expected;) {
      const std::size_t first = std::min(text.find("aab", at), text.find("aba", at));
      if (first == text.npos) break;
      at = first + 3;
      const std::size_t digits = at;
      while (at < text.size() && text[at] == '1') ++at;
      expected = at > digits && at < text.size() && text[at] == 'c';
      ++at;
    }
    ASSERT_EQ(tags.accepts(text), expected) << text;
  }
}

TEST(FreeUntil, ReadsUpToTheFirstEndAndThenTheConstraint) {
  GrammarFixture grammar;
  ASSERT_NE(grammar.gbnf(kNested), nullptr);
  const auto recognizer = make_free_until_recognizer(
      {.until = "</think>", .until_token = kThinkEnd, .free_tokens = {kOther}},
      std::move(grammar.recognizer));
  EXPECT_TRUE(accepts(*recognizer, "so </thin </think>[[]]"));
  EXPECT_FALSE(live(*recognizer, "so </think>x"));
  EXPECT_FALSE(accepts(*recognizer, "[]"));
  const Position thinking = read(*recognizer, "hm [");
  EXPECT_TRUE(accepts(*recognizer, "hm [" + recognizer->shortest_rest(thinking)));
  EXPECT_EQ(recognizer->shortest_rest(read(*recognizer, "hm </th")), "ink>[]");
  EXPECT_FALSE(recognizer->step_special(thinking, kOther).dead());
  EXPECT_TRUE(recognizer->step_special(thinking, kCall).dead());
  const Position after = recognizer->step_special(thinking, kThinkEnd);
  EXPECT_TRUE(recognizer->accepting(read(*recognizer, "[]", after)));
  TokenMask mask(1000);
  recognizer->add_special(thinking, mask);
  EXPECT_TRUE(mask[kThinkEnd] && mask[kOther]);
}

TEST(FreeUntil, AModelMayOpenItOrNot) {
  GrammarFixture grammar;
  ASSERT_NE(grammar.gbnf(kNested), nullptr);
  const auto recognizer =
      make_free_until_recognizer({.from = "<think>", .until = "</think>", .free_tokens = {kOther}},
                                 std::move(grammar.recognizer));
  EXPECT_TRUE(accepts(*recognizer, "[[]]"));
  EXPECT_TRUE(accepts(*recognizer, "<think>so</think>[[]]"));
  EXPECT_FALSE(accepts(*recognizer, "<think>so"));
  EXPECT_FALSE(live(*recognizer, "<thank"));
  EXPECT_FALSE(live(*recognizer, "[<think>"));                        // too late
  EXPECT_FALSE(live(*recognizer, "<think></think><think></think>"));  // once
  EXPECT_EQ(recognizer->shortest_rest(recognizer->start()), "[]");
  EXPECT_EQ(recognizer->shortest_rest(read(*recognizer, "<th")), "ink></think>[]");
  EXPECT_EQ(recognizer->shortest_rest(read(*recognizer, "<think>hm")), "</think>[]");
  EXPECT_EQ(recognizer->forced(recognizer->start()), std::nullopt);
  EXPECT_EQ(recognizer->forced(read(*recognizer, "<")), 't');
  EXPECT_TRUE(recognizer->step_special(recognizer->start(), kOther).dead());
  EXPECT_FALSE(recognizer->step_special(read(*recognizer, "<think>"), kOther).dead());
}

// What opens it and what the constraint begins with may have a beginning in common.
TEST(FreeUntil, TheConstraintMayBeginLikeTheOpening) {
  GrammarFixture grammar;
  ASSERT_NE(grammar.gbnf(R"(root ::= "<tool>" | "<t" | "")"), nullptr);
  const auto recognizer = make_free_until_recognizer({.from = "<think>", .until = "</think>"},
                                                     std::move(grammar.recognizer));
  for (const char* text : {"", "<t", "<tool>", "<think></think>", "<think>?</think><tool>"}) {
    EXPECT_TRUE(accepts(*recognizer, text)) << text;
  }
  for (const char* text : {"<", "<to", "<th", "<think>"}) {
    EXPECT_TRUE(live(*recognizer, text) && !accepts(*recognizer, text)) << text;
  }
  for (const char* text : {"<a", "<tool><think>", "<thi<"}) EXPECT_FALSE(live(*recognizer, text));
  EXPECT_EQ(recognizer->forced(read(*recognizer, "<")), 't');
  EXPECT_EQ(recognizer->forced(read(*recognizer, "<t")), std::nullopt);
  EXPECT_FALSE(recognizer->finished(read(*recognizer, "<t")));
  EXPECT_EQ(recognizer->shortest_rest(read(*recognizer, "<t")), "");
  EXPECT_EQ(recognizer->shortest_rest(read(*recognizer, "<")), "t");
}

// A mask says of each token what its bytes say.
void expect_exact_mask(Recognizer& recognizer, Position position, const Vocabulary& vocabulary,
                       const std::vector<std::string>& tokens) {
  TokenMask mask(vocabulary.vocab_size());
  recognizer.fill(position, vocabulary, mask);
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    const Position end = read(recognizer, tokens[i], position);
    ASSERT_EQ(mask[static_cast<TokenId>(i)], !end.dead()) << "'" << tokens[i] << "'";
  }
}

TEST(Tags, MasksAreWhatTheBytesSay) {
  std::vector<std::string> tokens;
  for (int byte = 0; byte < 256; ++byte) tokens.emplace_back(1, static_cast<char>(byte));
  std::mt19937_64 random(3);
  const std::string alphabet = "<<ff==num>>1]/[é x";
  for (int i = 0; i < 20'000; ++i) {
    std::string token;
    for (std::size_t n = 2 + random() % 8; token.size() < n;)
      token += alphabet[random() % alphabet.size()];
    tokens.push_back(token);
  }
  for (const char* token : {"<f=", "<f=num>", "1</f>", "]</f>", "1</f> <f=num>2", "</f><f=list>[["})
    tokens.emplace_back(token);
  VocabularyTokens made;
  made.bytes = tokens;
  made.special.resize(tokens.size());
  made.vocab_size = static_cast<int>(tokens.size());
  const Vocabulary vocabulary(std::move(made));
  TagFixture tags(two_tools());
  GrammarFixture nested;
  ASSERT_NE(nested.gbnf(kNested), nullptr);
  const auto until = make_free_until_recognizer({.until = "==>"}, std::move(nested.recognizer));
  for (const char* text : {"", "<", "a <f", "<f=", "<f=num>", "<f=num>1", "<f=num>1<", "<f=list>[",
                           "<f=list>[[]]", "<f=list>[[]]</f>"}) {
    SCOPED_TRACE(text);
    tags.base.fuel.refill(100'000'000);
    expect_exact_mask(*tags.recognizer, read(*tags.recognizer, text), vocabulary, tokens);
  }
  for (const char* text : {"", "=", "x==", "==>[", "==>[]"}) {
    SCOPED_TRACE(text);
    nested.fuel.refill(100'000'000);
    expect_exact_mask(*until, read(*until, text), vocabulary, tokens);
  }
  GrammarFixture optional;
  ASSERT_NE(optional.gbnf(R"(root ::= "<f" [0-9]* "]" | "[" [^x]* "]")"), nullptr);
  const auto opened =
      make_free_until_recognizer({.from = "<f=", .until = ">>"}, std::move(optional.recognizer));
  for (const char* text : {"", "<", "<f", "<f1", "[", "[é", "<f=", "<f=x>", "<f=>>", "<f=>>["}) {
    SCOPED_TRACE(text);
    optional.fuel.refill(100'000'000);
    expect_exact_mask(*opened, read(*opened, text), vocabulary, tokens);
  }
}

}  // namespace
}  // namespace tessera::guided
