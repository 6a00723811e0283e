#include "kernels/cpu/lora_plan.hpp"

#include <algorithm>
#include <cassert>

namespace tessera {

LoraPlan::Segment LoraPlan::Segment::of_term(int term) const {
  const auto t = static_cast<std::size_t>(term);
  Segment part{slot, {}};
  part.cuts.fill(cuts[t + 1]);
  part.cuts.front() = cuts[t];
  return part;
}

LoraPlan::LoraPlan(int max_rows, int max_seqs)
    : rows_(static_cast<std::size_t>(max_rows * kMaxMixTerms)),
      weights_(static_cast<std::size_t>(max_rows * kMaxMixTerms)) {
  segments_.reserve(static_cast<std::size_t>(std::min(max_rows, max_seqs) * kMaxMixTerms));
}

// The segments of a step are few: the adapters of its sequences.
LoraPlan::Segment& LoraPlan::segment_of(AdapterSlot slot) {
  for (Segment& segment : segments_) {
    if (segment.slot == slot) return segment;
  }
  assert(segments_.size() < segments_.capacity());
  return segments_.emplace_back(Segment{slot, {}});
}

// cuts[t] = the number of entries that are a term t.
void LoraPlan::count(std::span<const RowTerms> rows) {
  num_terms_ = 0;
  segments_.clear();
  for (const RowTerms& terms : rows) {
    assert(terms.size() <= kMaxMixTerms);
    num_terms_ = std::max(num_terms_, static_cast<int>(terms.size()));
    for (std::size_t t = 0; t < terms.size(); ++t) ++segment_of(terms[t].slot).cuts[t];
  }
}

void LoraPlan::build(std::span<const RowTerms> rows, int first_row) {
  assert(rows.size() * kMaxMixTerms <= rows_.size());
  first_entry_ = first_row * kMaxMixTerms;
  count(rows);
  std::int32_t begin = 0;
  for (Segment& segment : segments_) {
    for (std::int32_t& cut : segment.cuts) {
      const std::int32_t entries = cut;
      cut = begin;
      begin += entries;
    }
  }
  // Each entry moves its term's beginning on, to where the next term's was: then all are moved
  // back.
  for (std::size_t row = 0; row < rows.size(); ++row) {
    for (std::size_t t = 0; t < rows[row].size(); ++t) {
      const auto at = static_cast<std::size_t>(segment_of(rows[row][t].slot).cuts[t]++);
      rows_[at] = static_cast<std::int32_t>(row) + first_row;
      weights_[at] = rows[row][t].weight;
    }
  }
  begin = 0;
  for (Segment& segment : segments_) {
    const std::int32_t end = segment.cuts[kMaxMixTerms - 1];
    std::copy_backward(segment.cuts.begin(), segment.cuts.end() - 1, segment.cuts.end());
    segment.cuts.front() = begin;
    begin = end;
  }
}

}  // namespace tessera
