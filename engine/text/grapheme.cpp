#include "engine/text/grapheme.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>

#include <unicode/uchar.h>

#include "engine/text/unicode_tables.hpp"
#include "engine/text/utf8.hpp"

namespace tessera {
namespace {

struct Character {
  char32_t code_point;
  int break_class;  // UGraphemeClusterBreak
  bool pictographic;
  std::size_t bytes;
};

// Hugging Face's library knows Unicode 16 here; marks that are too new for ICU are in our tables.
int break_class_of(char32_t code_point) {
  constexpr char32_t kTuluTigalariRepha = 0x113D1;
  if (code_point == kTuluTigalariRepha) return U_GCB_PREPEND;
  const auto c = static_cast<UChar32>(code_point);
  if (u_charType(c) == U_UNASSIGNED) {
    const bool mark = unicode_set(UnicodeTable::kMn).contains(code_point) ||
                      unicode_set(UnicodeTable::kMc).contains(code_point);
    if (mark) return U_GCB_EXTEND;
  }
  return u_getIntPropertyValue(c, UCHAR_GRAPHEME_CLUSTER_BREAK);
}

Character read_character(std::string_view text) {
  const Utf8Step step = utf8_step(text);
  const auto c = static_cast<UChar32>(step.code_point);
  return {step.code_point, break_class_of(step.code_point),
          u_hasBinaryProperty(c, UCHAR_EXTENDED_PICTOGRAPHIC) != 0, step.bytes};
}

bool is_control(int break_class) {
  return break_class == U_GCB_CONTROL || break_class == U_GCB_CR || break_class == U_GCB_LF;
}

// GB6 to GB8: the parts of a Hangul syllable.
bool joins_hangul(int before, int after) {
  if (before == U_GCB_L) {
    return after == U_GCB_L || after == U_GCB_V || after == U_GCB_LV || after == U_GCB_LVT;
  }
  if (before == U_GCB_LV || before == U_GCB_V) return after == U_GCB_V || after == U_GCB_T;
  return (before == U_GCB_LVT || before == U_GCB_T) && after == U_GCB_T;
}

bool extends(int break_class) {
  return break_class == U_GCB_EXTEND || break_class == U_GCB_ZWJ ||
         break_class == U_GCB_SPACING_MARK;
}

// GB9c: consonants that a virama joins to the next one (Unicode 15.1, InCB=Consonant), which ICU 72
// does not tell.
bool is_consonant(char32_t c) {
  static constexpr std::array<std::pair<char32_t, char32_t>, 26> kRanges = {
      {{0x915, 0x939}, {0x958, 0x95F}, {0x978, 0x97F}, {0x995, 0x9A8}, {0x9AA, 0x9B0},
       {0x9B2, 0x9B2}, {0x9B6, 0x9B9}, {0x9DC, 0x9DD}, {0x9DF, 0x9DF}, {0x9F0, 0x9F1},
       {0xA95, 0xAA8}, {0xAAA, 0xAB0}, {0xAB2, 0xAB3}, {0xAB5, 0xAB9}, {0xAF9, 0xAF9},
       {0xB15, 0xB28}, {0xB2A, 0xB30}, {0xB32, 0xB33}, {0xB35, 0xB39}, {0xB5C, 0xB5D},
       {0xB5F, 0xB5F}, {0xB71, 0xB71}, {0xC15, 0xC28}, {0xC2A, 0xC39}, {0xC58, 0xC5A},
       {0xD15, 0xD3A}}};
  return std::any_of(kRanges.begin(), kRanges.end(),
                     [c](const auto& range) { return c >= range.first && c <= range.second; });
}

bool is_virama(char32_t c) {
  return c == 0x94D || c == 0x9CD || c == 0xACD || c == 0xB4D || c == 0xC4D || c == 0xD4D;
}

// What of the characters so far decides whether the next one belongs to them.
class Cluster {
 public:
  explicit Cluster(const Character& first) { add(first); }

  bool takes(const Character& next) const {
    if (last_ == U_GCB_CR && next.break_class == U_GCB_LF) return true;
    if (is_control(last_) || is_control(next.break_class)) return false;
    if (extends(next.break_class) || last_ == U_GCB_PREPEND) return true;
    if (joins_hangul(last_, next.break_class)) return true;
    if (linked_ && is_consonant(next.code_point)) return true;               // GB9c
    if (emoji_ && last_ == U_GCB_ZWJ && next.pictographic) return true;      // GB11
    return flags_ % 2 == 1 && next.break_class == U_GCB_REGIONAL_INDICATOR;  // GB12
  }

  void add(const Character& character) {
    last_ = character.break_class;
    const bool mark = last_ == U_GCB_EXTEND || last_ == U_GCB_ZWJ;
    if (is_consonant(character.code_point)) {
      consonant_ = true;
      linked_ = false;
    } else if (is_virama(character.code_point)) {
      linked_ = consonant_;
    } else if (!mark) {
      consonant_ = linked_ = false;
    }
    emoji_ = character.pictographic || (emoji_ && mark);
    flags_ = last_ == U_GCB_REGIONAL_INDICATOR ? flags_ + 1 : 0;
  }

 private:
  int last_ = U_GCB_OTHER;
  int flags_ = 0;           // regional indicators in a row
  bool emoji_ = false;      // a pictograph and marks, perhaps with a joiner at the end
  bool consonant_ = false;  // a consonant of GB9c and marks
  bool linked_ = false;     // one of those marks is a virama
};

bool plain_ascii(std::string_view text, std::size_t at) {
  const auto byte = static_cast<std::uint8_t>(text[at]);
  return byte >= 0x20 && byte < 0x7F;
}

}  // namespace

std::size_t grapheme_bytes(std::string_view text) {
  if (plain_ascii(text, 0) && (text.size() == 1 || plain_ascii(text, 1))) return 1;
  const Character first = read_character(text);
  Cluster cluster(first);
  std::size_t bytes = first.bytes;
  while (bytes < text.size()) {
    const Character next = read_character(text.substr(bytes));
    if (!cluster.takes(next)) break;
    cluster.add(next);
    bytes += next.bytes;
  }
  return bytes;
}

}  // namespace tessera
