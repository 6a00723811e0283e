// linear_wide.hpp — the form of a linear for many rows: what linear.hpp chooses beyond sixteen.
//
// A block takes 256 outputs and 64 rows: each of its eight warps two tiles of sixteen outputs, and
// x goes through shared memory once for all of them. (In the narrow form a block's warps share one
// tile, and every sixteen outputs read all of x again.) The order of every sum is the narrow
// form's: a warp takes the blocks of columns as those eight warps would, all of the first's, then
// all of the second's, and adds up what each of them comes to in their order. So which form a
// launch has is nobody's business but the clock's (P2).
#pragma once

#include "kernels/cuda/linear.hpp"

namespace tessera {

// How many blocks a launch would have: few leave most of a device idle.
int wide_blocks(const LinearGroup& group, int capacity);

// `steps` of sixteen columns share a scale: 2 or 4. A scale for each leaves no registers for so
// many rows.
void multiply_wide(CudaStream& stream, const LinearGroup& group, int steps, int capacity);

}  // namespace tessera
