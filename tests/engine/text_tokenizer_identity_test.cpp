#include <string>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "engine/text/tokenizer_identity.hpp"

namespace tessera {
namespace {

using Json = nlohmann::ordered_json;

Json added_token(int id, const char* content) {
  return {{"id", id},        {"content", content},  {"single_word", false}, {"lstrip", false},
          {"rstrip", false}, {"normalized", false}, {"special", true}};
}

// A byte-level tokenizer of "a", "b", "ab" and an end token.
Json tokenizer_file() {
  Json file;
  file["version"] = "1.0";
  file["truncation"] = nullptr;
  file["padding"] = nullptr;
  file["added_tokens"] = Json::array({added_token(3, "<end>")});
  file["normalizer"] = nullptr;
  file["pre_tokenizer"] = {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", true}};
  file["post_processor"] = nullptr;
  file["decoder"] = {{"type", "ByteLevel"}, {"add_prefix_space", true}, {"use_regex", true}};
  file["model"] = {{"type", "BPE"},
                   {"vocab", {{"a", 0}, {"b", 1}, {"ab", 2}}},
                   {"merges", Json::array({"a b"})}};
  return file;
}

class TokenizerIdentityTest : public testing::Test {
 protected:
  std::optional<std::string> difference(const char* name, const Json& file) {
    return tokenizer_file_difference(identity_, *tokenizer_, name, file.dump());
  }

  const TokenizerIdentity identity_ = TokenizerIdentity::from_json(tokenizer_file().dump()).value();
  const std::unique_ptr<Tokenizer> tokenizer_ =
      Tokenizer::from_json(tokenizer_file().dump()).value();
};

TEST_F(TokenizerIdentityTest, FormDoesNotMatter) {
  Json other;
  other["model"] = {{"vocab", {{"ab", 2}, {"b", 1}, {"a", 0}}},
                    {"ignore_merges", false},
                    {"merges", Json::array({Json::array({"a", "b"})})},
                    {"type", "BPE"}};
  other["added_tokens"] = tokenizer_file()["added_tokens"];
  other["padding"] = {{"strategy", "BatchLongest"}};
  EXPECT_EQ(TokenizerIdentity::from_json(other.dump(2))->digest(), identity_.digest());
  EXPECT_FALSE(identity_.difference(other.dump(2)));
  EXPECT_EQ(identity_.digest().size(), 64U);
}

TEST_F(TokenizerIdentityTest, ContentDoes) {
  Json id = tokenizer_file();
  id["model"]["vocab"]["b"] = 5;
  Json token = tokenizer_file();
  token["model"]["vocab"]["c"] = 4;
  Json merge = tokenizer_file();
  merge["model"]["merges"] = Json::array({"b a"});
  Json added = tokenizer_file();
  added["added_tokens"].push_back(added_token(4, "<more>"));
  Json special = tokenizer_file();
  special["added_tokens"][0]["special"] = false;
  for (const Json& file : {id, token, merge, added, special}) {
    EXPECT_TRUE(difference("tokenizer.json", file)) << file.dump();
  }
}

TEST_F(TokenizerIdentityTest, UnigramScoresCount) {
  const auto digest = [](double score) {
    Json file;
    file["model"] = {{"type", "Unigram"}, {"vocab", Json::array({Json::array({"a", score})})}};
    return TokenizerIdentity::from_json(file.dump())->digest();
  };
  EXPECT_EQ(digest(-1.5), digest(-1.5));
  EXPECT_NE(digest(-1.5), digest(-1.25));
}

TEST_F(TokenizerIdentityTest, WhatIsNoTokenizerDiffers) {
  EXPECT_TRUE(identity_.difference("{"));
  EXPECT_TRUE(identity_.difference("{}"));
  EXPECT_TRUE(identity_.difference(R"({"model": {"vocab": {"a": "b"}}})"));
  EXPECT_TRUE(identity_.difference(R"({"model": {"vocab": {}, "merges": [1]}})"));
  EXPECT_TRUE(identity_.difference(R"({"model": {"vocab": {}}, "added_tokens": [{}]})"));
}

TEST_F(TokenizerIdentityTest, OtherFilesMayNameOnlyTokensOfTheBase) {
  EXPECT_FALSE(difference("added_tokens.json", {{"<end>", 3}}));
  EXPECT_TRUE(difference("added_tokens.json", {{"<end>", 4}}));
  EXPECT_TRUE(difference("added_tokens.json", {{"<new>", 4}}));
  EXPECT_FALSE(difference("special_tokens_map.json", {{"eos_token", "<end>"}, {"pad_token", "a"}}));
  EXPECT_TRUE(difference("special_tokens_map.json", {{"eos_token", {{"content", "<im>"}}}}));
  EXPECT_FALSE(difference("tokenizer_config.json",
                          {{"eos_token", "<end>"},
                           {"model_max_length", 5},
                           {"added_tokens_decoder", {{"3", {{"content", "<end>"}}}}}}));
  EXPECT_TRUE(difference("tokenizer_config.json",
                         {{"added_tokens_decoder", {{"2", {{"content", "<end>"}}}}}}));
  EXPECT_TRUE(tokenizer_file_difference(identity_, *tokenizer_, "added_tokens.json", "[]"));
}

}  // namespace
}  // namespace tessera
