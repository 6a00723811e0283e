// regex.hpp — the regular expressions of tokenizer.json, on PCRE2's JIT compiler.
//
// Patterns come with the model, texts from anyone. What a pattern means is what Oniguruma, which
// Hugging Face runs them on, makes of it: regex_alphabet.hpp says how that is brought to PCRE2.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/text/regex_alphabet.hpp"
#include "storage/result.hpp"

struct pcre2_real_code_8;

namespace tessera {

// Immutable and thread-safe.
class Regex {
 public:
  // Errors: kInvalidValue with the offset in the pattern.
  static Result<Regex> compile(std::string_view pattern);

  // Where a match begins and ends, in bytes.
  struct Match {
    std::size_t begin;
    std::size_t end;
  };

  // Appends the matches in `text` to `matches`, left to right; a match may be empty, but not right
  // behind another. `text` is valid UTF-8. Should the engine run out of its limits on some hostile
  // text, the search ends there as if nothing more matched.
  void find_all(std::string_view text, std::vector<Match>& matches) const;

 private:
  struct FreeCode {
    void operator()(pcre2_real_code_8* code) const;
  };

  Regex(pcre2_real_code_8* code, CodePointClasses classes)
      : code_(code), classes_(std::move(classes)) {}

  bool map_to_classes(std::string_view text, std::string& classes) const;

  std::unique_ptr<pcre2_real_code_8, FreeCode> code_;
  CodePointClasses classes_;
};

// A literal as a pattern that matches just it.
std::string escape_regex(std::string_view literal);

}  // namespace tessera
