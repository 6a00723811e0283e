#include "kernels/cpu/rotary_table.hpp"

#include <cmath>

namespace tessera {

RotaryTable::RotaryTable(int max_rows, int head_dim)
    : half_(static_cast<std::size_t>(head_dim / 2)),
      frequencies_(half_),
      cosines_(static_cast<std::size_t>(max_rows) * half_),
      sines_(cosines_.size()) {}

void RotaryTable::set_positions(std::span<const std::int32_t> positions) {
  positions_ = positions;
  is_current_ = false;
}

void RotaryTable::set_theta(float theta) {
  if (is_current_ && theta == theta_) return;
  theta_ = theta;
  is_current_ = true;
  for (std::size_t i = 0; i < half_; ++i) {
    frequencies_[i] = 1.0F / std::pow(theta, static_cast<float>(i) / static_cast<float>(half_));
  }
  for (std::size_t row = 0; row < positions_.size(); ++row) {
    for (std::size_t i = 0; i < half_; ++i) {
      const float angle = static_cast<float>(positions_[row]) * frequencies_[i];
      cosines_[row * half_ + i] = std::cos(angle);
      sines_[row * half_ + i] = std::sin(angle);
    }
  }
}

}  // namespace tessera
