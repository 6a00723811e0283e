#include "tests/engine/guided/mask_fixture.hpp"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <set>
#include <sstream>
#include <utility>

#include <gtest/gtest.h>

#include "engine/guided/tokenizer_vocabulary.hpp"

namespace tessera::guided {
namespace {

namespace fs = std::filesystem;

std::shared_ptr<const Tokenizer> load_tokenizer(const fs::path& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  auto tokenizer = Tokenizer::from_json(text.str());
  EXPECT_TRUE(tokenizer) << path;
  return tokenizer ? std::shared_ptr<const Tokenizer>(std::move(*tokenizer)) : nullptr;
}

std::vector<TokenId> longest_first(const std::vector<std::string>& tokens, std::string_view text) {
  std::vector<TokenId> ids;
  while (!text.empty()) {
    std::size_t best = 0;
    for (std::size_t id = 0; id < tokens.size(); ++id) {
      if (tokens[id].size() > tokens[best].size() && text.starts_with(tokens[id])) best = id;
    }
    ids.push_back(static_cast<TokenId>(best));
    text.remove_prefix(tokens[best].size());
  }
  return ids;
}

}  // namespace

std::shared_ptr<const Vocabulary> toy_vocabulary(std::uint64_t seed) {
  const std::vector<std::string> pieces = {
      "a",  "b",    "c",    "foo",      "bar",      "ab",   "x",        "Z",  "0",
      "1",  "42",   ".",    "-",        " ",        "\n",   "\"",       "\\", "{",
      "}",  "[",    "]",    ":",        ",",        "\",",  "\":",      "é",  "日",
      "本", "🙂", "\xC3", "\xE6\x97", "\xF0\x9F", "\xA9", "\x99\x82", "@",  "true"};
  std::mt19937_64 random(seed);
  std::set<std::string> texts;
  for (int i = 0; i < 3000; ++i) {
    std::string text;
    for (std::uint64_t n = 1 + random() % 5; n > 0; --n) text += pieces[random() % pieces.size()];
    texts.insert(std::move(text));
  }
  VocabularyTokens tokens;
  tokens.bytes = {"", ""};
  for (int byte = 0; byte < 256; ++byte) tokens.bytes.emplace_back(1, static_cast<char>(byte));
  tokens.bytes.insert(tokens.bytes.end(), texts.begin(), texts.end());
  std::shuffle(tokens.bytes.begin() + 2, tokens.bytes.end(), random);
  tokens.bytes.push_back(tokens.bytes.back());  // two ids of the same bytes
  tokens.special.assign(tokens.bytes.size(), false);
  tokens.special[0] = tokens.special[1] = true;
  tokens.end_tokens = {0};
  tokens.vocab_size = static_cast<int>(tokens.bytes.size()) + 30;
  tokens.encode = [bytes = tokens.bytes](std::string_view text) {
    return longest_first(bytes, text);
  };
  return std::make_shared<const Vocabulary>(std::move(tokens));
}

std::shared_ptr<const Tokenizer> small_tokenizer(const std::string& name) {
  return load_tokenizer(fs::path(TESSERA_SOURCE_DIR) / "tests/engine/data/tokenizers" /
                        (name + ".json"));
}

std::shared_ptr<const Tokenizer> llama3_tokenizer() {
  const char* set = std::getenv("TESSERA_SHARED_DATA");
  const fs::path data = set ? fs::path(set) : fs::path(TESSERA_SOURCE_DIR) / "../shared/data";
  const fs::path path = data / "tokenizers" / "llama3.tokenizer.json";
  return fs::exists(path) ? load_tokenizer(path) : nullptr;
}

std::shared_ptr<const Vocabulary> vocabulary_of_tokenizer(
    std::shared_ptr<const Tokenizer> tokenizer, std::vector<TokenId> end_tokens, int num_pads) {
  const int size = tokenizer->vocab_size() + num_pads;
  return std::make_shared<const Vocabulary>(vocabulary_of(std::move(tokenizer), end_tokens, size));
}

std::shared_ptr<const Vocabulary> llama3_vocabulary() {
  static const std::shared_ptr<const Vocabulary> kVocabulary = [] {
    auto tokenizer = llama3_tokenizer();
    if (!tokenizer) return std::shared_ptr<const Vocabulary>();
    const auto end = tokenizer->id_of("<|eot_id|>");
    return vocabulary_of_tokenizer(std::move(tokenizer), {end.value_or(128'009)}, 64);
  }();
  return kVocabulary;
}

TokenMask stepped_mask(Recognizer& recognizer, Position position, const Vocabulary& vocabulary) {
  TokenMask mask(vocabulary.vocab_size());
  for (TokenId id = 0; id < vocabulary.vocab_size(); ++id) {
    const std::string_view bytes = vocabulary.bytes(id);
    Position at = position;
    for (std::size_t i = 0; i < bytes.size() && !at.dead(); ++i) {
      at = recognizer.step(at, static_cast<std::uint8_t>(bytes[i]));
    }
    if (!bytes.empty() && !at.dead()) mask.set(id);
  }
  return mask;
}

std::string difference(const TokenMask& a, const TokenMask& b, const Vocabulary& vocabulary) {
  for (TokenId id = 0; id < vocabulary.vocab_size(); ++id) {
    if (a[id] != b[id]) return std::to_string(id) + ": " + std::string(vocabulary.bytes(id));
  }
  return {};
}

ConstraintSpec regex_spec(std::string pattern) {
  ConstraintSpec spec;
  spec.kind = ConstraintKind::kRegex;
  spec.source = std::move(pattern);
  return spec;
}

ConstraintSpec choice_spec(std::vector<std::string> choices) {
  ConstraintSpec spec;
  spec.kind = ConstraintKind::kChoice;
  spec.choices = std::move(choices);
  return spec;
}

std::shared_ptr<Constraint> compiled(const ConstraintSpec& spec,
                                     std::shared_ptr<const Vocabulary> vocabulary,
                                     const GuidedLimits& limits) {
  auto made = compile_constraint(spec, std::move(vocabulary), limits);
  if (auto* error = std::get_if<CompileError>(&made)) {
    ADD_FAILURE() << spec.source << ": " << error->findings.at(0).reason;
    return nullptr;
  }
  return std::get<std::shared_ptr<Constraint>>(std::move(made));
}

}  // namespace tessera::guided
