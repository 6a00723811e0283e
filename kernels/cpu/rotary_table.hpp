// rotary_table.hpp — the cosines and sines by which a step's rows are rotated.
//
// Computed once a step, and once more for every layer whose theta differs from the layer before.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace tessera {

class RotaryTable {
 public:
  RotaryTable(int max_rows, int head_dim);

  void set_positions(std::span<const std::int32_t> positions);
  void set_theta(float theta);

  const float* cosine(int row) const { return &cosines_[index(row)]; }  // (head_dim / 2,)
  const float* sine(int row) const { return &sines_[index(row)]; }

 private:
  std::size_t index(int row) const { return static_cast<std::size_t>(row) * half_; }

  std::size_t half_;  // head_dim / 2
  float theta_ = 0.0F;
  bool is_current_ = false;  // cosines_ and sines_ are of these positions and theta
  std::span<const std::int32_t> positions_;
  std::vector<float> frequencies_;  // (head_dim / 2,)
  std::vector<float> cosines_;      // (max_rows, head_dim / 2)
  std::vector<float> sines_;
};

}  // namespace tessera
