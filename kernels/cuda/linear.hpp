// linear.hpp — y = W x for the rows of a step, on tensor cores.
//
// One frame for every form of weights and any number of rows. A block takes tiles of 16 outputs and
// 8, 16 or 64 rows of x; its eight warps take every eighth block of 64 columns, decode the weights
// into registers as the A operand of mma.m16n8k16 in fp16, and their sums are added in the order of
// the warps. So a row's result is a function of the row and of W alone (P2): the split depends on
// the number of columns, and a column of an mma on nothing beside it. For many rows there is a wide
// form (linear_wide.hpp), which makes the same sums in the same order.
//
//   4-bit codes   a table of pairs in shared memory, a copy for each lane: one byte permutation and
//                 one load without bank conflicts for two weights (64 KiB, after FLUTE's idea)
//   8-bit codes   two instructions for two weights: the byte becomes the mantissa of 1024 + code
//   fp16          as they are
//
// x is fp16 with a power of two for each row, y is fp32. A scale multiplies the fp32 sum of its
// group's products, so no product of weight and scale is ever rounded to 16 bits.
#pragma once

#include <cstdint>
#include <span>

#include "kernels/cuda/device.hpp"
#include "kernels/cuda/packed_matrix.hpp"

namespace tessera {

// Rows of x as linears read them.
struct StagedRows {
  std::uint16_t* halves = nullptr;  // (rows, cols) fp16, by fragment_position()
  float* scales = nullptr;          // (rows,) powers of two: x = half * scale
  float* sums = nullptr;            // (rows, cols / 16) of the halves of each step
};

// Up to three matrices that read the same x, whose outputs lie one behind the other in a row of y.
struct LinearGroup {
  PackedMatrix matrices[3];
  int count = 1;
  StagedRows x;
  float* y = nullptr;
  int y_stride = 0;
  const std::int32_t* num_rows = nullptr;  // device memory
  // Of the linears of experts alone: which row of x a row of y is made of; null: its own.
  const std::int32_t* x_rows = nullptr;
};

// Which form a launch takes; the results are the same, bit for bit.
enum class LinearWidth : std::uint8_t { kChosen, kNarrow, kWide };

// For `capacity` rows at most. All matrices are of one form and have no order of their own; the
// first begins at y, each next where the one before ends. Writes every y[row][n], nothing else.
void multiply(CudaStream& stream, const LinearGroup& group, int capacity,
              LinearWidth width = LinearWidth::kChosen);

}  // namespace tessera
