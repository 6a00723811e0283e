// attention.cuh — attention_kernels.hpp's kernels.
//
// A sequence's queries, row by row and within a row head by head of the group that shares a KV
// head, are cut into tiles of sixteen, the rows of a matrix instruction: a group reads its keys and
// values once, whether the sequence decodes or is in the middle of its prompt. Long chunks of
// prompts are left to attention_wide.cuh, where four tiles read them once.
//
// The order of every sum is fixed (P2): a context is cut at multiples of kKvSplit positions and
// each split in four, a warp's each, which goes through its positions sixteen at a time; parts are
// joined in order. Products that a sum follows are rounded by themselves, for a compiler may fuse
// the two in one place and not in another. What a query does not attend to changes no bit of it: a
// weight of zero adds nothing, and a part without weights joins as nothing. So neither the rows of
// a tile nor the chunk they came in matter; nor whether one CTA takes all splits of a tile or each
// has one of its own and leaves a record for join_records_kernel.
#pragma once

#include "kernels/cuda/attention_tile.cuh"

namespace tessera::cuda {

// Calls visit(row, head, query, feature, sum) for what is there of a tile's sums.
template <int kSums, class Visit>
__device__ void for_each_sum(const AttentionTask& task, const PartialSums& sums,
                             const Visit& visit) {
  const int head_dim = task.params->call.cache.head_dim;
  for (int i = thread_index(); i < kAttentionTile * kSums; i += kAttentionThreads) {
    const int lane = i % kWarpLanes;
    const int query = query_of(i / kWarpLanes, lane);
    const int feature = task.first_feature + feature_of<kSums>(i / kWarpLanes, lane);
    if (feature >= head_dim || task.row_of(query) < 0) continue;
    visit(task.row_of(query), task.head_of(query), query, feature, sums.sums[i]);
  }
  __syncthreads();
}

// A head's record of one split of a row: head_dim sums, the largest score, the sum of weights.
__device__ inline float* record_at(const AttendParams& p, const SequenceWork& work, int split,
                                   int row, int head) {
  const int index = work.first_record + split * work.num_rows + row - work.first_row;
  const std::size_t at =
      static_cast<std::size_t>(index) * static_cast<std::size_t>(p.call.limits.num_heads) +
      static_cast<std::size_t>(head);
  return p.records + at * static_cast<std::size_t>(p.call.cache.head_dim + 2);
}

// CTAs of a multiprocessor, at least: what the registers of a head dimension leave room for.
constexpr int attention_ctas(int dim) {
  return dim <= 32 ? 4 : dim <= 64 ? 3 : 2;
}

template <int kDim, bool kInt8>
__global__ void __launch_bounds__(kAttentionThreads, attention_ctas(kDim))
    attend_kernel(const __grid_constant__ AttendParams p) {
  constexpr int kSums = sums_of_pass(kDim);
  constexpr int kPasses = kDim / kSums;
  TESSERA_SHARED(AttentionTask, tasks, 1);
  TESSERA_SHARED(SequenceWork, works, 1);
  const AttentionTask& task = tasks[0];
  const SequenceWork& work = works[0];
  const AttentionScratch scratch =
      AttentionScratch::at(dynamic_shared(), kDim, p.call.limits.max_seqs);
  count_sequences(p, scratch.offsets);
  const int num_seqs = p.call.step.counts->seqs;
  const int num_heads = p.call.cache.num_kv_heads;
  const int num_units = scratch.offsets.units[num_seqs] * num_heads * kPasses;
  for (int unit = static_cast<int>(blockIdx.x); unit < num_units;
       unit += static_cast<int>(gridDim.x)) {
    const int of_tile = unit / (num_heads * kPasses);
    const int seq = range_of(scratch.offsets.units, num_seqs, of_tile);
    const int local = of_tile - scratch.offsets.units[seq];
    if (thread_index() == 0) {
      works[0] = sequence_work(p, seq, scratch.offsets);
      const int tile = work.first_record >= 0 ? 0 : local;
      tasks[0] =
          attention_task(p, seq, work, tile, unit / kPasses % num_heads, unit % kPasses * kSums);
    }
    __syncthreads();
    const bool is_split = work.first_record >= 0;
    load_queries<kDim>(task, scratch);
    clear(scratch.total, kSums);
    const int first = is_split ? work.first_split + local : task.range.begin / kKvSplit;
    const int end = is_split ? first + 1 : divided_up(task.range.end, kKvSplit);
    for (int split = first; split < end; ++split) {
      attend_split<kDim, kInt8>(task, scratch, split);
      if (!is_split) join(scratch.total, scratch.split, kSums);
    }
    const PartialSums sums = {is_split ? scratch.split.sums : scratch.total.sums,
                              is_split ? scratch.split.largest : scratch.total.largest,
                              is_split ? scratch.split.weights : scratch.total.weights};
    for_each_sum<kSums>(task, sums, [&](int row, int head, int query, int feature, float sum) {
      if (!is_split) {
        output_at(p, row, head)[feature] = sum / sums.weights[query];
        return;
      }
      float* record = record_at(p, work, local, row, head);
      record[feature] = sum;
      if (feature != 0) return;
      record[p.call.cache.head_dim] = sums.largest[query];
      record[p.call.cache.head_dim + 1] = sums.weights[query];
    });
  }
}

// Joins the records of sequences whose splits were dealt out, in order: a warp a row and head.
__global__ void __launch_bounds__(kAttentionThreads)
    join_records_kernel(const __grid_constant__ AttendParams p) {
  auto* memory = reinterpret_cast<std::int32_t*>(dynamic_shared());
  const SequenceOffsets offsets = {memory, memory + p.call.limits.max_seqs + 1};
  count_sequences(p, offsets);
  const int num_heads = p.call.limits.num_heads;
  const int head_dim = p.call.cache.head_dim;
  const int num_warps = static_cast<int>(gridDim.x) * kAttentionWarps;
  for (int seq = 0; seq < p.call.step.counts->seqs; ++seq) {
    const SequenceWork work = sequence_work(p, seq, offsets);
    if (work.first_record < 0) continue;
    const int first = static_cast<int>(blockIdx.x) * kAttentionWarps + warp_index();
    for (int i = first; i < work.num_rows * num_heads; i += num_warps) {
      const int row = work.first_row + i / num_heads;
      const int head = i % num_heads;
      for (int feature = lane_index(); feature < head_dim; feature += kWarpLanes) {
        float largest = -INFINITY;
        float sum = 0.0F;
        float weights = 0.0F;
        for (int split = 0; split < work.num_splits; ++split) {
          const float* record = record_at(p, work, split, row, head);
          const JoinFactors factors = join_factors(largest, record[head_dim]);
          sum = joined(sum, record[feature], factors);
          weights = joined(weights, record[head_dim + 1], factors);
          largest = factors.largest;
        }
        output_at(p, row, head)[feature] = sum / weights;
      }
    }
  }
}

}  // namespace tessera::cuda
