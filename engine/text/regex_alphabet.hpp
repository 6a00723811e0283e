// regex_alphabet.hpp — a pattern over code points, rewritten over the few classes it tells apart.
//
// `\p{L}+| ?\d` distinguishes letters, digits, the space and the rest: four classes. The pattern is
// rewritten as one over bytes that stand for such classes, and a text is mapped class by class
// before it is searched. So what a letter is comes from our tables and not from the regular
// expression engine's, and the engine works on bytes with small bitmaps, not on Unicode.
//
// The patterns are in Oniguruma's Ruby syntax, as Hugging Face runs them. What differs from PCRE2
// is spelled out: `{n,m}+` repeats a repetition and is not possessive, `{,n}` begins at zero,
// classes may be nested and intersected, `^` and `$` hold at every line, \h is a hex digit.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/text/code_point_set.hpp"
#include "storage/result.hpp"

namespace tessera {

// Which class each code point is in. Immutable and thread-safe.
class CodePointClasses {
 public:
  // The coarsest classes that each of `sets` is a union of. At most kMax; more give false.
  static constexpr std::size_t kMax = 250;
  bool build(const std::vector<CodePointSet>& sets);

  std::uint8_t of_ascii(char c) const { return ascii_[static_cast<std::uint8_t>(c)]; }
  std::uint8_t of(char32_t code_point) const {
    return pages_[page_of_[code_point >> kPageBits]][code_point & (kPageSize - 1)];
  }
  // The classes of `set`, which is one of those given to build(), as bytes in ascending order.
  std::string classes_of(const CodePointSet& set) const;
  std::size_t size() const { return representatives_.size(); }

 private:
  static constexpr unsigned kPageBits = 8;
  static constexpr std::size_t kPageSize = std::size_t{1} << kPageBits;
  using Page = std::array<std::uint8_t, kPageSize>;

  std::array<std::uint8_t, 128> ascii_{};
  std::vector<std::uint16_t> page_of_;
  std::vector<Page> pages_;
  std::vector<std::pair<std::uint8_t, char32_t>>
      representatives_;  // a class and one of its members
};

struct TranslatedRegex {
  std::string pattern;  // for PCRE2 without UTF, over the bytes of `classes`
  CodePointClasses classes;
};

// Errors: kInvalidValue, saying what is not supported and at which byte of the pattern.
Result<TranslatedRegex> translate_regex(std::string_view pattern);

}  // namespace tessera
