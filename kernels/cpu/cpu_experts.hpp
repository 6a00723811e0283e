// cpu_experts.hpp — the layers whose MLP is a sum over the experts that a row is routed to.
//
// The rows are gathered expert by expert (expert_routes.hpp), each expert multiplies its own as a
// layer without experts multiplies all, its adapters' modules included, and each row's outputs are
// added up in ascending order of the expert.
#pragma once

#include <span>
#include <vector>

#include "kernels/backend.hpp"
#include "kernels/cpu/cpu_layer.hpp"
#include "kernels/cpu/expert_routes.hpp"
#include "kernels/cpu/segmented_lora.hpp"
#include "kernels/cpu/thread_pool.hpp"

namespace tessera {

// What a step's rows are to a layer's experts.
struct ExpertStep {
  int layer_index;
  const CpuLayer& layer;
  int num_rows;
  std::span<const RowTerms> terms;  // (rows,)
};

class CpuExperts {
 public:
  // All but `limits` and `needs` outlive it. Allocates all that a step needs.
  CpuExperts(const ModelSpec& spec, const BackendLimits& limits, const ModelNeeds& needs,
             const LoraAdapters& adapters, const KernelTable& kernels, ThreadPool& pool);

  // Routes the rows of x (rows, hidden) and computes act(gate) * up in their experts.
  void gate_up(const ExpertStep& step, ConstRows x);
  // y (rows, hidden) = the sum of each row's experts' outputs.
  void down(const ExpertStep& step, Rows y);

 private:
  void route(const ExpertStep& step, ConstRows x);
  void plan_lora(const ExpertStep& step);
  void gather(const ExpertStep& step, ConstRows x);
  void shrink(const ExpertStep& step, std::span<const Linear> linears, int in_features,
              ConstRows x);
  // The tiles of y = W x + B z in one of the group's expert's linears.
  void project(const ExpertStep& step, const ExpertGroup& group, Linear linear, int site_index,
               Range tiles, const StageRows& x, Rows y) const;
  void finish_gated(const ExpertStep& step);

  const ModelSpec& spec_;
  const KernelTable& kernels_;
  ThreadPool& pool_;
  ExpertRoutes routes_;
  bool has_lora_ = false;        // this step's rows
  std::vector<RowTerms> terms_;  // (places,)
  std::vector<LoraPlan> plans_;  // (num_experts,)
  LowRankRows low_rank_;
  ActivationRows logits_;  // (rows, num_experts)
  StageRows x_;            // (places, hidden)
  StageRows gate_;         // (places, expert_intermediate), and act(gate) * up
  ActivationRows up_;
  ActivationRows outputs_;  // (places, hidden)
};

}  // namespace tessera
