// gguf_pre_tokenizers.hpp — what the names in "tokenizer.ggml.pre" mean.
#pragma once

#include <string_view>

#include <nlohmann/json.hpp>

namespace tessera {

// A byte-level tokenizer's rules, as tokenizer.json has them.
struct GgufPreTokenizer {
  nlohmann::ordered_json normalizer;
  nlohmann::ordered_json pre_tokenizer;
  bool ignore_merges;
  bool add_bos;  // where the file does not say
};

// Whether `name` is known; if so, `out` is what it means.
bool find_gguf_pre_tokenizer(std::string_view name, GgufPreTokenizer& out);

}  // namespace tessera
