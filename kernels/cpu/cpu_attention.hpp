// cpu_attention.hpp — the KV cache of a CPU backend, and attention over it.
//
// Who attends to what is planned once a step for each window that the model's layers have
// (attention_plan.hpp); how it is computed is attention_kernels.hpp.
#pragma once

#include <span>
#include <vector>

#include "kernels/backend.hpp"
#include "kernels/cpu/activation_rows.hpp"
#include "kernels/cpu/aligned_buffer.hpp"
#include "kernels/cpu/attention_plan.hpp"
#include "kernels/cpu/kernel_table.hpp"
#include "kernels/cpu/kv_layout.hpp"
#include "kernels/cpu/thread_pool.hpp"

namespace tessera {

class CpuAttention {
 public:
  // All but `limits` outlive it.
  CpuAttention(const ModelSpec& spec, const BackendLimits& limits, const KernelTable& kernels,
               ThreadPool& pool);

  void begin(const StepInput& input);

  // Gives the pages of these blocks back to the system: what they held is lost.
  void discard(std::span<const BlockId> blocks);

  // Writes one head's key and value (head_dim,) of a row of sequence `seq` to the cache. Called by
  // several threads at once, each with heads of its own.
  void store(int layer, int seq, int position, int kv_head, const float* key, const float* value);

  // output = attention of the queries (rows, num_heads, head_dim), finished for `orders`.
  void attend(int layer, ConstRows query, StageRows& output, const StageOrders& orders);

 private:
  // A layer's attention as its threads see it.
  struct Work {
    int layer;
    const AttentionPlan& plan;
    ConstRows query;
    StageRows& output;
    bool finishes;  // blocks of the output, as they are computed
  };

  AttentionPlan& plan_of(int layer);
  void attend_share(const Work& work, const AttentionShare& share);
  void join_divided(const Work& work);
  AttendTask task(const Work& work, const AttentionShare& share);
  float* records_of(const AttentionShare& share);
  void finish(const Work& work, const AttentionShare& share);
  std::byte* cache_of(int layer);
  std::span<const BlockId> blocks_of(int seq) const;

  const ModelSpec& spec_;
  const KernelTable& kernels_;
  ThreadPool& pool_;
  const int block_size_;
  const int group_;  // query heads that share a KV head
  KvLayout layout_;
  AlignedBuffer<std::byte> cache_;
  const int max_records_;             // of an item of attention that threads share
  std::vector<AttentionPlan> plans_;  // of each window
  std::vector<std::size_t> plan_of_layer_;
  AlignedBuffer<float> records_;  // (num_threads - 1, max_records_, record_floats)
  StepInput input_;
};

}  // namespace tessera
