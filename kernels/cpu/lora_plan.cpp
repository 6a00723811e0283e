#include "kernels/cpu/lora_plan.hpp"

#include <cassert>

namespace tessera {

LoraPlan::LoraPlan(int max_rows)
    : segments_(static_cast<std::size_t>(max_rows)), rows_(static_cast<std::size_t>(max_rows)) {}

// The segments of a step are few: as many as there are sequences at most.
LoraPlan::Segment& LoraPlan::segment_of(AdapterSlot slot) {
  for (std::size_t i = 0; i < num_segments_; ++i) {
    if (segments_[i].slot == slot) return segments_[i];
  }
  segments_[num_segments_] = {slot, 0, 0};
  return segments_[num_segments_++];
}

void LoraPlan::build(std::span<const AdapterSlot> slots, int first_row) {
  assert(slots.size() <= rows_.size());
  num_segments_ = 0;
  for (const AdapterSlot slot : slots) {
    if (slot != kNoAdapter) ++segment_of(slot).end;
  }
  int begin = 0;
  for (Segment& segment : std::span(segments_).first(num_segments_)) {
    const int count = segment.end;
    segment.begin = segment.end = begin;
    begin += count;
  }
  for (std::size_t row = 0; row < slots.size(); ++row) {
    if (slots[row] == kNoAdapter) continue;
    Segment& segment = segment_of(slots[row]);
    rows_[static_cast<std::size_t>(segment.end++)] = static_cast<std::int32_t>(row) + first_row;
  }
}

}  // namespace tessera
