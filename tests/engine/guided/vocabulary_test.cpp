#include "engine/guided/vocabulary.hpp"

#include <algorithm>

#include <gtest/gtest.h>

#include "engine/guided/code_point_trie.hpp"
#include "engine/guided/token_classes.hpp"
#include "engine/guided/token_slice.hpp"
#include "engine/text/utf8.hpp"
#include "tests/engine/guided/mask_fixture.hpp"

namespace tessera::guided {
namespace {

TEST(Vocabulary, RanksAreTheOrderOfBytesAndASubtreeIsARangeOfThem) {
  const auto vocabulary = toy_vocabulary(1);
  const RankedTrie& trie = vocabulary->trie();
  for (std::uint32_t rank = 1; rank < vocabulary->ids().size(); ++rank) {
    ASSERT_LE(vocabulary->bytes_at(rank - 1), vocabulary->bytes_at(rank));
    ASSERT_EQ(vocabulary->bytes_at(rank), vocabulary->bytes(vocabulary->ids()[rank]));
  }
  for (std::uint32_t node = 0; node < trie.num_nodes(); ++node) {
    const std::size_t depth = trie.depth(node);
    const std::string_view prefix = vocabulary->bytes_at(trie[node].rank).substr(0, depth);
    for (std::uint32_t rank = trie[node].rank; rank < trie[node].rank_end; ++rank) {
      const std::string_view bytes = vocabulary->bytes_at(rank);
      ASSERT_TRUE(bytes.starts_with(prefix));
      ASSERT_EQ(bytes.size() == depth, rank < trie.own_end(trie[node]));
    }
  }
}

TEST(Vocabulary, SpecialTokensPadsAndWhatIsNoIdHaveNoBytes) {
  const auto vocabulary = toy_vocabulary(2);
  EXPECT_TRUE(vocabulary->special(0));
  EXPECT_TRUE(vocabulary->is_end(0));
  EXPECT_FALSE(vocabulary->is_end(1));
  for (const TokenId id : {0, 1, vocabulary->vocab_size() - 1, vocabulary->vocab_size(), -1}) {
    EXPECT_TRUE(vocabulary->bytes(id).empty()) << id;
  }
}

TEST(Vocabulary, EveryByteKnowsTheTokensItOccursIn) {
  const auto vocabulary = toy_vocabulary(3);
  for (int byte = 0; byte < 256; ++byte) {
    std::vector<std::uint32_t> expected;
    for (std::uint32_t rank = 0; rank < vocabulary->ids().size(); ++rank) {
      if (vocabulary->bytes_at(rank).find(static_cast<char>(byte)) != std::string_view::npos) {
        expected.push_back(rank);
      }
    }
    const auto found = vocabulary->containing(static_cast<std::uint8_t>(byte));
    ASSERT_TRUE(std::equal(expected.begin(), expected.end(), found.begin(), found.end())) << byte;
  }
}

TEST(Vocabulary, ANameBehindAnotherIsAsLongAsWhatLiesBetweenTheLaterQuotes) {
  VocabularyTokens tokens;
  tokens.bytes = {"\"", "\"abcdef\"", "a\":\"bc\",", "\":1,\"xyz\":"};
  tokens.special.assign(tokens.bytes.size(), false);
  tokens.vocab_size = static_cast<int>(tokens.bytes.size());
  EXPECT_EQ(Vocabulary(tokens).longest_second_name(), 3U);
  tokens.bytes = {"\"", "\"abcdef\""};
  tokens.special.resize(2);
  tokens.vocab_size = 2;
  EXPECT_EQ(Vocabulary(tokens).longest_second_name(), 0U);
}

TEST(Vocabulary, ASliceIsMadeOnceForASet) {
  const auto vocabulary = toy_vocabulary(4);
  CodePointSet letters;
  letters.add(U'a', U'z' + 1);
  EXPECT_EQ(vocabulary->slice(0, letters), vocabulary->slice(0, letters));
  EXPECT_NE(vocabulary->slice(0, letters), vocabulary->slice(0, letters.complement()));
}

// What of a token stands between quotes: dead where it is no part of a JSON string.
StringState read_in_string(std::string_view token) {
  AnyText any;
  BasicStringLexer<AnyText> lexer(any, Escapes::kJson);
  StringState state{.text = 1, .pending = 0};
  for (const char byte : token) {
    if (byte == '"' && state.pending == 0) return {};
    state = lexer.step(state, static_cast<std::uint8_t>(byte));
    if (state.dead()) return {};
  }
  return state;
}

TEST(Vocabulary, MembersOfTheSliceOfStringsAreWhatAnyStringMayHold) {
  const auto vocabulary = toy_vocabulary(5);
  TokenMask mask(vocabulary->vocab_size());
  vocabulary->slice(RankedTrie::kRoot, raw_characters(), Escapes::kJson)
      ->add_members(TokenSlice::kUnlimited, mask);
  for (const TokenId id : vocabulary->ids()) {
    EXPECT_EQ(mask[id], !read_in_string(vocabulary->bytes(id)).dead()) << vocabulary->bytes(id);
  }
}

// The text that leads to a node.
std::string text_of(const CodePointTrie& trie, std::uint32_t node) {
  std::vector<char32_t> way;
  for (; node != 0; node = trie.nodes()[node].parent) {
    way.push_back(trie.symbols()[trie.nodes()[node].symbol]);
  }
  std::string text;
  for (auto c = way.rbegin(); c != way.rend(); ++c) append_utf8(text, *c);
  return text;
}

TEST(Vocabulary, TokensAreSequencesOfCodePointsAndWhatLeavesThem) {
  const auto vocabulary = toy_vocabulary(6);
  for (const bool quoted : {false, true}) {
    const CodePointTrie& trie = vocabulary->code_points(quoted);
    TokenMask known = trie.all();
    ASSERT_EQ(trie.ids().size(), trie.nodes_of_ids().size());
    for (std::size_t i = 0; i < trie.ids().size(); ++i) {
      const TokenId id = trie.ids()[i];
      EXPECT_EQ(text_of(trie, trie.nodes_of_ids()[i]), vocabulary->bytes(id));
      EXPECT_TRUE(trie.all()[id]);
    }
    for (const CodePointTrie::Exit& exit : trie.exits()) {
      EXPECT_EQ(text_of(trie, exit.node) + std::string(exit.rest), vocabulary->bytes(exit.id));
      EXPECT_FALSE(known[exit.id]);
      known.set(exit.id);
    }
    for (std::uint32_t node = 1; node < trie.nodes().size(); ++node) {
      EXPECT_LT(trie.nodes()[node].parent, node);
    }
    for (const TokenId id : vocabulary->ids()) {
      if (known[id]) continue;
      EXPECT_TRUE(read_in_string(vocabulary->bytes(id)).dead()) << vocabulary->bytes(id);
    }
  }
}

// The classes that lead to a node, from the root on.
std::vector<std::uint32_t> way_to(const TokenClasses& tokens, std::uint32_t node) {
  std::vector<std::uint32_t> way;
  for (; node != 0; node = tokens.nodes()[node].parent) way.push_back(tokens.nodes()[node].of);
  return {way.rbegin(), way.rend()};
}

TEST(Vocabulary, TokensAreSequencesOfClassesAndWhatLeavesThem) {
  const auto vocabulary = toy_vocabulary(6);
  CodePointSet letters;
  letters.add(U'a', U'z' + 1);
  PartitionTable partitions;
  const Partition& classes = partitions[partitions.of_set(letters)];
  const TokenClasses tokens(*vocabulary, classes, true);
  ASSERT_TRUE(tokens.pays());
  std::size_t placed = 0;
  for (std::uint32_t node = 0; node + 1 < tokens.nodes().size(); ++node) {
    const TokenClasses::Node& next = tokens.nodes()[node + 1];
    for (std::uint32_t i = tokens.nodes()[node].ids; i < next.ids; ++i, ++placed) {
      std::vector<std::uint32_t> way;
      std::string_view rest = vocabulary->bytes(tokens.ids()[i]);
      for (; !rest.empty(); rest.remove_prefix(utf8_step(rest).bytes)) {
        way.push_back(classes.class_of(utf8_step(rest).code_point));
      }
      EXPECT_EQ(way, way_to(tokens, node)) << vocabulary->bytes(tokens.ids()[i]);
      EXPECT_TRUE(tokens.all()[tokens.ids()[i]]);
    }
    for (std::uint32_t i = tokens.nodes()[node].exits; i < next.exits; ++i, ++placed) {
      const auto first = static_cast<std::uint8_t>(tokens.exits()[i].rest.front());
      EXPECT_TRUE(first == '"' || first == '\\' || first >= 0x80) << tokens.exits()[i].rest;
    }
  }
  // Nothing that may stand in a string is left out.
  TokenMask known = tokens.all();
  for (const TokenClasses::Exit& exit : tokens.exits()) known.set(exit.id);
  for (const TokenId id : vocabulary->ids()) {
    EXPECT_TRUE(known[id] || read_in_string(vocabulary->bytes(id)).dead()) << vocabulary->bytes(id);
  }
  EXPECT_EQ(placed, tokens.ids().size() + tokens.exits().size());
}

// A tokenizer of each kind: what its tokens are, joined, is the text that the detokenizer makes.
class TokenizerVocabulary : public testing::TestWithParam<const char*> {};

constexpr const char* kTexts[] = {"{\"name\": \"Jürgen\", \"n\": [1, 2.5e3]}", "日本 🙂 text",
                                  "two words"};

TEST_P(TokenizerVocabulary, BytesAreWhatTheDetokenizerMakesOfThem) {
  const auto tokenizer = small_tokenizer(GetParam());
  const auto vocabulary = vocabulary_of_tokenizer(tokenizer, {});
  for (const std::string text : kTexts) {
    const std::vector<TokenId> ids = tokenizer->encode(text, {.parse_special = false});
    std::string bytes;
    for (const TokenId id : ids) bytes += vocabulary->bytes(id);
    if (vocabulary->drops_first_space() && bytes.starts_with(' ')) bytes.erase(0, 1);
    EXPECT_EQ(bytes, tokenizer->decode(ids));
  }
}

TEST_P(TokenizerVocabulary, TextIsEncodedAsItStandsInTheMiddle) {
  const auto vocabulary = vocabulary_of_tokenizer(small_tokenizer(GetParam()), {});
  for (const std::string_view text : {"name\":\"", " words", "words"}) {
    std::string bytes;
    for (const TokenId id : vocabulary->encode(text)) bytes += vocabulary->bytes(id);
    EXPECT_EQ(bytes, text);
  }
}

INSTANTIATE_TEST_SUITE_P(Kinds, TokenizerVocabulary,
                         testing::Values("gpt2_style", "llama_style", "o200k_style", "falcon_style",
                                         "spm_prepend"),
                         [](const auto& kind) { return std::string(kind.param); });

TEST(Vocabulary, SentencePieceDropsTheFirstSpaceAndByteLevelDoesNot) {
  EXPECT_TRUE(vocabulary_of_tokenizer(small_tokenizer("spm_prepend"), {})->drops_first_space());
  EXPECT_FALSE(vocabulary_of_tokenizer(small_tokenizer("llama_style"), {})->drops_first_space());
}

TEST(Vocabulary, ByteFallbackTokensAreTheirByte) {
  const auto tokenizer = small_tokenizer("spm_prepend");
  const auto id = tokenizer->id_of("<0xE6>");
  ASSERT_TRUE(id);
  EXPECT_EQ(vocabulary_of_tokenizer(tokenizer, {})->bytes(*id), "\xE6");
}

}  // namespace
}  // namespace tessera::guided
