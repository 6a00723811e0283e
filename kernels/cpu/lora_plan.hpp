// lora_plan.hpp — the rows of a step grouped by adapter.
//
// Rows keep their places; the plan lists their indices, adapter by adapter (the segments of Punica,
// Chen et al., 2023). Rows of the base alone are in no segment, so a step without adapters has an
// empty plan and does no LoRA work. A row that mixes adapters has an entry in the segment of each:
// so an adapter's A is read once for all who use it, alone or in a mix. What its terms come to is
// added in the order of its own mix, which is why a segment keeps first terms, second terms and so
// on apart.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/lora.hpp"

namespace tessera {

// The adapters of one row, each with its weight: none, one, or those of its mix.
using RowTerms = std::span<const MixTerm>;

class LoraPlan {
 public:
  struct Segment {
    AdapterSlot slot;
    // Its entries whose row has the adapter as term t: [cuts[t], cuts[t + 1]).
    std::array<std::int32_t, kMaxMixTerms + 1> cuts;

    std::int32_t begin() const { return cuts.front(); }
    std::int32_t end() const { return cuts.back(); }
    Segment of_term(int term) const;
  };

  // Allocates all that build() needs.
  LoraPlan(int max_rows, int max_seqs);

  // Groups rows by their terms: adapters in the order of their first row, an adapter's entries by
  // term and row. The list has row + first_row.
  void build(std::span<const RowTerms> rows, int first_row = 0);

  bool empty() const { return segments_.empty(); }
  int num_terms() const { return num_terms_; }  // of the row that has most
  // Of plans whose rows are different rows of an array, entry i of each is first_entry() + i in an
  // array with room for kMaxMixTerms entries a row.
  int first_entry() const { return first_entry_; }
  std::span<const Segment> segments() const { return segments_; }
  std::span<const std::int32_t> rows(const Segment& segment) const {
    return of(segment, std::span(rows_));
  }
  std::span<const float> weights(const Segment& segment) const {
    return of(segment, std::span(weights_));
  }

 private:
  template <class T>
  static std::span<const T> of(const Segment& segment, std::span<const T> all) {
    return all.subspan(static_cast<std::size_t>(segment.begin()),
                       static_cast<std::size_t>(segment.end() - segment.begin()));
  }
  Segment& segment_of(AdapterSlot slot);
  void count(std::span<const RowTerms> rows);

  int num_terms_ = 0;
  int first_entry_ = 0;
  std::vector<Segment> segments_;
  std::vector<std::int32_t> rows_;  // (max_rows * kMaxMixTerms,)
  std::vector<float> weights_;      // likewise
};

}  // namespace tessera
