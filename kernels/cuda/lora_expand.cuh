// lora_expand.cuh — y = out_scale * (y + B z) + bias as a launch of its own.
//
// Sixteen rows by 256 outputs are a CTA's work, sixty-four outputs a warp's. Before each block of
// ranks the CTA takes z to shared memory for all of its warps.
#pragma once

#include "kernels/cuda/lora_outputs.cuh"

namespace tessera::cuda {

inline constexpr int kExpandWarps = 4;
inline constexpr int kExpandThreads = kExpandWarps * kWarpLanes;
inline constexpr int kExpandOutputs = 256;
inline constexpr int kWarpOutputs = kExpandOutputs / kExpandWarps;
inline constexpr int kOutputTiles = kWarpOutputs / 8;
inline constexpr int kRankBlock = 64;
inline constexpr int kRankStride = kRankBlock + 4;  // eight rows in different banks

struct ExpandShared {
  float* z;      // (16, kRankStride)
  uint4* pages;  // (16, kPageStride) the warp's own
};

__device__ inline int expand_units(const LoraSegment& segment, const ExpandParams& p, int site) {
  bool any = false;
  for (int t = 0; t < segment.num_terms; ++t) {
    any |= changes(entry_at(p.table, p.modules, segment, t, site));
  }
  if (!any) return 0;
  return divided_up(p.modules.out_features[site], kExpandOutputs) *
         divided_up(segment.num_rows, kTokenTile);
}

__device__ inline int expand_units(const LoraSegment& segment, const ExpandParams& p) {
  int units = 0;
  for (int site = 0; site < p.modules.count; ++site) units += expand_units(segment, p, site);
  return units;
}

// Unit `local` of a segment: sites, outputs and, fastest, rows.
__device__ inline ExpandUnit expand_unit_at(int local, const LoraSegment& segment,
                                            const ExpandParams& p) {
  int site = 0;
  while (local >= expand_units(segment, p, site)) local -= expand_units(segment, p, site++);
  const int row_tiles = divided_up(segment.num_rows, kTokenTile);
  return {&segment, site, local % row_tiles * kTokenTile, local / row_tiles * kExpandOutputs};
}

// z of the unit's rows and of ranks [first_rank, first_rank + kRankBlock); zeros beyond the last.
__device__ inline void gather_low_rank(const ExpandUnit& unit, int term, const LoraEntry& entry,
                                       int first_rank, const ExpandParams& p, float* z) {
  const LoraSegment& segment = *unit.segment;
  const int z_row = segment.first_z + term * segment.num_rows + unit.first_row;
  const std::size_t plane_floats = p.low_rank.plane_floats();
  for (int i = thread_index(); i < kTokenTile * kRankBlock; i += kExpandThreads) {
    const int row = i / kRankBlock;
    const int rank = first_rank + i % kRankBlock;
    float sum = 0.0F;
    if (unit.first_row + row < segment.num_rows && rank < entry.rank) {
      const float* from = p.low_rank.at(unit.site * p.planes, z_row + row) + rank;
      for (int plane = 0; plane < p.planes; ++plane) {
        sum += from[static_cast<std::size_t>(plane) * plane_floats];
      }
      sum *= segment.terms[term].weight;
      if (entry.type == PageType::kInt8) sum *= entry.scales[rank];
    }
    z[row * kRankStride + i % kRankBlock] = sum;
  }
}

// sums = B z of one term, for the warp's outputs. All threads of the CTA call it.
__device__ inline void add_term(const ExpandUnit& unit, int term, const LoraEntry& entry,
                                int first_output, const ExpandParams& p, const ExpandShared& shared,
                                float (&sums)[kOutputTiles][4]) {
  for (int first = 0; first < entry.rank; first += kRankBlock) {
    gather_low_rank(unit, term, entry, first, p, shared.z);
    __syncthreads();
    const int end = min(first + kRankBlock, entry.rank);
    for (int rank = first; rank < end; rank += kTokenTile) {
      const auto z_of = [&](int i) {
        const int at = row_of_pair(i) * kRankStride + rank - first + rank_of_pair(i);
        return make_float2(shared.z[at], shared.z[at + 1]);
      };
      add_ranks(entry, rank, first_output, p.modules.out_features[unit.site], z_of, shared.pages,
                sums);
    }
    __syncthreads();
  }
}

// Dynamic shared memory: a number for each segment there may be, and one.
__global__ void __launch_bounds__(kExpandThreads, 4)
    expand_kernel(const __grid_constant__ ExpandParams p) {
  TESSERA_SHARED(float, z, kTokenTile* kRankStride);
  TESSERA_SHARED(uint4, pages, kExpandWarps * kTokenTile * kPageStride<kOutputTiles>);
  const ExpandShared shared = {z, pages + warp_index() * kTokenTile * kPageStride<kOutputTiles>};
  auto* offsets = reinterpret_cast<std::int32_t*>(dynamic_shared());
  const int num_units = count_units(
      p.plan, offsets, [&](const LoraSegment& segment) { return expand_units(segment, p); });
  for (int index = static_cast<int>(blockIdx.x); index < num_units;
       index += static_cast<int>(gridDim.x)) {
    const int at = range_of(offsets, *p.plan.num_segments, index);
    const ExpandUnit unit = expand_unit_at(index - offsets[at], p.plan.segments[at], p);
    const int first_output = unit.first_output + warp_index() * kWarpOutputs;
    for (int term = 0; term < unit.segment->num_terms; ++term) {
      const LoraEntry& entry = entry_at(p.table, p.modules, *unit.segment, term, unit.site);
      if (!changes(entry)) continue;
      float sums[kOutputTiles][4] = {};
      add_term(unit, term, entry, first_output, p, shared, sums);
      change_outputs(unit, entry, first_output, p, sums);
    }
  }
}

}  // namespace tessera::cuda
