#include "kernels/cpu/rotary_table.hpp"

#include <algorithm>
#include <cmath>

namespace tessera {

RotaryTable::RotaryTable(std::span<const RopeSpec> ropes, int max_rows) : ropes_(ropes) {
  for (const RopeSpec& rope : ropes) halves_.push_back(static_cast<int>(rope.inv_freq.size()));
  const int largest = halves_.empty() ? 0 : *std::max_element(halves_.begin(), halves_.end());
  stride_ = static_cast<std::size_t>((largest + 15) / 16 * 16);
  cosines_.resize(static_cast<std::size_t>(max_rows) * ropes.size() * stride_);
  sines_.resize(cosines_.size());
}

void RotaryTable::set_row(int row, int position, bool is_long) {
  for (std::size_t r = 0; r < ropes_.size(); ++r) {
    const RopeSpec& rope = ropes_[r];
    const auto& inv_freq =
        is_long && !rope.long_inv_freq.empty() ? rope.long_inv_freq : rope.inv_freq;
    const std::size_t first = index(static_cast<int>(r), row);
    for (std::size_t i = 0; i < inv_freq.size(); ++i) {
      const float angle = static_cast<float>(position) * inv_freq[i];
      cosines_[first + i] = std::cos(angle) * rope.scale;
      sines_[first + i] = std::sin(angle) * rope.scale;
    }
  }
}

}  // namespace tessera
