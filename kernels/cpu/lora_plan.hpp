// lora_plan.hpp — the rows of a step grouped by adapter.
//
// Rows keep their places; the plan lists their indices, adapter by adapter (the segments of Punica,
// Chen et al., 2023). Rows of the base alone are in no segment, so a step without adapters has an
// empty plan and does no LoRA work.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/lora.hpp"

namespace tessera {

class LoraPlan {
 public:
  struct Segment {
    AdapterSlot slot;
    int begin;  // its part of the list of rows
    int end;
  };

  explicit LoraPlan(int max_rows);  // allocates all that build() needs

  // Groups rows by slots[row]: adapters in the order of their first row, rows ascending. The list
  // has row + first_row.
  void build(std::span<const AdapterSlot> slots, int first_row = 0);

  bool empty() const { return num_segments_ == 0; }
  std::span<const Segment> segments() const { return std::span(segments_).first(num_segments_); }
  std::span<const std::int32_t> rows(const Segment& segment) const {
    return std::span(rows_).subspan(static_cast<std::size_t>(segment.begin),
                                    static_cast<std::size_t>(segment.end - segment.begin));
  }

 private:
  Segment& segment_of(AdapterSlot slot);

  std::size_t num_segments_ = 0;
  std::vector<Segment> segments_;
  std::vector<std::int32_t> rows_;
};

}  // namespace tessera
