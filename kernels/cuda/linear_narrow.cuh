// linear_narrow.cuh — the narrow form of linear.hpp, with or without something to be done to each
// tile's outputs when they are there.
#pragma once

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/linear_tile.cuh"

namespace tessera::cuda {

struct LinearParams {
  LinearGroup group;
  int first_tile[4];  // of each matrix, and the number of all

  __device__ void after_tile(int, int, std::byte*) const {}
};

inline LinearParams linear_params(const LinearGroup& group) {
  LinearParams params{group, {}};
  for (int i = 0; i < 3; ++i) {
    params.first_tile[i + 1] =
        params.first_tile[i] + (i < group.count ? group.matrices[i].tiles() : 0);
  }
  return params;
}

// Dynamic shared memory: the table of pairs, the map of nested scales, the warps' sums.
template <PackedForm kForm>
constexpr int kPairsBytes = kForm == PackedForm::kBook16 ? kTableBytes : 0;
template <PackedForm kForm, int kTokens>
constexpr int kNarrowBytes = kPairsBytes<kForm> + kMapBytes + kSumBytes<kTokens>;

// The grid: x persistent over the tiles of all matrices, y over the rows. All threads call
// params.after_tile(which, tile, shared) when the tile's outputs are in y; `shared` is what the
// launch has of shared memory beyond kNarrowBytes.
template <PackedForm kForm, int kTokens, int kSteps, class Params>
__global__ void __launch_bounds__(kLinearThreads, kTokens == 64 ? 1 : 2)
    linear_kernel(const __grid_constant__ Params params) {
  const LinearGroup& p = params.group;
  const int num_rows = *p.num_rows;
  const int first_row = static_cast<int>(blockIdx.y) * kTokens;
  if (first_row >= num_rows) return;
  std::byte* const shared = dynamic_shared();
  auto* const map = reinterpret_cast<float*>(shared + kPairsBytes<kForm>);
  auto* const sums = reinterpret_cast<float*>(shared + kPairsBytes<kForm> + kMapBytes);
  const Tables tables = {shared, threadIdx.x % kWarpSize * 4, map};
  for (unsigned i = threadIdx.x; kForm != PackedForm::kHalf && i < 256; i += kLinearThreads) {
    map[i] = p.matrices[0].dynamic_map[i];
  }
  int filled = -1;  // the matrix whose pairs are in the table
  __syncthreads();
  for (int at = static_cast<int>(blockIdx.x); at < params.first_tile[3];
       at += static_cast<int>(gridDim.x)) {
    const int which = at >= params.first_tile[2] ? 2 : at >= params.first_tile[1] ? 1 : 0;
    const PackedMatrix& m = p.matrices[which];
    if (kForm == PackedForm::kBook16 && filled != which) {
      fill_pairs(m, shared);
      filled = which;
      __syncthreads();
    }
    const int column = which == 0   ? 0
                       : which == 1 ? p.matrices[0].rows
                                    : p.matrices[0].rows + p.matrices[1].rows;
    multiply_tile<kForm, kTokens, kSteps, false>(p, m, tables, sums, at - params.first_tile[which],
                                                 column, first_row, num_rows);
    params.after_tile(which, at - params.first_tile[which], shared + kNarrowBytes<kForm, kTokens>);
  }
}

inline int steps_of(const LinearGroup& group) {
  int least = 4;
  for (int i = 0; i < group.count; ++i) {
    least = min(least, steps_of_group(group.matrices[i].group));
  }
  return least;
}

// choose_narrow<16 or 64>(group, capacity, start) calls start.operator()<form, tokens, steps>()
// with what the group's matrices are and its rows take; for 16, there are no more rows than that.
template <int kMost, PackedForm kForm, int kSteps, class Start>
void choose_tokens(int capacity, const Start& start) {
  if (capacity <= 8) return start.template operator()<kForm, 8, kSteps>();
  if (kMost == 16 || capacity <= 16) return start.template operator()<kForm, 16, kSteps>();
  if constexpr (kMost > 16) start.template operator()<kForm, 64, kSteps>();
}

template <int kMost, PackedForm kForm, class Start>
void choose_steps(int steps, int capacity, const Start& start) {
  if (steps == 4) return choose_tokens<kMost, kForm, 4>(capacity, start);
  if (steps == 2) return choose_tokens<kMost, kForm, 2>(capacity, start);
  choose_tokens<kMost, kForm, 1>(capacity, start);
}

template <int kMost, class Start>
void choose_narrow(const LinearGroup& group, int capacity, const Start& start) {
  const int steps = steps_of(group);
  switch (group.matrices[0].form) {
    case PackedForm::kBook16:
      return choose_steps<kMost, PackedForm::kBook16>(steps, capacity, start);
    case PackedForm::kInt8:
      return choose_steps<kMost, PackedForm::kInt8>(steps, capacity, start);
    case PackedForm::kHalf:
      return choose_tokens<kMost, PackedForm::kHalf, 4>(capacity, start);
  }
}

// Blocks for the tiles, as many as are resident at a time, by rows of at most kTokens.
template <PackedForm kForm, int kTokens>
LaunchShape narrow_shape(const LinearParams& params, int capacity, std::size_t more_shared = 0) {
  const auto tiles = static_cast<unsigned>(params.first_tile[3]);
  const unsigned blocks = min(tiles, static_cast<unsigned>(2 * num_multiprocessors()));
  return {{blocks, divide_up(capacity, kTokens)},
          {kLinearThreads},
          static_cast<std::size_t>(kNarrowBytes<kForm, kTokens>) + more_shared};
}

}  // namespace tessera::cuda
