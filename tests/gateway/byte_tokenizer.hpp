// byte_tokenizer.hpp — a byte-level tokenizer without merges: token id = byte, and two specials.
#pragma once

#include <cassert>
#include <cstdint>
#include <memory>
#include <string>

#include <nlohmann/json.hpp>

#include "engine/text/tokenizer.hpp"

namespace tessera {

inline constexpr TokenId kBosId = 256;
inline constexpr TokenId kEosId = 257;
inline constexpr int kByteVocab = 258;

// UTF-8 of the code point that GPT-2's byte alphabet writes `byte` as.
inline std::string alphabet_text(int byte) {
  static const auto code_points = [] {
    std::array<int, 256> out{};
    int next = 256;
    for (int b = 0; b < 256; ++b) {
      const bool printable = (b >= '!' && b <= '~') || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
      out[static_cast<std::size_t>(b)] = printable ? b : next++;
    }
    return out;
  }();
  const int code = code_points[static_cast<std::size_t>(byte)];
  if (code < 0x80) return std::string(1, static_cast<char>(code));
  return {static_cast<char>(0xC0 | (code >> 6)), static_cast<char>(0x80 | (code & 0x3F))};
}

inline std::string byte_tokenizer_json() {
  using Json = nlohmann::ordered_json;
  Json vocab = Json::object();
  for (int byte = 0; byte < 256; ++byte) vocab[alphabet_text(byte)] = byte;
  const auto special = [](TokenId id, const char* text) {
    return Json{{"id", id},        {"content", text},     {"single_word", false}, {"lstrip", false},
                {"rstrip", false}, {"normalized", false}, {"special", true}};
  };
  Json json;
  json["version"] = "1.0";
  json["truncation"] = nullptr;
  json["padding"] = nullptr;
  json["added_tokens"] = Json::array({special(kBosId, "<s>"), special(kEosId, "</s>")});
  json["normalizer"] = nullptr;
  json["pre_tokenizer"] = {{"type", "ByteLevel"},
                           {"add_prefix_space", false},
                           {"trim_offsets", true},
                           {"use_regex", true}};
  json["post_processor"] = nullptr;
  json["decoder"] = {{"type", "ByteLevel"},
                     {"add_prefix_space", true},
                     {"trim_offsets", true},
                     {"use_regex", true}};
  json["model"] = {{"type", "BPE"},
                   {"dropout", nullptr},
                   {"unk_token", nullptr},
                   {"continuing_subword_prefix", nullptr},
                   {"end_of_word_suffix", nullptr},
                   {"fuse_unk", false},
                   {"byte_fallback", false},
                   {"vocab", vocab},
                   {"merges", Json::array()}};
  return json.dump();
}

inline std::unique_ptr<Tokenizer> byte_tokenizer() {
  return Tokenizer::from_json(byte_tokenizer_json()).value();
}

// The tokens of a text, one a byte.
inline std::vector<TokenId> bytes_as_ids(std::string_view text) {
  std::vector<TokenId> ids;
  for (const char c : text) ids.push_back(static_cast<unsigned char>(c));
  return ids;
}

}  // namespace tessera
