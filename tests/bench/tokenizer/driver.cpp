// driver.cpp — Tessera's tokenizers at the request of tokenizer.py, which holds them against
// Hugging Face's.
//
//   tokenizer_driver
//
// One JSON object a line. First our own: {"name": "tessera"}. Then, for each request,
//
//   {"load": PATH}                        {"vocab_size", "digest"}; of a tokenizer.json
//   {"load_gguf": PATH, "write": PATH}    the same; of a file with GgufVocabulary's fields, and the
//                                         tokenizer.json that they make is written
//   {"encode": [TEXT, ...], "plain": B}   {"ids": [[...], ...]}; B: special tokens are text
//   {"frame": TEXT}                       {"ids": [...]}, with what the post-processor adds
//   {"decode": [[...], ...], "skip": B}   {"texts": [...]}; B: special tokens give no text
//   {"stream": [[...], ...], "skip": B}   the same, token by token
//   {"time": [TEXT, ...]}                 {"seconds"} to encode them all, {"tokens"}
//
// or {"error": what is wrong}.
#include <chrono>
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

#include "engine/text/detokenizer.hpp"
#include "engine/text/tokenizer.hpp"

namespace tessera {
namespace {

using Json = nlohmann::json;

std::string read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) throw std::runtime_error("cannot read " + path);
  return {std::istreambuf_iterator<char>(in), {}};
}

template <class T>
T unwrap(Result<T> result) {
  if (!result) throw std::runtime_error(result.error().message);
  return std::move(*result);
}

template <class T>
void read_field(const Json& object, const char* name, T& out) {
  if (object.contains(name)) out = object.at(name).get<T>();
}
template <class T>
void read_field(const Json& object, const char* name, std::optional<T>& out) {
  if (object.contains(name)) out = object.at(name).get<T>();
}

GgufVocabulary read_vocabulary(const Json& object) {
  GgufVocabulary out;
  read_field(object, "model", out.model);
  read_field(object, "pre", out.pre);
  read_field(object, "tokens", out.tokens);
  read_field(object, "scores", out.scores);
  read_field(object, "token_type", out.token_type);
  read_field(object, "merges", out.merges);
  read_field(object, "bos_token_id", out.bos_token_id);
  read_field(object, "eos_token_id", out.eos_token_id);
  read_field(object, "unknown_token_id", out.unknown_token_id);
  read_field(object, "seperator_token_id", out.separator_token_id);
  read_field(object, "padding_token_id", out.padding_token_id);
  read_field(object, "cls_token_id", out.cls_token_id);
  read_field(object, "add_bos_token", out.add_bos_token);
  read_field(object, "add_eos_token", out.add_eos_token);
  read_field(object, "add_sep_token", out.add_sep_token);
  read_field(object, "add_space_prefix", out.add_space_prefix);
  read_field(object, "remove_extra_whitespaces", out.remove_extra_whitespaces);
  read_field(object, "precompiled_charsmap", out.precompiled_charsmap);
  return out;
}

class Driver {
 public:
  Json answer(const Json& request) {
    if (request.contains("load")) {
      tokenizer_ = unwrap(Tokenizer::from_json(read_file(request.at("load"))));
      return about();
    }
    if (request.contains("load_gguf")) return load_gguf(request);
    if (!tokenizer_) throw std::runtime_error("no tokenizer is loaded");
    if (request.contains("encode")) return encode(request);
    if (request.contains("frame")) {
      const auto text = request.at("frame").get<std::string>();
      return {{"ids", tokenizer_->encode(text, {.add_special = true})}};
    }
    if (request.contains("time")) return time(request.at("time"));
    return decode(request);
  }

 private:
  Json about() const {
    return {{"vocab_size", tokenizer_->vocab_size()}, {"digest", to_hex(tokenizer_->digest())}};
  }

  Json load_gguf(const Json& request) {
    const auto vocabulary = read_vocabulary(Json::parse(read_file(request.at("load_gguf"))));
    const auto file = unwrap(to_tokenizer_json(vocabulary));
    std::ofstream(request.at("write").get<std::string>()) << file.dump();
    tokenizer_ = unwrap(Tokenizer::from_tree(file));
    return about();
  }

  Json encode(const Json& request) const {
    Json ids = Json::array();
    const bool plain = request.value("plain", false);
    for (const Json& text : request.at("encode")) {
      ids.push_back(
          tokenizer_->encode(text.get_ref<const std::string&>(), {.parse_special = !plain}));
    }
    return {{"ids", std::move(ids)}};
  }

  Json decode(const Json& request) const {
    const bool skip = request.value("skip", true);
    const bool stream = request.contains("stream");
    Json texts = Json::array();
    for (const Json& item : request.at(stream ? "stream" : "decode")) {
      const auto ids = item.get<std::vector<TokenId>>();
      texts.push_back(stream ? streamed(ids, skip) : tokenizer_->decode(ids, skip));
    }
    return {{"texts", std::move(texts)}};
  }

  std::string streamed(const std::vector<TokenId>& ids, bool skip) const {
    Detokenizer detokenizer(*tokenizer_, skip);
    std::string text;
    for (const TokenId id : ids) text += detokenizer.push(id);
    return text + detokenizer.flush();
  }

  Json time(const Json& request) const {
    const auto texts = request.get<std::vector<std::string>>();
    std::size_t tokens = 0;
    const auto start = std::chrono::steady_clock::now();
    for (const std::string& text : texts) tokens += tokenizer_->encode(text).size();
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    return {{"seconds", seconds.count()}, {"tokens", tokens}};
  }

  std::unique_ptr<Tokenizer> tokenizer_;
};

}  // namespace
}  // namespace tessera

int main() {
  tessera::Driver driver;
  std::cout << nlohmann::json{{"name", "tessera"}} << std::endl;
  for (std::string line; std::getline(std::cin, line);) {
    try {
      std::cout << driver.answer(nlohmann::json::parse(line)) << std::endl;
    } catch (const std::exception& error) {
      std::cout << nlohmann::json{{"error", error.what()}} << std::endl;
    }
  }
}
