// lora.cu — lora_kernels.hpp: the launches.
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/lora_embedding.cuh"
#include "kernels/cuda/lora_expand.cuh"
#include "kernels/cuda/lora_planning.cuh"
#include "kernels/cuda/lora_shrink.cuh"
#include "kernels/cuda/lora_workspace.cuh"

namespace tessera {
namespace {

using namespace cuda;

constexpr unsigned kShrinkCtasPerMultiprocessor = 2;
constexpr unsigned kExpandCtasPerMultiprocessor = 4;
constexpr unsigned kOwnLogitsColumns = 8;  // CTAs to a row of logits

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

void shrink_lora(CudaStream& stream, const LoraWork& work, const LoraModules& modules,
                 int capacity) {
  const Workspace workspace = workspace_of(work.limits, work.workspace);
  launch(stream, "lora_shrink", shrink_kernel,
         {{kShrinkCtasPerMultiprocessor * multiprocessors()},
          {static_cast<unsigned>(kShrinkThreads)},
          offsets_bytes(capacity)},
         {workspace.plan_of(modules), work.table, workspace.low_rank, modules});
}

void apply_lora(CudaStream& stream, const LoraWork& work, const LoraModules& modules,
                int capacity) {
  shrink_lora(stream, work, modules, capacity);
  launch_expand(stream, "lora_expand", expand_params(work, modules), capacity);
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
