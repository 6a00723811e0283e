// gguf_metadata.hpp — the tokenizer of a GGUF file, read just as far as tests of tokenizers need
// it.
#pragma once

#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "engine/text/gguf_vocabulary.hpp"

namespace tessera {

// For files that are known to be good; throws std::runtime_error otherwise.
class GgufMetadata {
 public:
  explicit GgufMetadata(std::string_view file) : rest_(file) {
    if (take(4) != "GGUF") throw std::runtime_error("not GGUF");
    number<std::uint32_t>();
    number<std::uint64_t>();
    const auto count = number<std::uint64_t>();
    for (std::uint64_t i = 0; i < count; ++i) {
      const std::string key = text();
      read_value(key, number<std::uint32_t>());
    }
  }

  const GgufVocabulary& vocabulary() const { return vocabulary_; }

 private:
  static constexpr std::uint32_t kBool = 7;
  static constexpr std::uint32_t kString = 8;
  static constexpr std::uint32_t kList = 9;

  std::string_view take(std::size_t bytes) {
    if (bytes > rest_.size()) throw std::runtime_error("GGUF ends too early");
    const std::string_view taken = rest_.substr(0, bytes);
    rest_.remove_prefix(bytes);
    return taken;
  }
  template <class T>
  T number() {
    T value;
    std::memcpy(&value, take(sizeof value).data(), sizeof value);
    return value;
  }
  std::string text() { return std::string(take(number<std::uint64_t>())); }

  static std::size_t width(std::uint32_t type) {
    static constexpr std::size_t kWidths[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    return kWidths[type];
  }

  void read_value(const std::string& key, std::uint32_t type) {
    constexpr std::string_view kPrefix = "tokenizer.ggml.";
    const std::string name = key.starts_with(kPrefix) ? key.substr(kPrefix.size()) : "";
    if (type == kList) return read_list(name);
    if (type == kString) return set_text(name, text());
    const std::string_view bytes = take(width(type));
    std::int64_t value = 0;
    std::memcpy(&value, bytes.data(), bytes.size());
    type == kBool ? set_flag(name, value != 0) : set_id(name, value);
  }

  void read_list(const std::string& name) {
    const auto type = number<std::uint32_t>();
    const auto count = number<std::uint64_t>();
    for (std::uint64_t i = 0; i < count; ++i) {
      if (type == kString) {
        std::string item = text();
        if (name == "tokens") vocabulary_.tokens.push_back(std::move(item));
        if (name == "merges") vocabulary_.merges.push_back(std::move(item));
      } else if (name == "scores") {
        vocabulary_.scores.push_back(number<float>());
      } else if (name == "token_type") {
        vocabulary_.token_type.push_back(number<std::int32_t>());
      } else if (name == "precompiled_charsmap") {
        vocabulary_.precompiled_charsmap.push_back(number<std::uint8_t>());
      } else {
        take(width(type));
      }
    }
  }

  void set_text(const std::string& name, std::string value) {
    if (name == "model") vocabulary_.model = std::move(value);
    if (name == "pre") vocabulary_.pre = std::move(value);
  }
  void set_id(const std::string& name, std::int64_t value) {
    if (name == "bos_token_id") vocabulary_.bos_token_id = value;
    if (name == "eos_token_id") vocabulary_.eos_token_id = value;
    if (name == "unknown_token_id") vocabulary_.unknown_token_id = value;
  }
  void set_flag(const std::string& name, bool value) {
    if (name == "add_bos_token") vocabulary_.add_bos_token = value;
    if (name == "add_eos_token") vocabulary_.add_eos_token = value;
    if (name == "add_space_prefix") vocabulary_.add_space_prefix = value;
  }

  std::string_view rest_;
  GgufVocabulary vocabulary_;
};

}  // namespace tessera
