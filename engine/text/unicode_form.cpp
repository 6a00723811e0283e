#include "engine/text/unicode_form.hpp"

#include <algorithm>
#include <cassert>
#include <cstdint>
#include <tuple>

#include <unicode/normalizer2.h>
#include <unicode/stringpiece.h>
#include <unicode/uchar.h>

#include "engine/text/code_point_set.hpp"
#include "engine/text/utf8.hpp"

namespace tessera {
namespace {

constexpr std::tuple kNewestVersion = {9, 0};

// ICU keeps one instance of each for the life of the process.
const icu::Normalizer2& icu_normalizer(UnicodeForm form) {
  const bool compatible = form == UnicodeForm::kNfkc || form == UnicodeForm::kNfkd;
  const bool composed = form == UnicodeForm::kNfc || form == UnicodeForm::kNfkc;
  UErrorCode status = U_ZERO_ERROR;
  const icu::Normalizer2* found = icu::Normalizer2::getInstance(
      nullptr, compatible ? "nfkc" : "nfc", composed ? UNORM2_COMPOSE : UNORM2_DECOMPOSE, status);
  assert(U_SUCCESS(status) && found);
  return *found;
}

bool is_newer(UChar32 c) {
  UVersionInfo age;
  u_charAge(c, age);
  return std::tuple<int, int>(age[0], age[1]) > kNewestVersion;
}

// What ICU would change or move and the library does not.
CodePointSet make_newer() {
  CodePointSet newer;
  const icu::Normalizer2& composed = icu_normalizer(UnicodeForm::kNfkc);
  const icu::Normalizer2& decomposed = icu_normalizer(UnicodeForm::kNfkd);
  for (char32_t c = 0x80; c < kCodePointEnd; ++c) {
    const auto icu_c = static_cast<UChar32>(c);
    if (composed.isInert(icu_c) && decomposed.isInert(icu_c)) continue;
    if (is_newer(icu_c)) newer.add(c, c + 1);
  }
  return newer;
}

void append_form(std::string_view text, const icu::Normalizer2& normalizer, std::string& out) {
  if (text.empty()) return;
  icu::StringByteSink<std::string> sink(&out);
  UErrorCode status = U_ZERO_ERROR;
  normalizer.normalizeUTF8(0, icu::StringPiece(text.data(), static_cast<std::int32_t>(text.size())),
                           sink, nullptr, status);
  assert(U_SUCCESS(status));
}

bool is_ascii(std::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return static_cast<std::uint8_t>(c) < 0x80; });
}

}  // namespace

std::string to_unicode_form(std::string_view text, UnicodeForm form) {
  if (is_ascii(text)) return std::string(text);
  static const CodePointSet kNewer = make_newer();
  const icu::Normalizer2& normalizer = icu_normalizer(form);
  std::string out;
  out.reserve(text.size());
  std::size_t begin = 0;
  for (std::size_t at = 0; at < text.size();) {
    if (static_cast<std::uint8_t>(text[at]) < 0x80) {
      ++at;
      continue;
    }
    const Utf8Step step = utf8_step(text.substr(at));
    if (kNewer.contains(step.code_point)) {
      append_form(text.substr(begin, at - begin), normalizer, out);
      out += text.substr(at, step.bytes);
      begin = at + step.bytes;
    }
    at += step.bytes;
  }
  append_form(text.substr(begin), normalizer, out);
  return out;
}

}  // namespace tessera
