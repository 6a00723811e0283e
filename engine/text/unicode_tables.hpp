// unicode_tables.hpp — which code points Hugging Face `tokenizers` takes for letters, digits, ...
//
// A tokenizer must cut where the one it was trained with cuts, so what counts is not the newest
// Unicode but what that library knows, and its parts know different versions. The tables are made
// by asking it about every code point (tests/engine/data/make_unicode_tables.py).
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "engine/text/code_point_set.hpp"

namespace tessera {

enum class UnicodeTable : std::uint8_t {
  // general categories and scripts, as regular expressions see them
  kLu,
  kLl,
  kLt,
  kLm,
  kLo,
  kMn,
  kMc,
  kMe,
  kNd,
  kNl,
  kNo,
  kPc,
  kPd,
  kPs,
  kPe,
  kPi,
  kPf,
  kPo,
  kSm,
  kSc,
  kSk,
  kSo,
  kZs,
  kZl,
  kZp,
  kCc,
  kCf,
  kCo,
  kArabic,
  kCyrillic,
  kDevanagari,
  kGreek,
  kHan,
  kHangul,
  kHebrew,
  kHiragana,
  kKatakana,
  kKhmer,
  kLao,
  kLatin,
  kMyanmar,
  kThai,
  kWord,         // \w
  kSpace,        // \s
  kNumeric,      // of the pre-tokeniser Digits
  kPunctuation,  // of the pre-tokenisers Punctuation and BertPreTokenizer
  kControl,      // what BertNormalizer's clean_text removes
  kNonspacing,   // what its strip_accents removes, after NFD
  kCombining,    // what StripAccents removes
};

// A table, read out once. Thread-safe.
const CodePointSet& unicode_set(UnicodeTable table);

// The set of `\p{name}`: a general category, a group of them ("L", "P") or a script; null if the
// name is none that is known here.
const CodePointSet* property_set(std::string_view name);

// The letter in lower case: usually one code point, two for U+0130.
struct Lowered {
  char32_t first;
  char32_t second;  // 0: none
};
Lowered to_lower(char32_t code_point);

// How the tables are stored; for unicode_tables.cpp.
struct LowerRun {
  char32_t first;
  char32_t last;
  char32_t step;
  std::int32_t delta;
};
CodePointSet read_table(UnicodeTable table);
std::span<const LowerRun> lower_runs();

}  // namespace tessera
