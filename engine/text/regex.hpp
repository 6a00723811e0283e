// regex.hpp — the regular expressions of tokenizer.json, on PCRE2's JIT compiler.
//
// Hugging Face runs these patterns on Oniguruma. The two engines agree on what tokenizers use but
// for two classes, which are spelled out when the pattern is compiled: `\s` is Unicode White_Space
// there, while PCRE2 also counts U+180E, and `\w` has marks and connectors that PCRE2's has not.
// Patterns come with the model, texts from anyone. PCRE2 10.42 knows Unicode 14, Hugging Face 16:
// beside newer characters a text may be cut in other places, which changes ids only where a merge
// would cross the cut.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "storage/result.hpp"

struct pcre2_real_code_8;
struct pcre2_real_match_data_8;

namespace tessera {

// Immutable and thread-safe.
class Regex {
 public:
  // Errors: kInvalidValue with the offset in the pattern.
  static Result<Regex> compile(std::string_view pattern);

  // Calls `visit(begin, end)` for each match in `text`, left to right; a match may be empty, but
  // not right behind another. `text` is valid UTF-8. Should the engine run out of its limits on
  // some hostile text, the search ends there as if nothing more matched.
  void for_each_match(std::string_view text,
                      const std::function<void(std::size_t, std::size_t)>& visit) const;

 private:
  struct FreeCode {
    void operator()(pcre2_real_code_8* code) const;
  };

  explicit Regex(pcre2_real_code_8* code) : code_(code) {}

  std::unique_ptr<pcre2_real_code_8, FreeCode> code_;
};

// A literal as a pattern that matches just it.
std::string escape_regex(std::string_view literal);

}  // namespace tessera
