#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "engine/text/detokenizer.hpp"
#include "engine/text/tokenizer.hpp"
#include "storage/digest.hpp"

namespace tessera {
namespace {

using Json = nlohmann::ordered_json;
namespace fs = std::filesystem;

const fs::path kData = fs::path(TESSERA_TEST_DIR) / "data";

std::string read(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  EXPECT_TRUE(in) << path;
  return {std::istreambuf_iterator<char>(in), {}};
}

Json read_json(const char* name) {
  return Json::parse(read(kData / name));
}

std::unique_ptr<Tokenizer> load(const fs::path& path) {
  auto tokenizer = Tokenizer::from_json(read(path));
  if (!tokenizer) throw std::runtime_error(tokenizer.error().message);
  return std::move(*tokenizer);
}

std::unique_ptr<Tokenizer> load_ours(const std::string& name) {
  return load(kData / "tokenizers" / (name + ".json"));
}

// The digest of the ids of every string, as make_tokenizer_goldens.py forms it.
std::string digest_of_ids(const Tokenizer& tokenizer) {
  Sha256 sha256;
  for (const Json& text : read_json("fuzz_strings.json")) {
    std::string line;
    for (const TokenId id : tokenizer.encode(text.get<std::string>())) {
      line += (line.empty() ? "" : ",") + std::to_string(id);
    }
    sha256.update(line + "\n");
  }
  return to_hex(sha256.finish());
}

class TokenizerGoldens : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    tokenizer_ = load_ours(GetParam());
    golden_ = read_json("tokenizer_goldens.json")[GetParam()];
    texts_ = read_json("fuzz_strings.json").get<std::vector<std::string>>();
    ASSERT_GE(texts_.size(), 300U);
  }

  std::unique_ptr<Tokenizer> tokenizer_;
  Json golden_;
  std::vector<std::string> texts_;
};

TEST_P(TokenizerGoldens, IdsAreThoseOfHuggingFace) {
  for (std::size_t i = 0; i < texts_.size(); ++i) {
    EXPECT_EQ(tokenizer_->encode(texts_[i]), golden_["ids"][i].get<std::vector<TokenId>>())
        << Json(texts_[i]);
  }
}

TEST_P(TokenizerGoldens, SpecialTokensCanBePlainText) {
  for (std::size_t i = 0; i < golden_["plain"].size(); ++i) {
    EXPECT_EQ(tokenizer_->encode(texts_[i], {.parse_special = false}),
              golden_["plain"][i].get<std::vector<TokenId>>())
        << Json(texts_[i]);
  }
}

TEST_P(TokenizerGoldens, PostProcessorFramesTheText) {
  EXPECT_EQ(tokenizer_->encode("the lamp", {.add_special = true}),
            golden_["framed"].get<std::vector<TokenId>>());
}

TEST_P(TokenizerGoldens, DecodedTextIsThatOfHuggingFace) {
  for (std::size_t i = 0; i < texts_.size(); ++i) {
    const auto ids = golden_["ids"][i].get<std::vector<TokenId>>();
    EXPECT_EQ(tokenizer_->decode(ids, false), golden_["decoded"][i].get<std::string>());
  }
}

INSTANTIATE_TEST_SUITE_P(Ours, TokenizerGoldens,
                         testing::Values("gpt2_style", "llama_style", "ignore_merges",
                                         "nfkc_digits", "digits_together", "merged_previous",
                                         "contiguous"),
                         [](const auto& param) { return param.param; });

TEST(Tokenizer, DemoIdsAreThoseOfHuggingFace) {
  const auto tokenizer = load(fs::path(TESSERA_SOURCE_DIR) / "examples/demo/base/tokenizer.json");
  EXPECT_EQ(digest_of_ids(*tokenizer), read_json("tokenizer_digests.json")["demo"])
      << "if the demo's tokenizer was trained anew, run make_tokenizer_goldens.py";
}

// A real model's, which is not part of this repository: set TESSERA_SHARED_DATA.
TEST(Tokenizer, Llama3IdsAreThoseOfHuggingFace) {
  const char* set = std::getenv("TESSERA_SHARED_DATA");
  const fs::path data = set ? fs::path(set) : fs::path(TESSERA_SOURCE_DIR) / "../shared/data";
  const fs::path path = data / "tokenizers" / "llama3.tokenizer.json";
  if (!fs::exists(path)) GTEST_SKIP() << "no tokenizer at " << path;
  EXPECT_EQ(digest_of_ids(*load(path)), read_json("tokenizer_digests.json")["llama3"]);
}

TEST(Tokenizer, InvalidUtf8IsReplacedBeforeEncoding) {
  const auto tokenizer = load_ours("llama_style");
  EXPECT_EQ(tokenizer->encode("a\xFF\xC3(\xE2\x82"), tokenizer->encode("a\uFFFD\uFFFD(\uFFFD"));
}

TEST(Tokenizer, TokensAreFoundByTextAndById) {
  const auto tokenizer = load_ours("llama_style");
  const auto end = tokenizer->id_of("<|end|>");
  ASSERT_TRUE(end);
  EXPECT_TRUE(tokenizer->is_special(*end));
  EXPECT_EQ(tokenizer->token_bytes(*end), "<|end|>");
  const auto the = tokenizer->id_of("Ġthe");
  ASSERT_TRUE(the);
  EXPECT_EQ(tokenizer->token_bytes(*the), " the");
  EXPECT_FALSE(tokenizer->is_special(*the));
  EXPECT_FALSE(tokenizer->id_of("no such token"));
}

TEST(Tokenizer, IdsOutsideTheVocabularyHaveNoText) {
  const auto tokenizer = load_ours("llama_style");
  for (const TokenId id : {-1, tokenizer->vocab_size(), 1 << 30}) {
    EXPECT_EQ(tokenizer->token_bytes(id), "");
    EXPECT_FALSE(tokenizer->is_special(id));
  }
  EXPECT_EQ(tokenizer->decode(std::vector<TokenId>{-5, 1 << 30}), "");
}

TEST(Tokenizer, LongWordsTakeTimeInProportion) {
  const auto tokenizer = load_ours("llama_style");
  const std::string word(2'000'000, 'a');  // one word; a quadratic merge would not come back
  EXPECT_EQ(tokenizer->decode(tokenizer->encode(word)), word);
  const std::string space(2'000'000, ' ');
  EXPECT_EQ(tokenizer->decode(tokenizer->encode(space)), space);
}

TEST(Tokenizer, ManyThreadsEncodeAtOnce) {
  const auto tokenizer = load_ours("gpt2_style");
  const auto texts = read_json("fuzz_strings.json").get<std::vector<std::string>>();
  std::vector<std::vector<TokenId>> expected;
  for (const std::string& text : texts) expected.push_back(tokenizer->encode(text));
  std::vector<std::jthread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (std::size_t t = 0; t < texts.size(); ++t) {
        ASSERT_EQ(tokenizer->encode(texts[t]), expected[t]);
      }
    });
  }
}

// A change to a good file, the field that the refusal must name.
struct Refusal {
  const char* name;
  const char* patch;  // JSON merge patch
  const char* field;
};
void PrintTo(const Refusal& refusal, std::ostream* out) {
  *out << refusal.name;
}

class TokenizerRefuses : public testing::TestWithParam<Refusal> {};

TEST_P(TokenizerRefuses, NamingTheField) {
  Json file = Json::parse(read(kData / "tokenizers" / "llama_style.json"));
  file.merge_patch(Json::parse(GetParam().patch));
  auto tokenizer = Tokenizer::from_json(file.dump());
  ASSERT_FALSE(tokenizer);
  EXPECT_EQ(tokenizer.error().code, Code::kUnsupportedModel);
  EXPECT_EQ(tokenizer.error().param, GetParam().field);
  EXPECT_NE(tokenizer.error().message.find(GetParam().field), std::string::npos);
}

INSTANTIATE_TEST_SUITE_P(
    Fields, TokenizerRefuses,
    testing::Values(
        Refusal{"Unigram", R"({"model": {"type": "Unigram"}})", "model.type"},
        Refusal{"ByteFallback", R"({"model": {"byte_fallback": true}})", "model.byte_fallback"},
        Refusal{"Dropout", R"({"model": {"dropout": 0.1}})", "model.dropout"},
        Refusal{"Suffix", R"({"model": {"end_of_word_suffix": "</w>"}})",
                "model.end_of_word_suffix"},
        Refusal{"UnknownModelField", R"({"model": {"novel": 1}})", "model.novel"},
        Refusal{"MergeOfNoToken", R"({"model": {"merges": [["q", "zzz"]]}})", "model.merges[0]"},
        Refusal{"MergeOfThree", R"({"model": {"merges": ["a b c"]}})", "model.merges[0]"},
        Refusal{"IdTooLarge", R"({"model": {"vocab": {"x": 99999999}}})", "model.vocab.x"},
        Refusal{"Normalizer", R"({"normalizer": {"type": "Lowercase"}})", "normalizer.type"},
        Refusal{"PreTokenizer", R"({"pre_tokenizer": {"type": "Metaspace"}})",
                "pre_tokenizer.type"},
        Refusal{"NoByteLevel", R"({"pre_tokenizer": {"type": "Sequence", "pretokenizers": []}})",
                "pre_tokenizer"},
        Refusal{"BadRegex",
                R"({"pre_tokenizer": {"type": "Split", "pattern": {"Regex": "("},
                    "behavior": "Isolated", "pretokenizers": null}})",
                "pre_tokenizer.pattern"},
        Refusal{"Behavior",
                R"({"pre_tokenizer": {"type": "Split", "pattern": {"String": "x"},
                    "behavior": "Sideways", "pretokenizers": null}})",
                "pre_tokenizer.behavior"},
        Refusal{"Decoder", R"({"decoder": {"type": "WordPiece"}})", "decoder.type"},
        Refusal{"PostProcessor", R"({"post_processor": {"type": "BertProcessing"}})",
                "post_processor.type"},
        Refusal{"AddedToken", R"({"added_tokens": [{"id": -1, "content": "x"}]})",
                "added_tokens[0].id"},
        Refusal{"UnknownField", R"({"novelty": {}})", "novelty"}),
    [](const auto& param) { return param.param.name; });

TEST(Tokenizer, DamagedFilesAreRefusedAndNeverCrash) {
  const std::string whole = read(kData / "tokenizers" / "llama_style.json");
  constexpr unsigned kSeed = 7;
  std::mt19937 random(kSeed);
  for (int round = 0; round < 300; ++round) {
    SCOPED_TRACE("seed " + std::to_string(kSeed) + ", round " + std::to_string(round));
    std::string damaged = whole;
    for (int edit = 0; edit < 3; ++edit) {
      damaged[random() % damaged.size()] = static_cast<char>("{}[]\",:0189ntf\xFF"[random() % 15]);
    }
    if (round % 3 == 0) damaged.resize(random() % damaged.size());
    auto tokenizer = Tokenizer::from_json(damaged);
    if (!tokenizer) {
      EXPECT_FALSE(tokenizer.error().message.empty());
    } else {
      (*tokenizer)->encode("the lamp <|end|>");
    }
  }
}

TEST(Detokenizer, AnySplitOfTheIdsGivesTheWholeDecode) {
  constexpr unsigned kSeed = 11;
  std::mt19937 random(kSeed);
  for (const char* name : {"gpt2_style", "llama_style"}) {
    const auto tokenizer = load_ours(name);
    for (int round = 0; round < 2000; ++round) {
      std::vector<TokenId> ids(random() % 12);
      for (TokenId& id : ids) id = static_cast<TokenId>(random() % 500);
      const bool skip_special = round % 2 == 0;
      Detokenizer detokenizer(*tokenizer, skip_special);
      std::string streamed;
      for (const TokenId id : ids) {
        const std::string text = detokenizer.push(id);
        ASSERT_TRUE(is_utf8(text));
        streamed += text;
      }
      streamed += detokenizer.flush();
      ASSERT_EQ(streamed, tokenizer->decode(ids, skip_special))
          << name << ", seed " << kSeed << ", round " << round;
    }
  }
}

TEST(Detokenizer, HoldsBackHalfACharacter) {
  const auto tokenizer = load_ours("llama_style");
  const auto first = tokenizer->id_of("Ã");   // 0xC3
  const auto second = tokenizer->id_of("©");  // 0xA9
  ASSERT_TRUE(first && second);
  Detokenizer detokenizer(*tokenizer);
  EXPECT_EQ(detokenizer.push(*first), "");
  EXPECT_EQ(detokenizer.push(*second), "é");
  EXPECT_EQ(detokenizer.push(*first), "");
  EXPECT_EQ(detokenizer.flush(), "\uFFFD");
  EXPECT_EQ(detokenizer.flush(), "");
}

}  // namespace
}  // namespace tessera
