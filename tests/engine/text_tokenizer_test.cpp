#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <set>
#include <span>
#include <sstream>
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

// The first six digits of a SHA-256, as make_tokenizer_goldens.py writes them.
std::string print_of(const std::string& text) {
  Sha256 sha256;
  sha256.update(text);
  return to_hex(std::span<const std::uint8_t>(sha256.finish())).substr(0, 6);
}

std::string print_of(const std::vector<TokenId>& ids) {
  std::string line;
  for (const TokenId id : ids) line += (line.empty() ? "" : ",") + std::to_string(id);
  return print_of(line);
}

std::vector<std::string> words_of(const Json& text) {
  std::istringstream in(text.get<std::string>());
  return {std::istream_iterator<std::string>(in), {}};
}

class TokenizerGoldens : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    tokenizer_ = load_ours(GetParam());
    golden_ = read_json("tokenizer_goldens.json")[GetParam()];
    texts_ = read_json("fuzz_strings.json").get<std::vector<std::string>>();
    ASSERT_GE(texts_.size(), 400U);
  }

  // What each text's ids decode to, against the golden's member `name`.
  void expect_decoded(const char* name, bool skip_special) {
    const std::vector<std::string> expected = words_of(golden_[name]);
    for (std::size_t i = 0; i < expected.size(); ++i) {
      if (expected[i] == kNotKnown) continue;
      EXPECT_EQ(print_of(tokenizer_->decode(tokenizer_->encode(texts_[i]), skip_special)),
                expected[i])
          << Json(texts_[i]);
    }
  }

  static constexpr const char* kNotKnown =
      "------";  // where Hugging Face's library does not survive
  std::unique_ptr<Tokenizer> tokenizer_;
  Json golden_;
  std::vector<std::string> texts_;
};

TEST_P(TokenizerGoldens, IdsAreThoseOfHuggingFace) {
  const std::vector<std::string> expected = words_of(golden_["ids"]);
  ASSERT_EQ(expected.size(), texts_.size());
  for (std::size_t i = 0; i < texts_.size(); ++i) {
    EXPECT_EQ(print_of(tokenizer_->encode(texts_[i])), expected[i]) << Json(texts_[i]);
  }
}

TEST_P(TokenizerGoldens, SpecialTokensCanBePlainText) {
  const std::vector<std::string> expected = words_of(golden_["plain"]);
  ASSERT_GE(expected.size(), 100U);
  for (std::size_t i = 0; i < expected.size(); ++i) {
    EXPECT_EQ(print_of(tokenizer_->encode(texts_[i], {.parse_special = false})), expected[i])
        << Json(texts_[i]);
  }
}

TEST_P(TokenizerGoldens, PostProcessorFramesTheText) {
  EXPECT_EQ(tokenizer_->encode("the lamp", {.add_special = true}),
            golden_["framed"].get<std::vector<TokenId>>());
}

TEST_P(TokenizerGoldens, DecodedTextIsThatOfHuggingFace) {
  expect_decoded("decoded", false);
  expect_decoded("shown", true);
}

TEST_P(TokenizerGoldens, AnySplitOfTheIdsGivesTheWholeDecode) {
  constexpr unsigned kSeed = 11;
  std::mt19937 random(kSeed);
  const auto vocab_size = static_cast<unsigned>(tokenizer_->vocab_size());
  for (int round = 0; round < 1500; ++round) {
    std::vector<TokenId> ids(random() % 14);
    for (TokenId& id : ids) id = static_cast<TokenId>(random() % vocab_size);
    const bool skip_special = round % 2 == 0;
    Detokenizer detokenizer(*tokenizer_, skip_special);
    for (int again = 0; again < 2; ++again) {  // a flush leaves it as new
      std::string streamed;
      for (const TokenId id : ids) {
        const std::string text = detokenizer.push(id);
        ASSERT_TRUE(is_utf8(text));
        streamed += text;
      }
      streamed += detokenizer.flush();
      ASSERT_EQ(streamed, tokenizer_->decode(ids, skip_special))
          << "seed " << kSeed << ", round " << round;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Ours, TokenizerGoldens,
    testing::Values("gpt2_style", "llama_style", "ignore_merges", "nfkc_digits", "digits_together",
                    "merged_previous", "contiguous", "spm_prepend", "spm_first", "spm_never",
                    "spm_partial", "unigram_t5", "unigram_charsmap", "wordpiece_bert",
                    "wordpiece_whitespace", "wordpiece_no_decoder", "bpe_suffix", "bpe_prefix",
                    "falcon_style", "roberta_style", "byte_normalizer", "o200k_style"),
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
  for (const char* name : {"llama_style", "spm_prepend", "spm_never"}) {
    const auto tokenizer = load_ours(name);
    for (const char* unit : {"a", " ", "ab", "\xE4\xB8\xAD"}) {
      std::string text;  // one word; a quadratic merge would not come back
      while (text.size() < 1'000'000) text += unit;
      EXPECT_EQ(tokenizer->decode(tokenizer->encode(text)), text) << name << ' ' << unit;
    }
  }
}

TEST(Tokenizer, LongWordsOfOtherModelsTakeTimeInProportion) {
  for (const char* name : {"unigram_t5", "unigram_charsmap", "wordpiece_bert", "bpe_suffix"}) {
    const auto tokenizer = load_ours(name);
    EXPECT_FALSE(tokenizer->encode(std::string(1'000'000, 'a')).empty()) << name;
    EXPECT_FALSE(tokenizer->encode(std::string(1'000'000, '.')).empty()) << name;
  }
}

TEST(Tokenizer, DigestDoesNotDependOnHowTheFileIsWritten) {
  const std::string text = read(kData / "tokenizers" / "llama_style.json");
  const Json file = Json::parse(text);
  const auto digest_of = [](const std::string& json) {
    return to_hex(Tokenizer::from_json(json).value()->digest());
  };
  const std::string digest = digest_of(text);
  EXPECT_EQ(digest_of(file.dump(2)), digest);
  EXPECT_EQ(digest_of(nlohmann::json::parse(text).dump()), digest);  // members in another order
  Json written_otherwise = file;
  for (Json& merge : written_otherwise["model"]["merges"]) {
    if (merge.is_array()) merge = merge[0].get<std::string>() + ' ' + merge[1].get<std::string>();
  }
  written_otherwise["model"].erase("dropout");  // null
  written_otherwise["truncation"] = {{"max_length", 8}};
  EXPECT_EQ(digest_of(written_otherwise.dump()), digest);
}

TEST(Tokenizer, DigestTellsTokenizersApart) {
  const Json file = Json::parse(read(kData / "tokenizers" / "llama_style.json"));
  std::set<std::string> digests;
  const auto add = [&](const Json& changed) {
    digests.insert(to_hex(Tokenizer::from_json(changed.dump()).value()->digest()));
  };
  add(file);
  Json changed = file;
  std::swap(changed["model"]["merges"][0], changed["model"]["merges"][1]);
  add(changed);
  changed = file;
  changed["added_tokens"][0]["lstrip"] = true;
  add(changed);
  changed = file;
  changed["normalizer"] = {{"type", "NFC"}};
  add(changed);
  changed = file;
  changed["model"]["ignore_merges"] = true;
  add(changed);
  changed = file;
  changed["model"]["vocab"]["another"] = 4000;
  add(changed);
  EXPECT_EQ(digests.size(), 6U);
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
        Refusal{"UnigramOfBytes", R"({"model": {"type": "Unigram"}})", "pre_tokenizer"},
        Refusal{"WordLevel", R"({"model": {"type": "WordLevel"}})", "model.type"},
        Refusal{"UnigramScores",
                R"({"model": {"type": "Unigram", "vocab": [["a"]]}, "pre_tokenizer": null})",
                "model.vocab[0]"},
        Refusal{"UnigramUnknown",
                R"({"model": {"type": "Unigram", "vocab": [["a", 0]], "unk_id": 1},
                    "pre_tokenizer": null})",
                "model.unk_id"},
        Refusal{"WordPieceUnknown",
                R"({"model": {"type": "WordPiece", "unk_token": "none", "vocab": {"a": 999},
                              "continuing_subword_prefix": "##", "max_input_chars_per_word": 9},
                    "pre_tokenizer": null})",
                "model.unk_token"},
        Refusal{"UnknownToken", R"({"model": {"unk_token": "no such"}})", "model.unk_token"},
        Refusal{"Dropout", R"({"model": {"dropout": 0.1}})", "model.dropout"},
        Refusal{"Suffix", R"({"model": {"end_of_word_suffix": "</w>"}})",
                "model.end_of_word_suffix"},
        Refusal{"UnknownModelField", R"({"model": {"novel": 1}})", "model.novel"},
        Refusal{"MergeOfNoToken", R"({"model": {"merges": [["q", "zzz"]]}})", "model.merges[0]"},
        Refusal{"MergeOfThree", R"({"model": {"merges": ["a b c"]}})", "model.merges[0]"},
        Refusal{"IdTooLarge", R"({"model": {"vocab": {"x": 99999999}}})", "model.vocab.x"},
        Refusal{"Normalizer", R"({"normalizer": {"type": "Novel"}})", "normalizer.type"},
        Refusal{"Charsmap", R"({"normalizer": {"type": "Precompiled",
                                "precompiled_charsmap": "?"}})",
                "normalizer.precompiled_charsmap"},
        Refusal{"ShortCharsmap", R"({"normalizer": {"type": "Precompiled",
                                     "precompiled_charsmap": "/////w=="}})",
                "normalizer.precompiled_charsmap"},
        Refusal{"ReplacementWithGroups",
                R"({"normalizer": {"type": "Replace", "pattern": {"Regex": "a|b"},
                                   "content": "$0"}})",
                "normalizer.content"},
        Refusal{"GrowthOfTexts",
                R"({"normalizer": {"type": "Sequence", "normalizers": [
                    {"type": "Replace", "pattern": {"String": "a"}, "content": "aaaaaaaaaaaaaaaa"},
                    {"type": "NFKC"}, {"type": "NFKC"}, {"type": "NFKC"}]}})",
                "normalizer"},
        Refusal{"PreTokenizer", R"({"pre_tokenizer": {"type": "UnicodeScripts"}})",
                "pre_tokenizer.type"},
        Refusal{"Metaspace", R"({"pre_tokenizer": {"type": "Metaspace", "replacement": "__"}})",
                "pre_tokenizer.replacement"},
        Refusal{"BadRegex",
                R"({"pre_tokenizer": {"type": "Split", "pattern": {"Regex": "(a"},
                    "behavior": "Isolated", "pretokenizers": null}})",
                "pre_tokenizer.pattern"},
        Refusal{"Behavior",
                R"({"pre_tokenizer": {"type": "Split", "pattern": {"String": "x"},
                    "behavior": "Sideways", "pretokenizers": null}})",
                "pre_tokenizer.behavior"},
        Refusal{"Decoder", R"({"decoder": {"type": "CTC"}})", "decoder.type"},
        Refusal{"DecoderBehindFuse",
                R"({"decoder": {"type": "Sequence", "decoders": [{"type": "Fuse"},
                    {"type": "Replace", "pattern": {"String": "a"}, "content": "b"}]}})",
                "decoder.decoders[1]"},
        Refusal{"PostProcessor", R"({"post_processor": {"type": "BertProcessing",
                                     "processors": null}})",
                "post_processor.cls"},
        Refusal{"AddedToken", R"({"added_tokens": [{"id": -1, "content": "x"}]})",
                "added_tokens[0].id"},
        Refusal{"AddedTokenElsewhere", R"({"added_tokens": [{"id": 999, "content": "a"}]})",
                "added_tokens[0].id"},
        Refusal{"UnknownField", R"({"novelty": {}})", "novelty"}),
    [](const auto& param) { return param.param.name; });

TEST(Tokenizer, DamagedFilesAreRefusedAndNeverCrash) {
  constexpr unsigned kSeed = 7;
  std::mt19937 random(kSeed);
  for (const char* name : {"llama_style", "spm_partial", "unigram_charsmap", "wordpiece_bert"}) {
    const std::string whole = read(kData / "tokenizers" / (std::string(name) + ".json"));
    for (int round = 0; round < 150; ++round) {
      SCOPED_TRACE(name + (", seed " + std::to_string(kSeed)) + ", round " + std::to_string(round));
      std::string damaged = whole;
      for (int edit = 0; edit < 3; ++edit) {
        damaged[random() % damaged.size()] =
            static_cast<char>("{}[]\",:0189ntf\xFF"[random() % 15]);
      }
      if (round % 3 == 0) damaged.resize(random() % damaged.size());
      auto tokenizer = Tokenizer::from_json(damaged);
      if (!tokenizer) {
        EXPECT_FALSE(tokenizer.error().message.empty());
        continue;
      }
      const auto ids = (*tokenizer)->encode("the lamp <|end|> \xEF\xAC\x81 e\xCC\x81\r\n1");
      (*tokenizer)->decode(ids);
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
