#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "engine/text/gguf_vocabulary.hpp"
#include "engine/text/tokenizer.hpp"
#include "tests/engine/gguf_metadata.hpp"

namespace tessera {
namespace {

namespace fs = std::filesystem;

fs::path shared_tokenizers() {
  const char* set = std::getenv("TESSERA_SHARED_DATA");
  return (set ? fs::path(set) : fs::path(TESSERA_SOURCE_DIR) / "../shared/data") / "tokenizers";
}

std::string read(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  EXPECT_TRUE(in) << path;
  return {std::istreambuf_iterator<char>(in), {}};
}

// llama.cpp's texts, which a marker line parts.
std::vector<std::string> texts_of(const std::string& file) {
  static const std::string kMarker = "\n__ggml_vocab_test__\n";
  std::vector<std::string> texts;
  std::size_t begin = 0;
  while (true) {
    const std::size_t end = file.find(kMarker, begin);
    texts.push_back(file.substr(begin, end - begin));
    if (end == std::string::npos) return texts;
    begin = end + kMarker.size();
  }
}

std::vector<TokenId> ids_of(const std::string& line) {
  std::istringstream in(line);
  return {std::istream_iterator<TokenId>(in), {}};
}

// Real vocabularies, which are not part of this repository: set TESSERA_SHARED_DATA.
class GgufVocabularies : public testing::TestWithParam<std::string> {};

TEST_P(GgufVocabularies, IdsAreThoseOfLlamaCpp) {
  const fs::path path = shared_tokenizers() / (GetParam() + ".gguf");
  if (!fs::exists(path)) GTEST_SKIP() << "no vocabulary at " << path;
  const GgufMetadata metadata(read(path));
  auto tokenizer = Tokenizer::from_gguf(metadata.vocabulary());
  ASSERT_TRUE(tokenizer) << tokenizer.error().message;
  const auto texts = texts_of(read(path.string() + ".inp"));
  std::istringstream lines(read(path.string() + ".out"));
  ASSERT_GE(texts.size(), 40U);
  for (const std::string& text : texts) {
    std::string line;
    std::getline(lines, line);
    EXPECT_EQ((*tokenizer)->encode(text), ids_of(line)) << nlohmann::json(text);
  }
}

TEST_P(GgufVocabularies, TextsSurviveBothWays) {
  const fs::path path = shared_tokenizers() / (GetParam() + ".gguf");
  if (!fs::exists(path)) GTEST_SKIP() << "no vocabulary at " << path;
  const GgufMetadata metadata(read(path));
  auto tokenizer = Tokenizer::from_gguf(metadata.vocabulary());
  ASSERT_TRUE(tokenizer) << tokenizer.error().message;
  for (const std::string& text : texts_of(read(path.string() + ".inp"))) {
    EXPECT_EQ((*tokenizer)->decode((*tokenizer)->encode(text)), text);
  }
}

INSTANTIATE_TEST_SUITE_P(Shared, GgufVocabularies,
                         testing::Values("deepseek-llm", "falcon", "gpt-2", "llama-spm", "phi-3",
                                         "starcoder"),
                         [](const auto& param) {
                           std::string name = param.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

GgufVocabulary small_sentencepiece() {
  GgufVocabulary vocabulary;
  vocabulary.model = "llama";
  vocabulary.tokens = {"<unk>", "<s>", "</s>", "<0x41>", "\u2581", "a", "b", "ab", "\u2581ab"};
  vocabulary.scores = {0, 0, 0, 0, -4, -3, -5, -1, -2};
  vocabulary.token_type = {2, 3, 3, 6, 1, 1, 1, 1, 1};
  vocabulary.bos_token_id = 1;
  vocabulary.eos_token_id = 2;
  return vocabulary;
}

TEST(GgufVocabulary, SentencePieceJoinsByScore) {
  const auto tokenizer = Tokenizer::from_gguf(small_sentencepiece()).value();
  EXPECT_EQ(tokenizer->encode("ab"), (std::vector<TokenId>{8}));
  EXPECT_EQ(tokenizer->encode("abA"), (std::vector<TokenId>{8, 3}));
  EXPECT_EQ(tokenizer->encode("ab<s>b", {.add_special = true}),
            (std::vector<TokenId>{1, 8, 1, 4, 6}));
  EXPECT_EQ(tokenizer->decode(std::vector<TokenId>{8, 3, 8}), "abA ab");
}

TEST(GgufVocabulary, TheSpaceInFrontCanBeOff) {
  GgufVocabulary vocabulary = small_sentencepiece();
  vocabulary.add_space_prefix = false;
  vocabulary.add_bos_token = false;
  vocabulary.add_eos_token = true;
  const auto tokenizer = Tokenizer::from_gguf(vocabulary).value();
  EXPECT_EQ(tokenizer->encode("ab ab", {.add_special = true}), (std::vector<TokenId>{7, 8, 2}));
  EXPECT_EQ(tokenizer->decode(std::vector<TokenId>{7, 8}), "ab ab");
}

TEST(GgufVocabulary, WordPieceMarksWhatContinues) {
  GgufVocabulary vocabulary;
  vocabulary.model = "bert";
  vocabulary.tokens = {"[UNK]", "[CLS]", "[SEP]", "\u2581play", "ing", "\u2581the"};
  vocabulary.token_type = {3, 3, 3, 1, 1, 1};
  vocabulary.unknown_token_id = 0;
  vocabulary.cls_token_id = 1;
  vocabulary.separator_token_id = 2;
  const auto tokenizer = Tokenizer::from_gguf(vocabulary).value();
  EXPECT_EQ(tokenizer->encode("The Playing x", {.add_special = true}),
            (std::vector<TokenId>{1, 5, 3, 4, 0, 2}));
  EXPECT_EQ(tokenizer->decode(std::vector<TokenId>{1, 5, 3, 4, 2}), "the playing");
}

TEST(GgufVocabulary, UnigramTakesTheBestSum) {
  GgufVocabulary vocabulary;
  vocabulary.model = "t5";
  vocabulary.tokens = {"<unk>", "</s>", "\u2581", "\u2581a", "b", "ab"};
  vocabulary.scores = {0, 0, -2, -3, -3, -2.5F};
  vocabulary.token_type = {2, 3, 1, 1, 1, 1};
  vocabulary.unknown_token_id = 0;
  vocabulary.eos_token_id = 1;
  const auto tokenizer = Tokenizer::from_gguf(vocabulary).value();
  EXPECT_EQ(tokenizer->encode("ab ab?", {.add_special = true}),
            (std::vector<TokenId>{2, 5, 2, 5, 0, 1}));
}

TEST(GgufVocabulary, WhatIsNotKnownIsRefusedNamingTheKey) {
  const auto key_of = [](const GgufVocabulary& vocabulary) {
    const auto json = to_tokenizer_json(vocabulary);
    EXPECT_FALSE(json);
    return json ? std::string() : json.error().param;
  };
  GgufVocabulary vocabulary = small_sentencepiece();
  vocabulary.model = "rwkv";
  EXPECT_EQ(key_of(vocabulary), "tokenizer.ggml.model");
  vocabulary.model = "gpt2";
  EXPECT_EQ(key_of(vocabulary), "tokenizer.ggml.pre");
  vocabulary.pre = "of-next-year";
  EXPECT_EQ(key_of(vocabulary), "tokenizer.ggml.pre");
  vocabulary.pre = "gpt-2";
  vocabulary.merges = {"ab"};
  EXPECT_EQ(key_of(vocabulary), "tokenizer.ggml.merges");
  vocabulary.scores.pop_back();
  EXPECT_EQ(key_of(vocabulary), "tokenizer.ggml.scores");
  vocabulary = small_sentencepiece();
  vocabulary.token_type.pop_back();
  EXPECT_EQ(key_of(vocabulary), "tokenizer.ggml.token_type");
  vocabulary = small_sentencepiece();
  vocabulary.bos_token_id = 9;
  EXPECT_EQ(key_of(vocabulary), "tokenizer.ggml.bos_token_id");
  vocabulary.tokens.clear();
  EXPECT_EQ(key_of(vocabulary), "tokenizer.ggml.tokens");
}

}  // namespace
}  // namespace tessera
