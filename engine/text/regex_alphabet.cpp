#include "engine/text/regex_alphabet.hpp"

#include <algorithm>
#include <map>

namespace tessera {
namespace {

// The class of the line feed is the line feed, which is what PCRE2 knows lines by.
constexpr std::uint8_t kLineFeed = '\n';

// Where membership in some set changes, ascending, from 0 to kCodePointEnd.
std::vector<char32_t> boundaries(const std::vector<CodePointSet>& sets) {
  std::vector<char32_t> at = {0, U'\n', U'\n' + 1, kCodePointEnd};
  for (const CodePointSet& set : sets) {
    for (const CodePointSet::Range& range : set.ranges()) {
      at.push_back(range.begin);
      at.push_back(range.end);
    }
  }
  std::sort(at.begin(), at.end());
  at.erase(std::unique(at.begin(), at.end()), at.end());
  return at;
}

// Which of `sets` have `code_point`, and whether it is the line feed.
std::vector<bool> signature(const std::vector<CodePointSet>& sets, char32_t code_point) {
  std::vector<bool> in(sets.size() + 1);
  for (std::size_t i = 0; i < sets.size(); ++i) in[i] = sets[i].contains(code_point);
  in.back() = code_point == U'\n';
  return in;
}

}  // namespace

bool CodePointClasses::build(const std::vector<CodePointSet>& sets) {
  const std::vector<char32_t> at = boundaries(sets);
  std::map<std::vector<bool>, std::uint8_t> class_by_signature;
  std::vector<std::uint8_t> flat(kCodePointEnd);
  std::uint8_t next = 0;
  for (std::size_t i = 0; i + 1 < at.size(); ++i) {
    const auto [entry, is_new] = class_by_signature.try_emplace(signature(sets, at[i]));
    if (is_new) {
      if (class_by_signature.size() > kMax) return false;
      if (next == kLineFeed) ++next;
      entry->second = at[i] == U'\n' ? kLineFeed : next++;
      representatives_.emplace_back(entry->second, at[i]);
    }
    std::fill(flat.begin() + at[i], flat.begin() + at[i + 1], entry->second);
  }
  std::copy_n(flat.begin(), ascii_.size(), ascii_.begin());
  std::map<Page, std::uint16_t> known;
  for (std::size_t begin = 0; begin < flat.size(); begin += kPageSize) {
    Page page;
    std::copy_n(flat.begin() + static_cast<std::ptrdiff_t>(begin), kPageSize, page.begin());
    const auto [entry, is_new] = known.try_emplace(page, static_cast<std::uint16_t>(pages_.size()));
    if (is_new) pages_.push_back(page);
    page_of_.push_back(entry->second);
  }
  std::sort(representatives_.begin(), representatives_.end());
  return true;
}

std::string CodePointClasses::classes_of(const CodePointSet& set) const {
  std::string out;
  for (const auto& [id, member] : representatives_) {
    if (set.contains(member)) out.push_back(static_cast<char>(id));
  }
  return out;
}

}  // namespace tessera
