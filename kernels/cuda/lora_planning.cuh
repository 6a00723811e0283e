// lora_planning.cuh — the kernels that make the plan of a step (lora_plan.cuh): one of all rows and
// one of those whose logits are wanted, and, layer by layer, one of the places of experts.
#pragma once

#include "kernels/cuda/lora_plan.cuh"

namespace tessera::cuda {

inline constexpr int kPlanThreads = 512;

struct PlanLoraParams {
  DeviceStep step;
  LoraPlan plans[2];  // of all rows, of head_rows
};

__device__ inline bool same_terms(const MixTerm* a, const MixTerm* b) {
  for (int t = 0; t < kMaxMixTerms; ++t) {
    if (a[t].slot != b[t].slot) return false;
    if (a[t].slot == kNoAdapter) return true;
    if (a[t].weight != b[t].weight) return false;
  }
  return true;
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

}  // namespace tessera::cuda
