#include "engine/text/code_point_set.hpp"

#include <algorithm>

namespace tessera {

void CodePointSet::note_ascii(Range range) {
  for (char32_t c = range.begin; c < std::min(range.end, kAsciiEnd); ++c) ascii_.set(c);
}

void CodePointSet::add(char32_t begin, char32_t end) {
  if (begin >= end) return;
  note_ascii({begin, end});
  if (ranges_.empty() || begin > ranges_.back().end) {
    ranges_.push_back({begin, end});
    return;
  }
  // The ranges that touch the new one become one with it.
  auto first = std::lower_bound(ranges_.begin(), ranges_.end(), begin,
                                [](const Range& range, char32_t c) { return range.end < c; });
  auto last = first;
  Range joined{begin, end};
  for (; last != ranges_.end() && last->begin <= end; ++last) {
    joined = {std::min(joined.begin, last->begin), std::max(joined.end, last->end)};
  }
  first = ranges_.erase(first, last);
  ranges_.insert(first, joined);
}

void CodePointSet::add(const CodePointSet& other) {
  for (const Range& range : other.ranges_) add(range.begin, range.end);
}

CodePointSet CodePointSet::complement() const {
  CodePointSet out;
  char32_t at = 0;
  for (const Range& range : ranges_) {
    out.add(at, range.begin);
    at = range.end;
  }
  out.add(at, kCodePointEnd);
  return out;
}

CodePointSet CodePointSet::intersection(const CodePointSet& other) const {
  CodePointSet either = complement();
  either.add(other.complement());
  return either.complement();
}

bool CodePointSet::contains_beyond_ascii(char32_t code_point) const {
  const auto behind =
      std::upper_bound(ranges_.begin(), ranges_.end(), code_point,
                       [](char32_t c, const Range& range) { return c < range.end; });
  return behind != ranges_.end() && behind->begin <= code_point;
}

}  // namespace tessera
