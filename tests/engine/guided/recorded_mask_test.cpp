// Masks where a text that is being read matters once it has ended: items that are compared, names
// that may not come twice.

#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "engine/guided/matcher.hpp"
#include "tests/engine/guided/mask_fixture.hpp"

namespace tessera::guided {
namespace {

struct RecordedCase {
  const char* name;
  const char* schema;
  const char* first;   // two texts that differ in the token being read only
  const char* second;
  const char* token;  // which may follow the first and not the second
};

std::ostream& operator<<(std::ostream& out, const RecordedCase& one) { return out << one.name; }

const RecordedCase kCases[] = {
    {"Number", R"({"type":"array","prefixItems":[{"type":"integer"},{"const":7}],
      "uniqueItems":true})",
     "[6", "[7", ",7"},
    {"NumberInAnArray", R"({"type":"array","prefixItems":[{"type":"array"},{"const":[7]}],
      "uniqueItems":true})",
     "[[6", "[[7", "],"},
    {"String", R"({"type":"array","prefixItems":[{"type":"string"},{"const":"z"}],
      "uniqueItems":true})",
     "[\"y", "[\"z", "\","},
    {"StringTwice", R"({"type":"array","items":{"type":"string"},"uniqueItems":true})",
     "[\"xy", "[\"xz", "\",\"xz\""},
    {"Name", R"({"type":"object","additionalProperties":{"type":"null"}})",
     "{\"w", "{\"x", "\":null,\"x\""},
    {"NameThatAKnownOneBeginsWith",
     R"({"type":"object","properties":{"xy":{"type":"null"},"wy":{"type":"null"}},
      "additionalProperties":{"type":"null"}})",
     "{\"w", "{\"x", "\":null,\"x\""},
    {"NameOfSeveralLetters", R"({"type":"object","additionalProperties":{"type":"null"}})",
     "{\"vwx", "{\"xyz", "\":null,\"xyz\""},
    {"NameWithEscapes", R"({"type":"object","additionalProperties":{"type":"null"}})",
     "{\"\\u0077", "{\"\\u0078", "\":null,\"x\""},
    {"NameThatEndsInTheToken", R"({"type":"object","additionalProperties":{"type":"null"}})",
     "{\"wx", "{\"xy", "z\":null,\"xyz\""},
    {"NameInAnItem", R"({"type":"array","prefixItems":[{"type":"object"},{"const":{"x":1}}],
      "uniqueItems":true})",
     "[{\"w", "[{\"x", "\":1},"},
    {"NameBehindAnArray", R"({"type":"array"})", "[{\"b\":[false],", "[{\"a\":[false],", "\"a\""},
};

class RecordedMask : public testing::TestWithParam<RecordedCase> {
 protected:
  static constexpr TokenId kToken = 256;

  static std::shared_ptr<const Vocabulary> vocabulary() {
    VocabularyTokens tokens;
    for (int byte = 0; byte < 256; ++byte) tokens.bytes.emplace_back(1, static_cast<char>(byte));
    tokens.bytes.emplace_back(GetParam().token);
    tokens.bytes.emplace_back();
    tokens.special.assign(tokens.bytes.size(), false);
    tokens.special.back() = true;
    tokens.vocab_size = static_cast<int>(tokens.bytes.size());
    tokens.end_tokens = {tokens.vocab_size - 1};
    return std::make_shared<const Vocabulary>(std::move(tokens));
  }

  static Matcher behind(const std::shared_ptr<Constraint>& constraint, std::string_view text) {
    Matcher matcher(constraint);
    for (const char byte : text) {
      EXPECT_TRUE(matcher.accept(static_cast<std::uint8_t>(byte))) << text;
    }
    return matcher;
  }
};

TEST_P(RecordedMask, IsOfTheTextThatWasReadAndNotOfAnother) {
  ConstraintSpec spec;
  spec.kind = ConstraintKind::kJsonSchema;
  spec.source = GetParam().schema;
  for (const bool backward : {false, true}) {
    const auto constraint = compiled(spec, vocabulary());
    ASSERT_TRUE(constraint);
    std::vector<std::pair<const char*, bool>> order{{GetParam().first, true},
                                                    {GetParam().second, false}};
    if (backward) std::swap(order[0], order[1]);
    for (const auto& [text, allowed] : order) {
      Matcher matcher = behind(constraint, text);
      const auto mask = matcher.mask();
      ASSERT_TRUE(mask);
      EXPECT_EQ((*mask)[kToken], allowed) << text << (backward ? " backward" : "");
      EXPECT_EQ(matcher.accept(kToken), allowed) << text;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Masks, RecordedMask, testing::ValuesIn(kCases),
                         [](const auto& one) { return std::string(one.param.name); });

TEST(RecordedMaskOfNames, TwoEqualNamesBehindALongOneAreNotAllowed) {
  VocabularyTokens tokens;
  for (int byte = 0; byte < 256; ++byte) tokens.bytes.emplace_back(1, static_cast<char>(byte));
  tokens.bytes.emplace_back("\":0,\"a\":0,\"a\"");
  tokens.bytes.emplace_back("\":0,\"a\":0,\"b\"");
  tokens.special.assign(tokens.bytes.size(), false);
  tokens.vocab_size = static_cast<int>(tokens.bytes.size());
  ConstraintSpec spec;
  spec.kind = ConstraintKind::kJsonSchema;
  spec.source = R"({"type":"object"})";
  const auto constraint = compiled(spec, std::make_shared<const Vocabulary>(std::move(tokens)));
  ASSERT_TRUE(constraint);
  Matcher matcher(constraint);
  for (const char byte : std::string_view("{\"names")) {
    ASSERT_TRUE(matcher.accept(static_cast<std::uint8_t>(byte)));
  }
  const auto mask = matcher.mask();
  ASSERT_TRUE(mask);
  EXPECT_FALSE((*mask)[256]);
  EXPECT_TRUE((*mask)[257]);
}

}  // namespace
}  // namespace tessera::guided
