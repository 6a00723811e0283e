// lora_workspace.cuh — where the parts of a LoraWork's workspace are, and what a launch that adds
// B z is told.
#pragma once

#include <algorithm>

#include "kernels/cuda/lora_outputs.cuh"

namespace tessera::cuda {

// Deals out aligned parts of the workspace, or, of none, counts their bytes.
class Parts {
 public:
  explicit Parts(std::byte* memory) : memory_(memory) {}

  template <class T>
  T* take(std::size_t count) {
    T* part = memory_ == nullptr ? nullptr : reinterpret_cast<T*>(memory_ + bytes_);
    bytes_ += (count * sizeof(T) + 255) / 256 * 256;
    return part;
  }
  std::size_t bytes() const { return bytes_; }

 private:
  std::byte* memory_;
  std::size_t bytes_ = 0;
};

struct Workspace {
  LoraPlan plans[2];
  LowRank low_rank;
  std::size_t bytes;

  const LoraPlan& plan_of(const LoraModules& modules) const {
    return plans[modules.of_head_rows ? 1 : 0];
  }
};

inline LoraPlan take_plan(Parts& parts, std::size_t max_rows) {
  LoraPlan plan{};
  plan.num_segments = parts.take<std::int32_t>(1);
  plan.segments = parts.take<LoraSegment>(max_rows);
  plan.rows = parts.take<std::int32_t>(max_rows);
  plan.leader_of_row = parts.take<std::int32_t>(max_rows);
  plan.rows_of_leader = parts.take<std::int32_t>(max_rows);
  plan.is_changed = parts.take<std::int32_t>(kMaxLoraSites);
  return plan;
}

inline Workspace workspace_of(const LoraLimits& limits, std::byte* memory) {
  Parts parts(memory);
  Workspace workspace{};
  const auto max_rows = static_cast<std::size_t>(limits.max_rows);
  for (LoraPlan& plan : workspace.plans) plan = take_plan(parts, max_rows);
  LowRank& low_rank = workspace.low_rank;
  low_rank.max_rank = pages_of_rank(limits.max_rank) * kRanksPerPage;
  low_rank.max_z_rows = limits.max_rows * kMaxMixTerms;
  const int planes = kMaxLoraSites * shrink_cut(std::max(limits.max_in_features, 1)).planes;
  low_rank.z = parts.take<float>(static_cast<std::size_t>(planes) *
                                 static_cast<std::size_t>(low_rank.max_z_rows) *
                                 static_cast<std::size_t>(low_rank.max_rank));
  workspace.bytes = parts.bytes();
  return workspace;
}

inline ExpandParams expand_params(const LoraWork& work, const LoraModules& modules) {
  const Workspace workspace = workspace_of(work.limits, work.workspace);
  return {workspace.plan_of(modules), work.table, workspace.low_rank, modules,
          shrink_cut(modules.in_features).planes};
}

}  // namespace tessera::cuda
