// lora_plan.cuh — the plan of a step's adapters, and how kernels find their work in it.
//
// A segment is the rows that add the same terms: one adapter, or the same mix. Which modules an
// adapter has, and of which rank, differs from launch to launch, so the units of work are counted
// by the CTAs of each launch themselves: a warp goes through the segments, thirty-two at a time.
#pragma once

#include "kernels/cuda/device_math.cuh"
#include "kernels/cuda/lora_kernels.hpp"

namespace tessera::cuda {

inline constexpr int kMaxLoraSites = 3;

// Adjacent entries of LoraPlan::rows. Term t of entry i, counted within the segment, has row
// first_z + t * num_rows + i of z.
struct LoraSegment {
  std::int32_t first_entry;
  std::int32_t num_rows;
  std::int32_t first_z;
  std::int32_t num_terms;
  std::int32_t expert;  // whose modules these rows take; 0 where there are none
  MixTerm terms[kMaxMixTerms];
};

// Device memory, written by the plan's kernel but for the last.
struct LoraPlan {
  std::int32_t* num_segments;    // one number
  LoraSegment* segments;         // (max_rows,)
  std::int32_t* rows;            // (max_rows,) of x and y; ascending in each segment
  std::int32_t* leader_of_row;   // (max_rows,) the first row that adds the same; -1: nothing
  std::int32_t* rows_of_leader;  // (max_rows,) how many add the same; then the leader's segment
  // (kMaxLoraSites,) whether any segment adds to the outputs of the site; of the last shrink.
  std::int32_t* is_changed;
};

// A x, before it is multiplied by the term's weight and the scales of 8 bits: planes of sites
// behind one another, each (max_z_rows, max_rank).
struct LowRank {
  float* z;
  std::int32_t max_z_rows;
  std::int32_t max_rank;  // a multiple of eight

  __device__ std::size_t plane_floats() const {
    return static_cast<std::size_t>(max_z_rows) * static_cast<std::size_t>(max_rank);
  }
  __device__ float* at(int plane, int z_row) const {
    return z + static_cast<std::size_t>(plane) * plane_floats() +
           static_cast<std::size_t>(z_row) * static_cast<std::size_t>(max_rank);
  }
};

inline constexpr int kShrinkWarps = 8;
inline constexpr int kTileFeatures = 32;
inline constexpr int kMaxPlanes = 8;
inline constexpr int kPlaneFeatures = 1024;  // or more, where that makes more than kMaxPlanes

// How the features of x are cut up.
struct ShrinkCut {
  int planes;
  int warp_tiles;  // of kTileFeatures, a warp's of one plane
};

constexpr ShrinkCut shrink_cut(int in_features) {
  const int wanted = (in_features + kPlaneFeatures - 1) / kPlaneFeatures;
  const int most = wanted < kMaxPlanes ? wanted : kMaxPlanes;
  const int tiles = (in_features + kTileFeatures - 1) / kTileFeatures;
  const int warp_tiles = (tiles + most * kShrinkWarps - 1) / (most * kShrinkWarps);
  return {(tiles + warp_tiles * kShrinkWarps - 1) / (warp_tiles * kShrinkWarps), warp_tiles};
}

// The terms of entry i of a plan.
__device__ inline const MixTerm* terms_of(const DeviceStep& step, bool of_head_rows, int i) {
  const int row = of_head_rows ? step.head_rows[i] : i;
  return step.terms + row * kMaxMixTerms;
}

__device__ inline int count_terms(const MixTerm* terms) {
  int count = 0;
  while (count < kMaxMixTerms && terms[count].slot != kNoAdapter) ++count;
  return count;
}

inline constexpr int kTokenTile = 16;  // rows of a matrix instruction

__device__ inline const LoraEntry& entry_at(const LoraTable& table, AdapterSlot slot, int module) {
  return table.entries[slot * table.num_modules + module];
}

// Whether y is another one by it.
__device__ inline bool changes(const LoraEntry& entry) {
  return entry.rank > 0 || entry.out_scale != nullptr || entry.bias != nullptr;
}

// A segment's module at a site.
__device__ inline const LoraEntry& entry_at(const LoraTable& table, const LoraModules& modules,
                                            const LoraSegment& segment, int term, int site) {
  return entry_at(table, segment.terms[term].slot,
                  modules.first_module + segment.expert * modules.expert_stride + site);
}

__device__ inline int num_pages(const LoraEntry& entry) {
  return divided_up(entry.rank, kRanksPerPage);
}

// Fills offsets[0 .. num_segments] with the units before each segment, and in all, where
// units(segment) says how many one has. All threads of a CTA call it.
template <class Units>
__device__ int count_units(const LoraPlan& plan, std::int32_t* offsets, const Units& units) {
  const int num_segments = *plan.num_segments;
  if (warp_index() == 0) {
    int before = 0;
    for (int first = 0; first < num_segments; first += kWarpLanes) {
      const int at = first + lane_index();
      const int own = at < num_segments ? units(plan.segments[at]) : 0;
      const int up_to = warp_prefix(own);
      if (at < num_segments) offsets[at] = before + up_to - own;
      before += __shfl_sync(kFullMask, up_to, kWarpLanes - 1);
    }
    if (lane_index() == 0) offsets[num_segments] = before;
  }
  __syncthreads();
  return offsets[num_segments];
}

// Elements [element, element + 8) of a half of a page, of which the first `count` are there, as
// bf16 pairs; the rest are zeros. `is_aligned`: `element` is a multiple of eight.
__device__ inline uint4 load_eight(const std::byte* page, PageType type, std::size_t element,
                                   int count, bool is_aligned) {
  if (count >= 8 && is_aligned) {
    if (type == PageType::kBf16) {
      return load_stream(reinterpret_cast<const uint4*>(page + 2 * element));
    }
    const uint2 integers = *reinterpret_cast<const uint2*>(page + element);
    return {int8_to_bf16(integers.x, 0), int8_to_bf16(integers.x, 2), int8_to_bf16(integers.y, 0),
            int8_to_bf16(integers.y, 2)};
  }
  std::uint32_t pairs[4] = {};
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    if (i >= count) continue;
    const std::size_t at = element + static_cast<std::size_t>(i);
    const std::uint32_t bits =
        type == PageType::kBf16
            ? reinterpret_cast<const std::uint16_t*>(page)[at]
            : pack_bf16(static_cast<float>(reinterpret_cast<const std::int8_t*>(page)[at]), 0.0F);
    pairs[i / 2] |= bits << (i % 2 * 16);
  }
  return {pairs[0], pairs[1], pairs[2], pairs[3]};
}

}  // namespace tessera::cuda
