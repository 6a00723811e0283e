// lora_expand.cuh — y = out_scale * (y + B z) + bias, the low-rank part of a projection.
//
// Sixteen rows by 256 outputs are a CTA's work, sixty-four outputs a warp's. Before each block of
// ranks the CTA adds up the planes that shrink left, in their order, and multiplies by the term's
// weight and the scales of 8 bits. z then goes through the matrix instruction as x does in
// lora_shrink.cuh, in two parts. A page of B lies as (8, outputs): a warp takes two pages' ranks of
// its outputs to shared memory and reads them back transposed.
//
// add_term() is the part that an epilogue of a projection could call on its own sums.
#pragma once

#include "kernels/cuda/lora_plan.cuh"

namespace tessera::cuda {

inline constexpr int kExpandWarps = 4;
inline constexpr int kExpandThreads = kExpandWarps * kWarpLanes;
inline constexpr int kExpandOutputs = 256;
inline constexpr int kWarpOutputs = kExpandOutputs / kExpandWarps;
inline constexpr int kOutputTiles = kWarpOutputs / 8;
inline constexpr int kRankBlock = 64;
inline constexpr int kRankStride = kRankBlock + 4;             // eight rows in different banks
inline constexpr int kPageStride = kWarpOutputs * 2 / 16 + 1;  // of sixteen bytes, likewise

struct ExpandParams {
  LoraPlan plan;
  LoraTable table;
  LowRank low_rank;
  LoraModules modules;
  std::int32_t planes;
};

// What a CTA does at a time.
struct ExpandUnit {
  const LoraSegment* segment;
  int site;
  int first_row;  // of the segment's
  int first_output;
};

struct ExpandShared {
  float* z;      // (16, kRankStride)
  uint4* pages;  // (16, kPageStride) the warp's own
};

__device__ inline bool changes(const LoraEntry& entry) {
  return entry.rank > 0 || entry.out_scale != nullptr || entry.bias != nullptr;
}

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
  const std::size_t plane_floats = static_cast<std::size_t>(p.low_rank.max_z_rows) *
                                   static_cast<std::size_t>(p.low_rank.max_rank);
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

// The warp's outputs of sixteen ranks of B from `first_rank` on, which is a page's first.
__device__ inline void stage_pages(const LoraEntry& entry, int first_rank, int first_output,
                                   int out_features, uint4* pages) {
  constexpr int kChunks = kWarpOutputs / 8;
  const int first_page = first_rank / kRanksPerPage;
#pragma unroll
  for (int page = 0; page < kTokenTile / kRanksPerPage; ++page) {
    const bool is_there = first_page + page < num_pages(entry);
    const std::byte* from = is_there ? entry.pages[first_page + page].b : nullptr;
#pragma unroll
    for (int i = 0; i < kRanksPerPage * kChunks / kWarpLanes; ++i) {
      const int at = i * kWarpLanes + lane_index();
      const int rank = at / kChunks;
      const int output = first_output + at % kChunks * 8;
      uint4 eight = {0, 0, 0, 0};
      if (is_there && output < out_features) {
        const std::size_t element =
            static_cast<std::size_t>(rank) * static_cast<std::size_t>(out_features) +
            static_cast<std::size_t>(output);
        eight = load_eight(from, entry.type, element, out_features - output, out_features % 8 == 0);
      }
      pages[(page * kRanksPerPage + rank) * kPageStride + at % kChunks] = eight;
    }
  }
}

// sums += B z for the ranks that shared.z holds.
__device__ inline void add_ranks(const LoraEntry& entry, int first_rank, int first_output,
                                 int out_features, const ExpandShared& shared,
                                 float (&sums)[kOutputTiles][4]) {
  const int lane = lane_index();
  const float* upper = shared.z + lane / 4 * kRankStride + lane % 4 * 2;
  const float* lower = upper + 8 * kRankStride;
  const int end = min(first_rank + kRankBlock, entry.rank);
  for (int rank = first_rank; rank < end; rank += 2 * kRanksPerPage) {
    stage_pages(entry, rank, first_output, out_features, shared.pages);
    __syncwarp();
    std::uint32_t high[4];
    std::uint32_t rest[4];
    const int at = rank - first_rank;
    split_bf16(upper[at], upper[at + 1], high[0], rest[0]);
    split_bf16(lower[at], lower[at + 1], high[1], rest[1]);
    split_bf16(upper[at + 8], upper[at + 9], high[2], rest[2]);
    split_bf16(lower[at + 8], lower[at + 9], high[3], rest[3]);
#pragma unroll
    for (int tile = 0; tile < kOutputTiles; tile += 2) {
      std::uint32_t b[4];
      load_matrix_x4_transposed(b, &shared.pages[lane % 16 * kPageStride + tile + lane / 16]);
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const std::uint32_t pair[2] = {b[2 * i], b[2 * i + 1]};
        mma_bf16(sums[tile + i], high, pair);
        mma_bf16(sums[tile + i], rest, pair);
      }
    }
    __syncwarp();
  }
}

// sums = B z of one term, for the warp's outputs. All threads of the CTA call it.
__device__ inline void add_term(const ExpandUnit& unit, int term, const LoraEntry& entry,
                                int first_output, const ExpandParams& p, const ExpandShared& shared,
                                float (&sums)[kOutputTiles][4]) {
  for (int rank = 0; rank < entry.rank; rank += kRankBlock) {
    gather_low_rank(unit, term, entry, rank, p, shared.z);
    __syncthreads();
    add_ranks(entry, rank, first_output, p.modules.out_features[unit.site], shared, sums);
    __syncthreads();
  }
}

// y = out_scale * (y + sums) + bias.
__device__ inline void change_outputs(const ExpandUnit& unit, const LoraEntry& entry,
                                      int first_output, const ExpandParams& p,
                                      const float (&sums)[kOutputTiles][4]) {
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
    for (int i = 0; i < 2 * kOutputTiles; ++i) {
      const int output = first_output + i / 2 * 8 + lane % 4 * 2 + i % 2;
      if (output >= p.modules.out_features[unit.site]) continue;
      float value = outputs[output] + sums[i / 2][half * 2 + i % 2];
      if (entry.out_scale != nullptr) value = __fmul_rn(value, entry.out_scale[output]);
      if (entry.bias != nullptr) value = __fadd_rn(value, entry.bias[output]);
      outputs[output] = value;
    }
  }
}

// Dynamic shared memory: a number for each segment there may be, and one.
__global__ void __launch_bounds__(kExpandThreads, 4)
    expand_kernel(const __grid_constant__ ExpandParams p) {
  TESSERA_SHARED(float, z, kTokenTile* kRankStride);
  TESSERA_SHARED(uint4, pages, kExpandWarps * kTokenTile * kPageStride);
  const ExpandShared shared = {z, pages + warp_index() * kTokenTile * kPageStride};
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
