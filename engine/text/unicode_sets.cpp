#include <algorithm>
#include <array>
#include <cstddef>
#include <map>
#include <string>
#include <utility>

#include "engine/text/unicode_tables.hpp"

namespace tessera {
namespace {

constexpr std::array<std::string_view, 28> kCategories = {
    "Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd", "Nl", "No", "Pc", "Pd", "Ps",
    "Pe", "Pi", "Pf", "Po", "Sm", "Sc", "Sk", "So", "Zs", "Zl", "Zp", "Cc", "Cf", "Co"};
constexpr std::array<std::string_view, 14> kScripts = {
    "Arabic",   "Cyrillic", "Devanagari", "Greek", "Han",   "Hangul",  "Hebrew",
    "Hiragana", "Katakana", "Khmer",      "Lao",   "Latin", "Myanmar", "Thai"};
constexpr auto kFirstScript = static_cast<std::size_t>(UnicodeTable::kArabic);
constexpr auto kTableEnd = static_cast<std::size_t>(UnicodeTable::kCombining) + 1;
static_assert(kFirstScript == kCategories.size());

std::map<std::string, CodePointSet, std::less<>> make_properties() {
  std::map<std::string, CodePointSet, std::less<>> properties;
  for (std::size_t i = 0; i < kCategories.size(); ++i) {
    const CodePointSet& set = unicode_set(static_cast<UnicodeTable>(i));
    properties.emplace(kCategories[i], set);
    properties[std::string(kCategories[i].substr(0, 1))].add(set);
  }
  for (std::size_t i = 0; i < kScripts.size(); ++i) {
    properties.emplace(kScripts[i], unicode_set(static_cast<UnicodeTable>(kFirstScript + i)));
  }
  // What has no category is Cn, and that and surrogates are C too.
  CodePointSet assigned;
  for (const char* group : {"L", "M", "N", "P", "S", "Z"}) assigned.add(properties[group]);
  properties["C"] = assigned.complement();
  return properties;
}

}  // namespace

const CodePointSet& unicode_set(UnicodeTable table) {
  static const auto kSets = [] {
    std::array<CodePointSet, kTableEnd> sets;
    for (std::size_t i = 0; i < kTableEnd; ++i) sets[i] = read_table(static_cast<UnicodeTable>(i));
    return sets;
  }();
  return kSets[static_cast<std::size_t>(table)];
}

const CodePointSet* property_set(std::string_view name) {
  static const auto kProperties = make_properties();
  const auto found = kProperties.find(name);
  return found == kProperties.end() ? nullptr : &found->second;
}

Lowered to_lower(char32_t code_point) {
  if (code_point < 0x80) {
    return {code_point >= 'A' && code_point <= 'Z' ? code_point + 32 : code_point, 0};
  }
  if (code_point == 0x130) return {'i', 0x307};
  const auto runs = lower_runs();
  auto run = std::upper_bound(runs.begin(), runs.end(), code_point,
                              [](char32_t c, const LowerRun& r) { return c < r.first; });
  if (run == runs.begin()) return {code_point, 0};
  --run;
  if (code_point > run->last || (code_point - run->first) % run->step != 0) return {code_point, 0};
  return {static_cast<char32_t>(static_cast<std::int32_t>(code_point) + run->delta), 0};
}

}  // namespace tessera
