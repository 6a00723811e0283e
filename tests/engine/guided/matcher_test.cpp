#include "engine/guided/matcher.hpp"

#include <algorithm>
#include <random>
#include <thread>

#include <gtest/gtest.h>

#include "tests/engine/guided/mask_fixture.hpp"

namespace tessera::guided {
namespace {

constexpr TokenId kEnd = 0;  // of toy vocabularies

TokenId token(const Vocabulary& vocabulary, std::string_view bytes) {
  for (TokenId id = 0; id < vocabulary.vocab_size(); ++id) {
    if (vocabulary.bytes(id) == bytes) return id;
  }
  ADD_FAILURE() << "no token " << bytes;
  return -1;
}

std::vector<TokenId> allowed(const TokenMask& mask) {
  std::vector<TokenId> ids;
  for (TokenId id = 0; id < mask.vocab_size(); ++id) {
    if (mask[id]) ids.push_back(id);
  }
  return ids;
}

TEST(Matcher, AcceptsExactlyTheTokensOfItsMask) {
  const auto vocabulary = toy_vocabulary(1);
  Matcher matcher(compiled(regex_spec("\"[^\"\\\\]{0,6}\"(,[01]+)*"), vocabulary));
  std::mt19937 random(5);
  for (int step = 0; step < 12 && !matcher.finished(); ++step) {
    const auto mask = matcher.mask();
    ASSERT_TRUE(mask);
    for (TokenId id = 0; id < vocabulary->vocab_size(); ++id) {
      const bool taken = matcher.accept(id);
      ASSERT_EQ(taken, (*mask)[id]) << id << " " << vocabulary->bytes(id);
      if (taken) matcher.rollback(1);
    }
    const auto ids = allowed(*mask);
    ASSERT_TRUE(matcher.accept(ids[random() % ids.size()]));
  }
}

TEST(Matcher, EndTokensAreAllowedWhereTheTextMayEndAndNothingFollowsThem) {
  const auto vocabulary = toy_vocabulary(1);
  Matcher matcher(compiled(regex_spec("ab?"), vocabulary));
  EXPECT_FALSE((*matcher.mask())[kEnd]);
  EXPECT_FALSE(matcher.accept(kEnd));
  ASSERT_TRUE(matcher.accept(token(*vocabulary, "a")));
  EXPECT_TRUE(matcher.accepting());
  EXPECT_FALSE(matcher.finished());
  EXPECT_TRUE((*matcher.mask())[kEnd]);
  ASSERT_TRUE(matcher.accept(kEnd));
  EXPECT_TRUE(matcher.finished());
  EXPECT_EQ(allowed(*matcher.mask()), std::vector<TokenId>{kEnd});
  EXPECT_FALSE(matcher.accept(token(*vocabulary, "b")));
  matcher.rollback(1);
  ASSERT_TRUE(matcher.accept(token(*vocabulary, "b")));
  EXPECT_TRUE(matcher.finished());
  EXPECT_EQ(allowed(*matcher.mask()), std::vector<TokenId>{kEnd});
}

TEST(Matcher, PadsAndSpecialTokensAreNeverAllowed) {
  const auto vocabulary = toy_vocabulary(2);
  Matcher matcher(compiled(regex_spec("[\\s\\S]*"), vocabulary));
  const auto mask = matcher.mask();
  EXPECT_FALSE((*mask)[1]);
  for (int i = 1; i <= 30; ++i) EXPECT_FALSE((*mask)[vocabulary->vocab_size() - i]);
  EXPECT_FALSE(matcher.accept(1));
  EXPECT_FALSE(matcher.accept(vocabulary->vocab_size() - 1));
  EXPECT_FALSE(matcher.accept(-1));
}

// Masks are made when they are asked for, and none at compile time.
const GuidedLimits kNoTrial = [] {
  GuidedLimits limits;
  limits.trial_fuel = 0;
  return limits;
}();

TEST(Matcher, CompilingHasMadeTheFirstMask) {
  const auto vocabulary = toy_vocabulary(3);
  Matcher matcher(compiled(regex_spec("[a-z]*"), vocabulary));
  EXPECT_NE(matcher.ready_mask(), nullptr);
}

TEST(Matcher, EqualStatesShareOneMask) {
  const auto vocabulary = toy_vocabulary(3);
  const auto constraint = compiled(regex_spec("[a-z]*"), vocabulary, kNoTrial);
  Matcher one(constraint);
  Matcher other(constraint);
  EXPECT_EQ(one.ready_mask(), nullptr);
  const auto mask = one.mask();
  EXPECT_EQ(other.ready_mask(), mask);
  ASSERT_TRUE(other.accept(token(*vocabulary, "foo")));
  EXPECT_EQ(other.mask(), mask);
}

// Random ways forward and back: the mask is the one of a matcher that went there directly.
TEST(Matcher, RollbackIsAsIfTheTokensHadNeverBeen) {
  const auto vocabulary = toy_vocabulary(4);
  const auto constraint = compiled(regex_spec("(foo|[ab]{2,9}|\"[^\"]{0,12}\")+[01]?"), vocabulary);
  for (unsigned seed = 0; seed < 20; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937 random(seed);
    Matcher matcher(constraint);
    std::vector<TokenId> path;
    for (int step = 0; step < 40; ++step) {
      if (!path.empty() && random() % 3 == 0) {
        const auto back = 1 + random() % std::min<std::size_t>(path.size(), 8);
        matcher.rollback(static_cast<int>(back));
        path.resize(path.size() - back);
      } else {
        auto ids = allowed(*matcher.mask());
        std::erase(ids, kEnd);
        if (ids.empty()) continue;
        path.push_back(ids[random() % ids.size()]);
        ASSERT_TRUE(matcher.accept(path.back()));
      }
      Matcher direct(constraint);
      for (const TokenId id : path) ASSERT_TRUE(direct.accept(id));
      ASSERT_EQ(*matcher.mask(), *direct.mask());
      ASSERT_EQ(matcher.accepting(), direct.accepting());
    }
  }
}

TEST(Matcher, AFullEpochIsFollowedByAFreshOneWithTheSameMasks) {
  const auto vocabulary = toy_vocabulary(5);
  const ConstraintSpec spec = regex_spec("([ab]{1,40}[01]{1,40}[.]){1,50}");
  GuidedLimits limits;
  limits.max_constraint_bytes = std::size_t{96} << 10;
  const auto small = compiled(spec, vocabulary, limits);
  const auto ample = compiled(spec, vocabulary);
  std::mt19937 random(1);
  for (int i = 0; i < 6; ++i) {
    Matcher tight(small);
    Matcher free(ample);
    for (int step = 0; step < 60; ++step) {
      const auto expected = free.mask();
      const auto mask = tight.mask();
      if (!mask) break;  // one sequence's own way is longer than the limit
      ASSERT_EQ(*mask, *expected);
      auto ids = allowed(*mask);
      std::erase(ids, kEnd);
      if (ids.empty()) break;
      const TokenId id = ids[random() % ids.size()];
      ASSERT_TRUE(free.accept(id));
      if (!tight.accept(id)) break;
    }
  }
  EXPECT_GT(small->num_epochs(), 1);
  EXPECT_EQ(ample->num_epochs(), 1);
}

TEST(Matcher, WithoutFuelThereIsNoMaskAndWithItThereIs) {
  const auto vocabulary = toy_vocabulary(6);
  Matcher matcher(compiled(regex_spec("([ab]{1,9}c?){3,9}[01]*"), vocabulary, kNoTrial));
  EXPECT_EQ(matcher.mask(/*fuel=*/1), nullptr);
  EXPECT_TRUE(matcher.mask());
}

// Several threads on one constraint, each along its own way: every mask as if it were alone.
TEST(Matcher, SequencesOfOneConstraintDoNotDisturbEachOther) {
  const auto vocabulary = toy_vocabulary(7);
  const ConstraintSpec spec = regex_spec("(\"[^\"\\\\]{1,20}\",|[0-9]{1,6};|true )+");
  const auto shared = compiled(spec, vocabulary);
  std::vector<std::thread> threads;
  std::vector<int> wrong(4, 0);
  for (unsigned t = 0; t < wrong.size(); ++t) {
    threads.emplace_back([&, t] {
      const auto alone = compiled(spec, vocabulary);
      std::mt19937 random(t);
      for (int i = 0; i < 8; ++i) {
        Matcher matcher(shared);
        Matcher reference(alone);
        for (int step = 0; step < 25; ++step) {
          const auto expected = reference.mask();
          const auto ready = matcher.ready_mask();
          wrong[t] += ready && !(*ready == *expected) ? 1 : 0;
          wrong[t] += *matcher.mask() == *expected ? 0 : 1;
          auto ids = allowed(*expected);
          std::erase(ids, kEnd);
          const TokenId id = ids[random() % ids.size()];
          wrong[t] += matcher.accept(id) && reference.accept(id) ? 0 : 1;
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, std::vector<int>(4, 0));
}

TEST(Matcher, TheFirstSpaceOfASentencePieceTextIsNoPartOfIt) {
  const auto tokenizer = small_tokenizer("spm_prepend");
  const auto vocabulary = vocabulary_of_tokenizer(tokenizer, {});
  const auto ids = tokenizer->encode("the", {.parse_special = false});
  Matcher matcher(compiled(regex_spec("the( the)?"), vocabulary));
  for (const TokenId id : ids) {
    ASSERT_TRUE((*matcher.mask())[id]);
    ASSERT_TRUE(matcher.accept(id));
  }
  EXPECT_TRUE(matcher.accepting());
  Matcher spaced(compiled(regex_spec(" the"), vocabulary));
  if (vocabulary->bytes(ids.front()).starts_with(" t")) {
    EXPECT_FALSE((*spaced.mask())[ids.front()]);
    EXPECT_FALSE(spaced.accept(ids.front()));
  }
}

// Takes what is forced and else a random token of a canonical text of the language; at each place
// what was generated with what is forced must begin the tokenizer's own ids of the whole text.
void expect_canonical(const Vocabulary& vocabulary, const std::shared_ptr<Constraint>& constraint,
                      const std::string& text, std::size_t* num_forced) {
  const std::vector<TokenId> whole = vocabulary.encode(text);
  Matcher matcher(constraint);
  for (std::size_t at = 0; at < whole.size(); ++at) {
    const std::vector<TokenId> forced = matcher.forced_tokens();
    *num_forced += forced.size();
    ASSERT_LE(at + forced.size(), whole.size()) << text;
    EXPECT_TRUE(
        std::equal(forced.begin(), forced.end(), whole.begin() + static_cast<std::ptrdiff_t>(at)))
        << text << " at token " << at;
    ASSERT_TRUE(matcher.accept(whole[at])) << text << " at token " << at;
  }
  EXPECT_TRUE(matcher.accepting());
}

void expect_forced_tokens_are_canonical(std::shared_ptr<const Vocabulary> vocabulary) {
  const auto constraint = compiled(
      regex_spec("\\{\"name\":\"[a-zA-Z ]*\",\"description\":(null|\"[a-z ]*\"),\"count\":[0-9]+,"
                 "\"kind\":\"(alpha|alphabet|beta)\"\\}( {0,3}the end| there)"),
      vocabulary);
  std::size_t num_forced = 0;
  for (const std::string name : {"", "Ada", "the name", " x"}) {
    for (const std::string kind : {"alpha", "alphabet", "beta"}) {
      for (const std::string rest : {"the end", "   the end", " there", " the end"}) {
        const std::string described = name.size() % 2 == 0 ? "null" : "\"a word\"";
        expect_canonical(*vocabulary, constraint,
                         "{\"name\":\"" + name + "\",\"description\":" + described +
                             ",\"count\":1234,\"kind\":\"" + kind + "\"}" + rest,
                         &num_forced);
      }
    }
  }
  EXPECT_GT(num_forced, 100U);
}

TEST(Matcher, ForcedTokensAreTheTokenizersOwnWhateverFollows) {
  for (const char* name : {"llama_style", "o200k_style"}) {
    SCOPED_TRACE(name);
    expect_forced_tokens_are_canonical(vocabulary_of_tokenizer(small_tokenizer(name), {}));
  }
}

TEST(Matcher, ForcedTokensAreTheTokenizersOwnWhateverFollowsInLlama3) {
  const auto vocabulary = llama3_vocabulary();
  if (!vocabulary) GTEST_SKIP() << "no Llama 3 tokenizer in the shared data";
  expect_forced_tokens_are_canonical(vocabulary);
}

TEST(Matcher, TheShortestCompletionEndsTheText) {
  const auto vocabulary = toy_vocabulary(8);
  Matcher matcher(compiled(regex_spec("\"[a-z]{3,9}\"(,\"[01]+\")*"), vocabulary));
  ASSERT_TRUE(matcher.accept(token(*vocabulary, "\"")));
  const auto rest = matcher.shortest_completion();
  EXPECT_FALSE(rest.empty());
  for (const TokenId id : rest) ASSERT_TRUE(matcher.accept(id));
  EXPECT_TRUE(matcher.accepting());
  EXPECT_TRUE(matcher.shortest_completion().empty());
}

}  // namespace
}  // namespace tessera::guided
