#include "engine/guided/token_walk.hpp"

#include <gtest/gtest.h>

#include "engine/guided/ecma_regex.hpp"
#include "engine/guided/text_recognizer.hpp"
#include "tests/engine/guided/mask_fixture.hpp"

namespace tessera::guided {
namespace {

// A regular expression, and texts after which its mask is looked at.
struct Case {
  std::string pattern;
  std::vector<std::string> prefixes;
};

const std::vector<Case>& cases() {
  static const std::vector<Case> kCases = {
      {"[a-z]*", {"", "abc"}},
      {"\"[^\"\\\\\\x00-\\x1f]*\"", {"", "\"", "\"ab"}},
      {".*foo.*", {"", "x", "f", "fo", "foo"}},
      {"[a-z]{3,8}[0-9]", {"", "ab", "abcde", "abcdefgh"}},
      {"[A-Z][a-z]*( [A-Z][a-z]*)*", {"", "A", "Ab", "Ab "}},
      {"\\d{4}-\\d\\d-\\d\\d", {"", "2", "2024-"}},
      {"[^\"]{0,40}", {"", "a", "abcdefghijklmnop", "abcdefghijklmnopqrstuvwxyzabcdefghijklm"}},
      {"[^\"]{0,3}", {"", "a", "ab", "abc"}},
      {"[^\"]{2,}", {"", "a", "ab"}},
      {"[a-z]{2,5}[a-z0-9]*", {"", "a", "abc"}},
      {"(foo|bar|bazooka)[a-z]*", {"", "b"}},
      {"(?!foo$|bar$)[a-z]*", {"", "f", "fo", "x"}},
      {"(?!foo$|bar$)[^\"]*", {"", "f", "fo", "x"}},
      {"(?!foo$|bar$)[^\"]*\"[a-z]*", {"", "f", "fo", "x"}},
      {"\\p{L}+", {"", "a"}},
      {"(é|ü|日本)+x", {"", "\xC3", "日", "日\xE6"}},
      {"[\\s\\S]*", {"", "a"}},
      {"[^a]*a?", {"", "x", "a"}},
      {"-?(0|[1-9][0-9]*)(\\.[0-9]+)?", {"", "1", "1."}},
      {"(a|bb)*c", {"", "b", "bb"}},
      {"\\w+@\\w+\\.com", {"", "a", "a@"}},
      {"(\\S+\\s+){0,9}\\S+", {"", "a", "a b", "a b c d e f g h i ", "a b c d e f g h i j"}},
      {"([a-z0-9]{1,20}[._-]){0,3}[a-z]{2,5}(@[A-F]{1,4}\\(\\d+\\))?", {"", "ab", "ab.", "ab@A"}},
  };
  return kCases;
}

void expect_masks_of_steps(const Vocabulary& vocabulary) {
  for (const Case& one : cases()) {
    const GuidedLimits limits;
    CompiledRecognizer compiled(limits);
    const auto language = parse_ecma_whole(one.pattern, compiled.pool, limits);
    ASSERT_TRUE(language) << one.pattern;
    TextRecognizer recognizer(compiled.pool, *language);
    for (const std::string& prefix : one.prefixes) {
      compiled.fuel.refill(limits.mask_fuel);
      Position position = recognizer.start();
      for (const char byte : prefix) {
        position = recognizer.step(position, static_cast<std::uint8_t>(byte));
      }
      ASSERT_FALSE(position.dead()) << one.pattern << " after " << prefix;
      const TokenMask stepped = stepped_mask(recognizer, position, vocabulary);
      // What is asked for again is made then, and there when it is asked for once more.
      for (int time = 1; time <= 3; ++time) {
        TokenMask mask(vocabulary.vocab_size());
        recognizer.fill(position, vocabulary, mask);
        EXPECT_EQ(difference(mask, stepped, vocabulary), "")
            << one.pattern << " after " << prefix << ", time " << time;
      }
    }
  }
}

TEST(TokenWalk, AMaskIsWhatSteppingEveryTokenFinds) {
  for (std::uint64_t seed = 1; seed <= 3; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    expect_masks_of_steps(*toy_vocabulary(seed));
  }
}

TEST(TokenWalk, AMaskIsWhatSteppingEveryTokenFindsInLlama3) {
  const auto vocabulary = llama3_vocabulary();
  if (!vocabulary) GTEST_SKIP() << "no Llama 3 tokenizer in the shared data";
  expect_masks_of_steps(*vocabulary);
}

// é and ü begin with C3, no letter of the set with C4; ED A0 could only be a surrogate.
TEST(TokenWalk, HalfACodePointIsAliveIfItCanStillBecomeOneOfTheSet) {
  VocabularyTokens tokens;
  tokens.bytes = {"", "\xC3", "\xA9", "\xC3\xA9", "a\xC3", "a\xC4", "\xED", "\xED\xA0", "\xF4\x90"};
  tokens.special = {true};
  tokens.vocab_size = static_cast<int>(tokens.bytes.size());
  const Vocabulary vocabulary(std::move(tokens));
  const GuidedLimits limits;
  CompiledRecognizer compiled(limits);
  const auto language = parse_ecma_whole("[aé-ü]*", compiled.pool, limits);
  TextRecognizer recognizer(compiled.pool, *language);
  TokenMask mask(vocabulary.vocab_size());
  recognizer.fill(recognizer.start(), vocabulary, mask);
  const std::vector<bool> expected = {false, true, false, true, true, false, false, false, false};
  for (TokenId id = 0; id < vocabulary.vocab_size(); ++id) {
    EXPECT_EQ(mask[id], expected[static_cast<std::size_t>(id)]) << id;
  }
}

}  // namespace
}  // namespace tessera::guided
