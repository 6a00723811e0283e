// attention_tile.cuh — sixteen queries against one split of their context, by all warps of a CTA.
//
// Nothing but queries and sums goes through shared memory: a lane loads what its registers of the
// matrix instruction want, sixteen bytes at a time.
#pragma once

#include "kernels/cuda/attention_step.cuh"

namespace tessera::cuda {

// The step's keys and values, read from the cache by the lane that wants them.
template <int kDim, bool kInt8>
struct CacheRows {
  const AttentionTask& task;
  const AttentionScratch& scratch;
  int position;  // the first of sixteen

  using Row = std::ptrdiff_t;

  // Scores of eight positions from `first` on: element 2 h + i is of query lane / 4 + 8 h and
  // position first + 2 (lane % 4) + i.
  __device__ void score(int first, float (&scores)[4]) const {
    const int lane = lane_index();
    const int head_dim = task.params->call.cache.head_dim;
    const Row row = task.cache_row(KvCache::kKey, first + lane / 4);
#pragma unroll 4
    for (int i = 0; i < kDim / 32; ++i) {
      const int feature = 32 * i + lane % 4 * 8;
      std::uint32_t key[4] = {};
      if (row >= 0 && feature < head_dim) load_key<kInt8>(task.elements(row, feature), key);
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int step = 2 * i + half;
        std::uint32_t high[4];
        std::uint32_t rest[4];
        to_words(scratch.queries[2 * step * kWarpLanes + lane], high);
        to_words(scratch.queries[(2 * step + 1) * kWarpLanes + lane], rest);
        const std::uint32_t pair[2] = {key[2 * half], key[2 * half + 1]};
        mma_half(scores, high, pair);
        mma_half(scores, rest, pair);
      }
    }
  }
  __device__ void score_all(float (&scores)[2][4]) const {
    score(position, scores[0]);
    score(position + 8, scores[1]);
  }
  __device__ float key_scale(int i) const {
    return scale_of(task.cache_row(KvCache::kKey, position + i));
  }
  __device__ Row value_row(int i) const {
    return task.cache_row(KvCache::kValue, position + i);
  }
  __device__ float value_scale(Row row) const {
    return scale_of(row);
  }
  // Features of the pass from `feature` on; null where there are none.
  __device__ const std::byte* value(Row row, int feature) const {
    const int at = task.first_feature + feature;
    return row < 0 || at >= task.params->call.cache.head_dim ? nullptr : task.elements(row, at);
  }

 private:
  // The scale of a cached row; 0 where there is none.
  __device__ float scale_of(Row row) const {
    return row < 0 ? 0.0F : task.params->call.cache.scales[row];
  }
};

// scratch.split = split `split` of the context: each warp's quarter, joined in order.
template <int kDim, bool kInt8>
__device__ void attend_split(const AttentionTask& task, const AttentionScratch& scratch,
                             int split) {
  constexpr int kSums = sums_of_pass(kDim);
  const int lane = lane_index();
  const int first = split * kKvSplit + warp_index() * kWarpPositions;
  Running running = {{-INFINITY, -INFINITY}, {0.0F, 0.0F}};
  float sums[kSums / 8][4] = {};
  for (int position = first; position < first + kWarpPositions; position += kStepPositions) {
    if (position + kStepPositions <= task.range.begin || position >= task.range.end) continue;
    const CacheRows<kDim, kInt8> source = {task, scratch, position};
    attend_step<kDim, kInt8>(task, scratch, source, position, running, sums);
  }
  add_weights(running);
  clear(scratch.split, kSums);
  for (int warp = 0; warp < kAttentionWarps; ++warp) {
    if (warp_index() == warp) {
      JoinFactors factors[2];
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int query = lane / 4 + 8 * half;
        factors[half] = join_factors(scratch.split.largest[query], running.largest[half]);
      }
      __syncwarp();
#pragma unroll
      for (int i = 0; i < kSums / 2; ++i) {
        float& sum = scratch.split.sums[i * kWarpLanes + lane];
        sum = joined(sum, sums[i / 4][i % 4], factors[i % 4 / 2]);
      }
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int query = lane / 4 + 8 * half;
        if (lane % 4 != 0) continue;
        float& weights = scratch.split.weights[query];
        weights = joined(weights, running.weights[half], factors[half]);
        scratch.split.largest[query] = factors[half].largest;
      }
    }
    __syncthreads();
  }
}

}  // namespace tessera::cuda
