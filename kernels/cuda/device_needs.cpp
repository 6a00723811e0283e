#include "kernels/cuda/device_needs.hpp"

#include <algorithm>

#include "kernels/cuda/activations.hpp"
#include "kernels/cuda/adapter_store.hpp"
#include "kernels/cuda/granule_pool.hpp"
#include "kernels/cuda/step_arena.hpp"
#include "kernels/cuda/token_drawer.hpp"

namespace tessera {
namespace {

// For the driver, and for what allocations are rounded up to.
constexpr std::size_t kReservedBytes = std::size_t{256} << 20;
constexpr int kLaunchesOfLayer = 24;           // with LoRA, at most
constexpr std::size_t kGraphNodeBytes = 4096;  // a guess on the safe side

// Of the longest sequence that there may be, where the pool is as large as it comes.
int most_blocks_of_sequence(const BackendLimits& limits) {
  const int least = limits.memory.least_blocks;
  return least > 0 ? std::min(limits.num_blocks, least) : limits.num_blocks;
}

std::size_t kv_block_bytes(const ModelSpec& spec, const BackendLimits& limits) {
  const KvCache cache = kv_layout_of(spec, limits);
  const std::size_t scale = cache.form == KvForm::kInt8 ? sizeof(float) : 0;
  return cache.block_rows * (cache.row_bytes() + scale);
}

std::size_t graph_bytes(const ModelSpec& spec, int max_graph_rows) {
  const auto num_buckets = std::count_if(kGraphBuckets.begin(), kGraphBuckets.end(),
                                         [&](int rows) { return rows <= max_graph_rows; });
  return 2 * static_cast<std::size_t>(num_buckets) *
         device_area(spec.num_layers(), kLaunchesOfLayer) * kGraphNodeBytes;
}

// Everything that is in device memory beside weights, graphs and the pool.
std::size_t scratch_bytes(const ModelSpec& spec, BackendLimits limits) {
  if (limits.num_blocks == 0) limits.num_blocks = std::max(limits.memory.least_blocks, 1);
  return Activations::bytes(spec, limits) + ExpertActivations::bytes(spec, limits) +
         expert_lora_bytes(spec, limits) + rope_floats(spec, limits) * sizeof(float) +
         lora_workspace_bytes(lora_limits_of(spec, limits)) +
         attention_workspace_bytes(attention_limits_of(spec, limits)) +
         StepArena::device_bytes(limits, table_blocks(limits)) +
         TokenDrawer::device_bytes(limits.max_logit_rows, spec.vocab_size) +
         AdapterStore::table_bytes(spec, limits.max_adapters);
}

}  // namespace

std::size_t expert_lora_bytes(const ModelSpec& spec, const BackendLimits& limits) {
  return spec.num_experts == 0 ? 0 : lora_workspace_bytes(expert_lora_limits_of(spec, limits));
}

int widest_rope(const ModelSpec& spec) {
  std::size_t pairs = 0;
  for (const RopeSpec& rope : spec.ropes) pairs = std::max(pairs, rope.inv_freq.size());
  return static_cast<int>(pairs);
}

LoraLimits lora_limits_of(const ModelSpec& spec, const BackendLimits& limits) {
  return {limits.max_rows, limits.max_rank, Activations::widest_input(spec)};
}

LoraLimits expert_lora_limits_of(const ModelSpec& spec, const BackendLimits& limits) {
  return {ExpertActivations::places(spec, limits), limits.max_rank,
          ExpertActivations::widest_input(spec)};
}

AttentionLimits attention_limits_of(const ModelSpec& spec, const BackendLimits& limits) {
  return {limits.max_rows, limits.max_seqs, most_blocks_of_sequence(limits) * limits.block_size,
          spec.num_heads, spec.head_dim};
}

std::size_t table_blocks(const BackendLimits& limits) {
  return device_area(limits.max_seqs, most_blocks_of_sequence(limits));
}

std::size_t rope_floats(const ModelSpec& spec, const BackendLimits& limits) {
  return spec.ropes.size() * device_area(limits.max_rows, 2 * widest_rope(spec));
}

KvCache kv_layout_of(const ModelSpec& spec, const BackendLimits& limits) {
  KvCache cache;
  cache.form = limits.kv_form;
  cache.block_size = limits.block_size;
  cache.num_kv_heads = spec.num_kv_heads;
  cache.head_dim = spec.head_dim;
  set_block_rows(cache, spec.num_layers(), GranulePool::kAlignment);
  return cache;
}

MemoryDivision divide_device(const ModelSpec& spec, const BackendLimits& limits, int max_graph_rows,
                             std::size_t free_bytes, std::size_t weight_bytes) {
  const MemoryNeeds needs{.free_bytes = free_bytes,
                          .weight_bytes = weight_bytes,
                          .scratch_bytes = scratch_bytes(spec, limits),
                          .graph_bytes = graph_bytes(spec, max_graph_rows),
                          .reserve_bytes = kReservedBytes,
                          .block_bytes = kv_block_bytes(spec, limits)};
  if (limits.num_blocks == 0) return divide_memory(needs, limits.memory);
  return divide_memory(needs, limits.num_blocks, limits.memory.adapter_bytes);
}

}  // namespace tessera
