// lora_outputs.cuh — y = out_scale * (y + B z) + bias for sixteen rows of a segment: what expand
// and the epilogue of a linear share.
//
// A warp takes eight outputs kTiles times. A page of B lies as (8, outputs): the warp takes two
// pages' ranks of its outputs to shared memory and reads them back transposed. z goes through the
// matrix instruction as x does in lora_shrink.cuh, in two parts, sixteen ranks at a time, from the
// first on; so an output has the same bits whoever makes it.
#pragma once

#include "kernels/cuda/lora_plan.cuh"

namespace tessera::cuda {

struct ExpandParams {
  LoraPlan plan;
  LoraTable table;
  LowRank low_rank;
  LoraModules modules;
  std::int32_t planes;
};

// Sixteen rows of a segment, and outputs from `first_output` on.
struct ExpandUnit {
  const LoraSegment* segment;
  int site;
  int first_row;  // of the segment's
  int first_output;
};

// Of sixteen bytes, a rank of a warp's outputs in shared memory: eight ranks in different banks.
template <int kTiles>
constexpr int kPageStride = kTiles + 1;

// What a lane takes of z for sixteen ranks: pair i is of row row_of_pair(i) of the unit's and of
// the ranks from rank_of_pair(i) on, counted from the first of the sixteen.
__device__ inline int row_of_pair(int i) {
  return lane_index() / 4 + i % 2 * 8;
}
__device__ inline int rank_of_pair(int i) {
  return lane_index() % 4 * 2 + i / 2 * 8;
}

// The warp's outputs of sixteen ranks of B from `first_rank` on, which is a page's first.
template <int kTiles>
__device__ void stage_pages(const LoraEntry& entry, int first_rank, int first_output,
                            int out_features, uint4* pages) {
  constexpr int kPages = kTokenTile / kRanksPerPage;
  const std::byte* from[kPages];
#pragma unroll
  for (int i = 0; i < kPages; ++i) {
    const int page = first_rank / kRanksPerPage + i;
    from[i] = page < num_pages(entry) ? entry.pages[page].b : nullptr;
  }
#pragma unroll
  for (int i = 0; i < kTokenTile * kTiles / kWarpLanes; ++i) {
    const int at = i * kWarpLanes + lane_index();
    const int rank = at / kTiles;
    const std::byte* page = rank < kRanksPerPage ? from[0] : from[kPages - 1];
    const int output = first_output + at % kTiles * 8;
    uint4 eight = {0, 0, 0, 0};
    if (page != nullptr && output < out_features) {
      const std::size_t element =
          static_cast<std::size_t>(rank % kRanksPerPage) * static_cast<std::size_t>(out_features) +
          static_cast<std::size_t>(output);
      eight = load_eight(page, entry.type, element, out_features - output, out_features % 8 == 0);
    }
    pages[rank * kPageStride<kTiles> + at % kTiles] = eight;
  }
}

// sums += B z of sixteen ranks; z_of(i) is pair i of what the lane takes of z.
template <int kTiles, class PairOf>
__device__ void add_ranks(const LoraEntry& entry, int first_rank, int first_output,
                          int out_features, const PairOf& z_of, uint4* pages,
                          float (&sums)[kTiles][4]) {
  const int lane = lane_index();
  stage_pages<kTiles>(entry, first_rank, first_output, out_features, pages);
  std::uint32_t high[4];
  std::uint32_t rest[4];
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const float2 pair = z_of(i);
    split_bf16(pair.x, pair.y, high[i], rest[i]);
  }
  __syncwarp();
#pragma unroll
  for (int tile = 0; tile < kTiles; tile += 2) {
    std::uint32_t b[4];
    load_matrix_x4_transposed(b, &pages[lane % 16 * kPageStride<kTiles> + tile + lane / 16]);
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const std::uint32_t pair[2] = {b[2 * i], b[2 * i + 1]};
      mma_bf16(sums[tile + i], high, pair);
      mma_bf16(sums[tile + i], rest, pair);
    }
  }
  __syncwarp();
}

// y = out_scale * (y + sums) + bias.
template <int kTiles>
__device__ void change_outputs(const ExpandUnit& unit, const LoraEntry& entry, int first_output,
                               const ExpandParams& p, const float (&sums)[kTiles][4]) {
  const int lane = lane_index();
  float* y = p.modules.y[unit.site];
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int at = unit.first_row + half * 8 + lane / 4;
    if (at >= unit.segment->num_rows) continue;
    const int row = p.plan.rows[unit.segment->first_entry + at];
    float* outputs =
        y + static_cast<std::size_t>(row) * static_cast<std::size_t>(p.modules.y_stride);
#pragma unroll
    for (int i = 0; i < 2 * kTiles; ++i) {
      const int output = first_output + i / 2 * 8 + lane % 4 * 2 + i % 2;
      if (output >= p.modules.out_features[unit.site]) continue;
      float value = outputs[output] + sums[i / 2][half * 2 + i % 2];
      if (entry.out_scale != nullptr) value = __fmul_rn(value, entry.out_scale[output]);
      if (entry.bias != nullptr) value = __fadd_rn(value, entry.bias[output]);
      outputs[output] = value;
    }
  }
}

}  // namespace tessera::cuda
