// driver.cpp — guided generation at the request of Python: scripts/bench guided, and the tests of
// tests/engine/guided that hold it against another implementation.
//
//   guided_driver
//
// One JSON object a line, in and out. First our own: {"name": "tessera"}. A request is one of
//
//   {"tokenizer": PATH}             a tokenizer.json's vocabulary; {"vocab_size"}
//   {"tokens": [TEXT, ...]}         a vocabulary of these, each byte a character of U+0000 to
//   U+00FF,
//                                   and an end token after them; {"vocab_size"}
//   {"encode": [TEXT, ...]}         {"ids": [[...], ...]}, by the tokenizer
//   {"clock": N}                    {"ns": [...]}: what N readings of an empty interval give
//   {"replay": CASE, "ids": [[...], ...], "warm": B}
//                                   follows each instance token by token: mask, then accept
//   {"masks": CASE, "ids": ...}     the tokens allowed after each prefix
//   {"walk": CASE, "count", "seed", "soft", "hard"}
//                                   documents drawn from the masks
//
// CASE is {"schema": TEXT, "draft", "order", "integers", "whitespace", "formats", "documents"}. The
// answer to the last three has "compile_ns" and, where the schema was refused, "refused" and
// "findings". Any may be {"error"}. Times are of the calling thread's CPU clock, in nanoseconds.
#include <exception>
#include <fstream>
#include <iostream>
#include <iterator>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "engine/text/tokenizer.hpp"
#include "gateway/cli/malloc_choices.hpp"
#include "tests/bench/guided/cases.hpp"

namespace tessera::guided {
namespace {

std::string read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) throw std::runtime_error("cannot read " + path);
  return {std::istreambuf_iterator<char>(in), {}};
}

// Each character of `text`, all of them below U+0100, as a byte.
std::string to_bytes(const std::string& text) {
  std::string bytes;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto lead = static_cast<unsigned char>(text[i]);
    if (lead < 0x80) {
      bytes += text[i];
    } else {
      bytes +=
          static_cast<char>((lead & 3U) << 6 | (static_cast<unsigned char>(text.at(++i)) & 63U));
    }
  }
  return bytes;
}

class Driver {
 public:
  Json answer(const Json& request) {
    if (request.contains("tokenizer")) return load(request.at("tokenizer"));
    if (request.contains("tokens")) return take(request.at("tokens"));
    if (request.contains("encode")) return encode(request.at("encode"));
    if (request.contains("clock")) return empty_intervals(request.at("clock"));
    if (!vocabulary_) throw std::runtime_error("no vocabulary is loaded");
    if (request.contains("replay")) return replay(request, vocabulary_);
    if (request.contains("masks")) return masks(request, vocabulary_);
    if (request.contains("walk")) return walk(request, vocabulary_);
    throw std::runtime_error("no such request");
  }

 private:
  Json load(const std::string& path) {
    auto made = Tokenizer::from_json(read_file(path));
    if (!made) throw std::runtime_error(made.error().message);
    tokenizer_ = std::move(*made);
    VocabularyTokens tokens;
    tokens.vocab_size = tokenizer_->vocab_size();
    for (TokenId id = 0; id < tokens.vocab_size; ++id) {
      tokens.special.push_back(tokenizer_->is_special(id));
      tokens.bytes.emplace_back(tokens.special.back() ? "" : tokenizer_->token_bytes(id));
      if (tokenizer_->token_text(id) == "<|end_of_text|>") tokens.end_tokens.push_back(id);
    }
    tokens.encode = [shared = tokenizer_](std::string_view text) {
      return shared->encode(text, {.parse_special = false});
    };
    return use(std::move(tokens));
  }

  Json take(const std::vector<std::string>& texts) {
    VocabularyTokens tokens;
    for (const std::string& text : texts) tokens.bytes.push_back(to_bytes(text));
    tokens.bytes.emplace_back();
    tokens.special.assign(tokens.bytes.size(), false);
    tokens.special.back() = true;
    tokens.end_tokens = {static_cast<TokenId>(texts.size())};
    tokens.vocab_size = static_cast<int>(tokens.bytes.size());
    tokens.encode = [bytes = tokens.bytes](std::string_view text) {
      return greedy_tokens(bytes, text);
    };
    return use(std::move(tokens));
  }

  // The longest token each time: canonical enough for a vocabulary that only a test has.
  static std::vector<TokenId> greedy_tokens(const std::vector<std::string>& bytes,
                                            std::string_view text) {
    std::vector<TokenId> ids;
    while (!text.empty()) {
      std::size_t best = bytes.size();
      for (std::size_t id = 0; id < bytes.size(); ++id) {
        const std::string& token = bytes[id];
        if (token.empty() || !text.starts_with(token)) continue;
        if (best == bytes.size() || token.size() > bytes[best].size()) best = id;
      }
      if (best == bytes.size()) break;  // a byte that the vocabulary lacks
      ids.push_back(static_cast<TokenId>(best));
      text.remove_prefix(bytes[best].size());
    }
    return ids;
  }

  Json use(VocabularyTokens tokens) {
    const int vocab_size = tokens.vocab_size;
    vocabulary_ = std::make_shared<const Vocabulary>(std::move(tokens));
    return {{"vocab_size", vocab_size}};
  }

  Json encode(const Json& texts) const {
    if (!tokenizer_) throw std::runtime_error("no tokenizer is loaded");
    Json ids = Json::array();
    for (const Json& text : texts) {
      ids.push_back(
          tokenizer_->encode(text.get_ref<const std::string&>(), {.parse_special = false}));
    }
    return {{"ids", std::move(ids)}};
  }

  std::shared_ptr<Tokenizer> tokenizer_;
  std::shared_ptr<const Vocabulary> vocabulary_;
};

}  // namespace
}  // namespace tessera::guided

int main() {
  // Memory is managed as in the server.
  tessera::choose_malloc();
  tessera::return_freed_memory();
  tessera::guided::Driver driver;
  std::cout << nlohmann::json{{"name", "tessera"}} << std::endl;
  for (std::string line; std::getline(std::cin, line);) {
    try {
      std::cout << driver.answer(nlohmann::json::parse(line))
                       .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace)
                << std::endl;
    } catch (const std::exception& error) {
      std::cout << nlohmann::json{{"error", error.what()}} << std::endl;
    }
  }
}
