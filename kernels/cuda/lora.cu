// lora.cu — lora_kernels.hpp: where the workspace's parts are, and the launches.
#include <algorithm>

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/lora_embedding.cuh"
#include "kernels/cuda/lora_expand.cuh"
#include "kernels/cuda/lora_shrink.cuh"

namespace tessera {
namespace {

using namespace cuda;

constexpr unsigned kShrinkCtasPerMultiprocessor = 2;
constexpr unsigned kExpandCtasPerMultiprocessor = 4;
constexpr unsigned kOwnLogitsColumns = 8;  // CTAs to a row of logits

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
};

LoraPlan take_plan(Parts& parts, std::size_t max_rows) {
  LoraPlan plan{};
  plan.num_segments = parts.take<std::int32_t>(1);
  plan.segments = parts.take<LoraSegment>(max_rows);
  plan.rows = parts.take<std::int32_t>(max_rows);
  plan.leader_of_row = parts.take<std::int32_t>(max_rows);
  plan.rows_of_leader = parts.take<std::int32_t>(max_rows);
  return plan;
}

Workspace workspace_of(const LoraLimits& limits, std::byte* memory) {
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

unsigned multiprocessors() {
  static const auto count = static_cast<unsigned>(num_multiprocessors());
  return count;
}

std::size_t offsets_bytes(int capacity) {
  return (static_cast<std::size_t>(capacity) + 1) * sizeof(std::int32_t);
}

void launch_expand(CudaStream& stream, const char* name, const ExpandParams& params, int capacity) {
  launch(stream, name, expand_kernel,
         {{kExpandCtasPerMultiprocessor * multiprocessors()},
          {static_cast<unsigned>(kExpandThreads)},
          offsets_bytes(capacity)},
         params);
}

}  // namespace

std::size_t lora_workspace_bytes(const LoraLimits& limits) {
  return workspace_of(limits, nullptr).bytes;
}

void plan_lora(CudaStream& stream, const LoraWork& work, int /*capacity*/) {
  const Workspace workspace = workspace_of(work.limits, work.workspace);
  launch(stream, "plan_lora", plan_lora_kernel, {{2}, {static_cast<unsigned>(kPlanThreads)}},
         {work.step, {workspace.plans[0], workspace.plans[1]}});
}

void plan_expert_lora(CudaStream& stream, const LoraWork& work, const ExpertRouting& routing,
                      int /*capacity*/) {
  const Workspace workspace = workspace_of(work.limits, work.workspace);
  launch(stream, "plan_expert_lora", plan_expert_lora_kernel,
         {{1}, {static_cast<unsigned>(kPlanThreads)}}, {work.step, routing, workspace.plans[0]});
}

void apply_lora(CudaStream& stream, const LoraWork& work, const LoraModules& modules,
                int capacity) {
  const Workspace workspace = workspace_of(work.limits, work.workspace);
  const LoraPlan& plan = workspace.plans[modules.of_head_rows ? 1 : 0];
  launch(stream, "lora_shrink", shrink_kernel,
         {{kShrinkCtasPerMultiprocessor * multiprocessors()},
          {static_cast<unsigned>(kShrinkThreads)},
          offsets_bytes(capacity)},
         {plan, work.table, workspace.low_rank, modules});
  launch_expand(
      stream, "lora_expand",
      {plan, work.table, workspace.low_rank, modules, shrink_cut(modules.in_features).planes},
      capacity);
}

void apply_lora_to_embedding(CudaStream& stream, const LoraWork& work, int vocab_size, int hidden,
                             float* x, int capacity) {
  const Workspace workspace = workspace_of(work.limits, work.workspace);
  EmbeddingParams params{};
  params.step = work.step;
  params.plan = workspace.plans[0];
  params.table = work.table;
  params.low_rank = workspace.low_rank;
  params.x = x;
  params.hidden = hidden;
  params.vocab_size = vocab_size;
  params.module = work.table.num_modules - 2;  // before the head
  const auto threads = static_cast<unsigned>(kOwnRowThreads);
  launch(stream, "own_embeddings", own_embeddings_kernel,
         {{static_cast<unsigned>(capacity)}, {threads}}, params);
  launch(stream, "shrink_embedding", shrink_embedding_kernel, {{multiprocessors()}, {threads}},
         params);
  LoraModules modules;
  modules.first_module = params.module;
  modules.out_features[0] = hidden;
  modules.y[0] = x;
  modules.y_stride = hidden;
  launch_expand(stream, "expand_embedding",
                {params.plan, work.table, workspace.low_rank, modules, 1}, capacity);
}

void replace_logits(CudaStream& stream, const LoraWork& work, int vocab_size, int hidden,
                    const float* x, float* logits, int capacity) {
  if (capacity == 0) return;
  launch(stream, "own_logits", own_logits_kernel,
         {{static_cast<unsigned>(capacity), kOwnLogitsColumns},
          {static_cast<unsigned>(kOwnRowThreads)}},
         {work.step, work.table, x, logits, hidden, vocab_size});
}

}  // namespace tessera
