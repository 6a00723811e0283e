// normalizer_steps.cpp — what each step of a Normalizer does to a text.
#include <cstdint>

#include "engine/text/byte_alphabet.hpp"
#include "engine/text/normalizer.hpp"
#include "engine/text/unicode_tables.hpp"
#include "engine/text/utf8.hpp"

namespace tessera {
namespace {

// Calls `rewrite(code_point, its bytes)` for each code point of `text`.
template <class Rewrite>
void for_each_code_point(std::string_view text, Rewrite rewrite) {
  while (!text.empty()) {
    const Utf8Step step = utf8_step(text);
    rewrite(step.code_point, text.substr(0, step.bytes));
    text.remove_prefix(step.bytes);
  }
}

std::string without(std::string_view text, const CodePointSet& set) {
  std::string out;
  out.reserve(text.size());
  for_each_code_point(text, [&](char32_t c, std::string_view bytes) {
    if (!set.contains(c)) out += bytes;
  });
  return out;
}

std::string lowered(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for_each_code_point(text, [&](char32_t c, std::string_view) {
    const Lowered lower = to_lower(c);
    append_utf8(out, lower.first);
    if (lower.second != 0) append_utf8(out, lower.second);
  });
  return out;
}

// Control characters away, every white space a space.
std::string cleaned(std::string_view text) {
  const CodePointSet& control = unicode_set(UnicodeTable::kControl);
  const CodePointSet& space = unicode_set(UnicodeTable::kSpace);
  std::string out;
  out.reserve(text.size());
  for_each_code_point(text, [&](char32_t c, std::string_view bytes) {
    if (control.contains(c)) return;
    out += space.contains(c) ? std::string_view(" ") : bytes;
  });
  return out;
}

// The blocks that BERT takes for Chinese.
CodePointSet make_chinese() {
  CodePointSet set;
  set.add(0x3400, 0x4DC0);
  set.add(0x4E00, 0xA000);
  set.add(0xF900, 0xFB00);
  set.add(0x20000, 0x2A6E0);
  set.add(0x2A700, 0x2B740);
  set.add(0x2B740, 0x2B820);
  set.add(0x2B920, 0x2CEB0);
  set.add(0x2F800, 0x2FA20);
  return set;
}

std::string with_chinese_apart(std::string_view text) {
  static const CodePointSet kChinese = make_chinese();
  std::string out;
  out.reserve(text.size());
  for_each_code_point(text, [&](char32_t c, std::string_view bytes) {
    const bool chinese = kChinese.contains(c);
    if (chinese) out += ' ';
    out += bytes;
    if (chinese) out += ' ';
  });
  return out;
}

// What NMT-trained models leave out, and what they take for a space.
bool nmt_removes(char32_t c) {
  return (c >= 0x1 && c <= 0x8) || c == 0xB || (c >= 0xE && c <= 0x1F) || c == 0x7F || c == 0x8F ||
         c == 0x9F;
}

bool nmt_takes_for_space(char32_t c) {
  return c == 0x9 || c == 0xA || c == 0xC || c == 0xD || c == 0x1680 ||
         (c >= 0x200B && c <= 0x200F) || c == 0x2028 || c == 0x2029 || c == 0x2581 || c == 0xFEFF ||
         c == 0xFFFD;
}

std::string nmt(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for_each_code_point(text, [&](char32_t c, std::string_view bytes) {
    if (nmt_removes(c)) return;
    out += nmt_takes_for_space(c) ? std::string_view(" ") : bytes;
  });
  return out;
}

std::string_view without_leading_space(std::string_view text) {
  const CodePointSet& space = unicode_set(UnicodeTable::kSpace);
  while (!text.empty()) {
    const Utf8Step step = utf8_step(text);
    if (!space.contains(step.code_point)) break;
    text.remove_prefix(step.bytes);
  }
  return text;
}

std::string_view without_trailing_space(std::string_view text) {
  const CodePointSet& space = unicode_set(UnicodeTable::kSpace);
  while (!text.empty()) {
    const std::size_t last = last_code_point(text);
    if (!space.contains(utf8_step(text.substr(last)).code_point)) break;
    text = text.substr(0, last);
  }
  return text;
}

}  // namespace

struct Normalizer::Apply {
  std::string_view text;

  std::string operator()(UnicodeForm form) const { return to_unicode_form(text, form); }
  std::string operator()(const Prepend& step) const {
    return text.empty() ? std::string() : step.text + std::string(text);
  }
  std::string operator()(const Replacement& step) const { return step.apply(text); }
  std::string operator()(const Strip& step) const {
    std::string_view out = text;
    if (step.left) out = without_leading_space(out);
    if (step.right) out = without_trailing_space(out);
    return std::string(out);
  }
  std::string operator()(const Bert& step) const {
    std::string out = step.clean_text ? cleaned(text) : std::string(text);
    if (step.handle_chinese_chars) out = with_chinese_apart(out);
    if (step.strip_accents) {
      out =
          without(to_unicode_form(out, UnicodeForm::kNfd), unicode_set(UnicodeTable::kNonspacing));
    }
    return step.lowercase ? lowered(out) : out;
  }
  std::string operator()(Lowercase) const { return lowered(text); }
  std::string operator()(StripAccents) const {
    return without(text, unicode_set(UnicodeTable::kCombining));
  }
  std::string operator()(Nmt) const { return nmt(text); }
  std::string operator()(ByteAlphabet) const { return alphabet_from_bytes(text); }
  std::string operator()(const std::shared_ptr<const Charsmap>& map) const {
    return map->apply(text);
  }
};

std::string Normalizer::apply(std::string_view text) const {
  std::string out(text);
  for (const Step& step : steps_) out = std::visit(Apply{out}, step);
  return out;
}

}  // namespace tessera
