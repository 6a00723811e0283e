// rotary_table.hpp — the cosines and sines by which a step's rows are rotated.
//
// Of every rope that the model has, computed once a step, each row by whoever has it.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "kernels/model_spec.hpp"

namespace tessera {

class RotaryTable {
 public:
  // `ropes` outlive the table.
  RotaryTable(std::span<const RopeSpec> ropes, int max_rows);

  // Several threads at once, each with rows of its own. `is_long`: its sequence turns by the long
  // frequencies of a rope that has them.
  void set_row(int row, int position, bool is_long);

  int half(int rope) const { return halves_[static_cast<std::size_t>(rope)]; }  // pairs that turn
  const float* cosine(int rope, int row) const { return &cosines_[index(rope, row)]; }  // (half,)
  const float* sine(int rope, int row) const { return &sines_[index(rope, row)]; }

 private:
  std::size_t index(int rope, int row) const {
    return (static_cast<std::size_t>(row) * halves_.size() + static_cast<std::size_t>(rope)) *
           stride_;
  }

  std::span<const RopeSpec> ropes_;
  std::vector<int> halves_;
  std::size_t stride_;          // the largest half
  std::vector<float> cosines_;  // (max_rows, ropes, stride)
  std::vector<float> sines_;
};

}  // namespace tessera
