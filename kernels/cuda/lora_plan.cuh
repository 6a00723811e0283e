// lora_plan.cuh — the plan of a step's adapters, and how kernels find their work in it.
//
// A segment is the rows that add the same terms: one adapter, or the same mix. There are two lists
// of segments, of all rows and of those whose logits are wanted. Which modules an adapter has, and
// of which rank, differs from launch to launch, so the units of work are counted by the CTAs of
// each launch themselves: a warp goes through the segments, thirty-two at a time.
#pragma once

#include "kernels/cuda/device_math.cuh"
#include "kernels/cuda/lora_kernels.hpp"

namespace tessera::cuda {

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

// Device memory, written by the plan's kernel.
struct LoraPlan {
  std::int32_t* num_segments;    // one number
  LoraSegment* segments;         // (max_rows,)
  std::int32_t* rows;            // (max_rows,) of x and y; ascending in each segment
  std::int32_t* leader_of_row;   // (max_rows,) the first row that adds the same; -1: nothing
  std::int32_t* rows_of_leader;  // (max_rows,) how many add the same; then the leader's segment
};

// A x, before it is multiplied by the term's weight and the scales of 8 bits: planes of sites
// behind one another, each (max_z_rows, max_rank).
struct LowRank {
  float* z;
  std::int32_t max_z_rows;
  std::int32_t max_rank;  // a multiple of eight

  __device__ float* at(int plane, int z_row) const {
    const std::size_t row = static_cast<std::size_t>(plane) * static_cast<std::size_t>(max_z_rows) +
                            static_cast<std::size_t>(z_row);
    return z + row * static_cast<std::size_t>(max_rank);
  }
};

inline constexpr int kPlanThreads = 512;

struct PlanLoraParams {
  DeviceStep step;
  LoraPlan plans[2];  // of all rows, of head_rows
};

// The terms of entry i of a plan.
__device__ inline const MixTerm* terms_of(const DeviceStep& step, bool of_head_rows, int i) {
  const int row = of_head_rows ? step.head_rows[i] : i;
  return step.terms + row * kMaxMixTerms;
}

__device__ inline bool same_terms(const MixTerm* a, const MixTerm* b) {
  for (int t = 0; t < kMaxMixTerms; ++t) {
    if (a[t].slot != b[t].slot) return false;
    if (a[t].slot == kNoAdapter) return true;
    if (a[t].weight != b[t].weight) return false;
  }
  return true;
}

__device__ inline int count_terms(const MixTerm* terms) {
  int count = 0;
  while (count < kMaxMixTerms && terms[count].slot != kNoAdapter) ++count;
  return count;
}

// How many of rows [begin, end) `leader` leads; their indices, in order, to `list` unless it is
// null. A warp's.
__device__ inline int list_rows(const LoraPlan& plan, int begin, int end, int leader,
                                std::int32_t* list) {
  const int lane = lane_index();
  int found = 0;
  for (int first = begin; first < end; first += kWarpLanes) {
    const int row = first + lane;
    const bool is_one = row < end && plan.leader_of_row[row] == leader;
    const unsigned lanes = __ballot_sync(kFullMask, is_one ? 1 : 0);
    const int before = __popc(lanes & ((1U << static_cast<unsigned>(lane)) - 1U));
    if (is_one && list != nullptr) list[found + before] = row;
    found += __popc(lanes);
  }
  return found;
}

// One warp: makes segments of the leaders, in their order. terms_at(row) are a row's terms,
// expert_at(row) its expert.
template <class TermsAt, class ExpertAt>
__device__ void make_segments(const LoraPlan& plan, int num_rows, const TermsAt& terms_at,
                              const ExpertAt& expert_at) {
  int num_segments = 0;
  int entries = 0;
  int z_rows = 0;
  for (int first = 0; first < num_rows; first += kWarpLanes) {
    const int row = first + lane_index();
    const int count = row < num_rows ? plan.rows_of_leader[row] : 0;
    const int num_terms = count > 0 ? count_terms(terms_at(row)) : 0;
    const int segments_to = warp_prefix(count > 0 ? 1 : 0);
    const int entries_to = warp_prefix(count);
    const int z_to = warp_prefix(count * num_terms);
    if (count > 0) {
      const int at = num_segments + segments_to - 1;
      LoraSegment& segment = plan.segments[at];
      segment.first_entry = entries + entries_to - count;
      segment.num_rows = count;
      segment.first_z = z_rows + z_to - count * num_terms;
      segment.num_terms = num_terms;
      segment.expert = expert_at(row);
      const MixTerm* terms = terms_at(row);
      for (int t = 0; t < num_terms; ++t) segment.terms[t] = terms[t];
      plan.rows_of_leader[row] = at;
    } else if (row < num_rows) {
      plan.rows_of_leader[row] = -1;
    }
    num_segments += __shfl_sync(kFullMask, segments_to, kWarpLanes - 1);
    entries += __shfl_sync(kFullMask, entries_to, kWarpLanes - 1);
    z_rows += __shfl_sync(kFullMask, z_to, kWarpLanes - 1);
  }
  if (lane_index() == 0) *plan.num_segments = num_segments;
}

// Two CTAs, a plan each.
__global__ void __launch_bounds__(kPlanThreads, 1)
    plan_lora_kernel(const __grid_constant__ PlanLoraParams p) {
  const bool of_head_rows = blockIdx.x == 1;
  const LoraPlan& plan = p.plans[blockIdx.x];
  const int num_rows = of_head_rows ? p.step.counts->head_rows : p.step.counts->rows;
  for (int row = thread_index(); row < num_rows; row += kPlanThreads) {
    const MixTerm* own = terms_of(p.step, of_head_rows, row);
    int leader = own[0].slot == kNoAdapter ? -1 : 0;
    while (leader >= 0 && !same_terms(terms_of(p.step, of_head_rows, leader), own)) ++leader;
    plan.leader_of_row[row] = leader;
  }
  __syncthreads();
  for (int row = warp_index(); row < num_rows; row += kPlanThreads / kWarpLanes) {
    const bool leads = plan.leader_of_row[row] == row;
    const int count = leads ? list_rows(plan, 0, num_rows, row, nullptr) : 0;
    if (lane_index() == 0) plan.rows_of_leader[row] = count;
  }
  __syncthreads();
  if (warp_index() == 0) {
    make_segments(
        plan, num_rows, [&](int row) { return terms_of(p.step, of_head_rows, row); },
        [](int) { return 0; });
  }
  __syncthreads();
  for (int row = warp_index(); row < num_rows; row += kPlanThreads / kWarpLanes) {
    const int segment = plan.rows_of_leader[row];
    if (segment < 0) continue;
    list_rows(plan, 0, num_rows, row, plan.rows + plan.segments[segment].first_entry);
  }
}

// The same of the places of a layer's experts, which lie expert by expert. One CTA.
struct PlanExpertLoraParams {
  DeviceStep step;
  ExpertRouting routing;
  LoraPlan plan;
};

__global__ void __launch_bounds__(kPlanThreads, 1)
    plan_expert_lora_kernel(const __grid_constant__ PlanExpertLoraParams p) {
  const ExpertRouting& routing = p.routing;
  const LoraPlan& plan = p.plan;
  const int num_places = *routing.num_places();
  const auto terms_at = [&](int place) {
    return p.step.terms + routing.row_of[place] * kMaxMixTerms;
  };
  for (int place = thread_index(); place < num_places; place += kPlanThreads) {
    const MixTerm* own = terms_at(place);
    const bool has_terms = own[0].slot != kNoAdapter;
    int leader = has_terms ? routing.first[routing.expert_of[place]] : -1;
    while (leader >= 0 && !same_terms(terms_at(leader), own)) ++leader;
    plan.leader_of_row[place] = leader;
  }
  __syncthreads();
  for (int place = warp_index(); place < num_places; place += kPlanThreads / kWarpLanes) {
    const bool leads = plan.leader_of_row[place] == place;
    const int end = routing.first[routing.expert_of[place] + 1];
    const int count = leads ? list_rows(plan, place, end, place, nullptr) : 0;
    if (lane_index() == 0) plan.rows_of_leader[place] = count;
  }
  __syncthreads();
  if (warp_index() == 0) {
    make_segments(plan, num_places, terms_at, [&](int place) { return routing.expert_of[place]; });
  }
  __syncthreads();
  for (int place = warp_index(); place < num_places; place += kPlanThreads / kWarpLanes) {
    const int segment = plan.rows_of_leader[place];
    if (segment < 0) continue;
    const int end = routing.first[routing.expert_of[place] + 1];
    list_rows(plan, place, end, place, plan.rows + plan.segments[segment].first_entry);
  }
}

// ---- Work.

inline constexpr int kTokenTile = 16;  // rows of a matrix instruction

__device__ inline const LoraEntry& entry_at(const LoraTable& table, AdapterSlot slot, int module) {
  return table.entries[slot * table.num_modules + module];
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
