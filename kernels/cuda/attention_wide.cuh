// attention_wide.cuh — sixty-four queries of a prompt's chunk against keys and values read once.
//
// Each of a CTA's four warps has a tile of sixteen queries and goes through the context alone; keys
// and values of sixteen positions at a time lie in a stage of shared memory that all four read,
// while two more stages are on their way. A chunk of a prompt so reads its context a quarter as
// often as it does in tiles that four warps share (attention.cuh). The order of every sum is that
// kernel's: a warp does one after the other what its four do side by side. So which kernel a
// sequence goes through changes no bit of it (P2), and whoever launches may choose.
#pragma once

#include "kernels/cuda/attention_step.cuh"

namespace tessera::cuda {

inline constexpr int kKvStages = 3;

// Rows of a stage: so far apart that the lanes which read together meet no bank twice.
constexpr int staged_key_bytes(int dim, bool is_int8) {
  if (is_int8) return dim + (dim % 64 == 0 ? 32 : 0);
  return 2 * dim + (dim % 64 == 0 ? 64 : 0);
}
constexpr int staged_value_bytes(int num_sums, bool is_int8) {
  return (is_int8 ? num_sums : 2 * num_sums) + 16;
}

// One stage: keys, values, then scales of both.
template <int kDim, bool kInt8>
struct KvStage {
  static constexpr int kSums = sums_of_pass(kDim);
  static constexpr int kElement = kInt8 ? 1 : 2;
  static constexpr int kKeyBytes = staged_key_bytes(kDim, kInt8);
  static constexpr int kValueBytes = staged_value_bytes(kSums, kInt8);
  static constexpr int kScalesAt = kStepPositions * (kKeyBytes + kValueBytes);
  static constexpr int kBytes = kScalesAt + 2 * kStepPositions * static_cast<int>(sizeof(float));

  std::byte* memory;

  __device__ std::byte* key(int row, int feature) const {
    return memory + row * kKeyBytes + feature * kElement;
  }
  __device__ std::byte* value(int row, int feature) const {
    return memory + kStepPositions * kKeyBytes + row * kValueBytes + feature * kElement;
  }
  __device__ float* key_scales() const { return reinterpret_cast<float*>(memory + kScalesAt); }
  __device__ float* value_scales() const { return key_scales() + kStepPositions; }
};

// Eight features to a stage; zeros where there is no such row, or where it has no more features.
template <bool kInt8>
__device__ void stage_features(const AttentionTask& task, std::ptrdiff_t row, int feature,
                               std::byte* to) {
  if (row < 0 || feature >= task.params->call.cache.head_dim) {
    if constexpr (kInt8) {
      *reinterpret_cast<uint2*>(to) = uint2{0, 0};
    } else {
      *reinterpret_cast<uint4*>(to) = uint4{0, 0, 0, 0};
    }
  } else if constexpr (kInt8) {
    copy_async_8(to, task.elements(row, feature));
  } else {
    copy_async_16(to, task.elements(row, feature));
  }
}

__device__ inline void stage_scale(const AttentionTask& task, std::ptrdiff_t row, float* to) {
  if (row < 0) {
    *to = 0.0F;
  } else {
    copy_async_4(to, task.params->call.cache.scales + row);
  }
}

// Begins to fill a stage with sixteen positions, of the pass's features; all threads call it. One
// group of copies.
template <int kDim, bool kInt8>
__device__ void start_stage(const AttentionTask& task, const KvStage<kDim, kInt8>& stage,
                            int position) {
  constexpr int kKeyParts = kDim / 8;
  constexpr int kValueParts = KvStage<kDim, kInt8>::kSums / 8;
  for (int i = thread_index(); i < kStepPositions * kKeyParts; i += kAttentionThreads) {
    const int row = i / kKeyParts;
    const int feature = i % kKeyParts * 8;
    stage_features<kInt8>(task, task.cache_row(KvCache::kKey, position + row), feature,
                          stage.key(row, feature));
  }
  for (int i = thread_index(); i < kStepPositions * kValueParts; i += kAttentionThreads) {
    const int row = i / kValueParts;
    const int feature = i % kValueParts * 8;
    stage_features<kInt8>(task, task.cache_row(KvCache::kValue, position + row),
                          task.first_feature + feature, stage.value(row, feature));
  }
  if (kInt8 && thread_index() < 2 * kStepPositions) {
    const int row = thread_index() % kStepPositions;
    const auto kind = thread_index() < kStepPositions ? KvCache::kKey : KvCache::kValue;
    stage_scale(task, task.cache_row(kind, position + row), stage.key_scales() + thread_index());
  }
}

// A stage as attend_step() reads it.
template <int kDim, bool kInt8>
struct StagedRows16 {
  const KvStage<kDim, kInt8>& stage;
  const AttentionScratch& scratch;

  using Row = int;

  // Both halves of the positions at once: a query's fragments are read once for them.
  __device__ void score_all(float (&scores)[2][4]) const {
    const int lane = lane_index();
#pragma unroll 4
    for (int i = 0; i < kDim / 32; ++i) {
      std::uint32_t keys[2][4];
#pragma unroll
      for (int eight = 0; eight < 2; ++eight) {
        load_key<kInt8>(stage.key(8 * eight + lane / 4, 32 * i + lane % 4 * 8), keys[eight]);
      }
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int step = 2 * i + half;
        std::uint32_t high[4];
        std::uint32_t rest[4];
        to_words(scratch.queries[2 * step * kWarpLanes + lane], high);
        to_words(scratch.queries[(2 * step + 1) * kWarpLanes + lane], rest);
#pragma unroll
        for (int eight = 0; eight < 2; ++eight) {
          const std::uint32_t pair[2] = {keys[eight][2 * half], keys[eight][2 * half + 1]};
          mma_half(scores[eight], high, pair);
          mma_half(scores[eight], rest, pair);
        }
      }
    }
  }
  __device__ float key_scale(int i) const {
    return stage.key_scales()[i];
  }
  __device__ Row value_row(int i) const {
    return i;
  }
  __device__ float value_scale(Row row) const {
    return stage.value_scales()[row];
  }
  __device__ const std::byte* value(Row row, int feature) const {
    return stage.value(row, feature);
  }
};

// ---- A warp's sums.

// Of a part of the context; a lane's, in its registers.
template <int kSums>
struct WarpSums {
  float sums[kSums / 8][4] = {};
  float largest[2] = {-INFINITY, -INFINITY};  // of queries lane / 4 and lane / 4 + 8
  float weights[2] = {0.0F, 0.0F};
};

// split = split and then one quarter of it; as attend_split() joins its warps'.
template <int kSums>
__device__ void join_quarter(WarpSums<kSums>& split, Running& running,
                             const float (&sums)[kSums / 8][4]) {
  add_weights(running);
  JoinFactors factors[2];
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    factors[half] = join_factors(split.largest[half], running.largest[half]);
    split.weights[half] = joined(split.weights[half], running.weights[half], factors[half]);
    split.largest[half] = factors[half].largest;
  }
#pragma unroll
  for (int i = 0; i < kSums / 2; ++i) {
    float& sum = split.sums[i / 4][i % 4];
    sum = joined(sum, sums[i / 4][i % 4], factors[i % 4 / 2]);
  }
}

// total = total and then one split; as join() does it. Totals are in shared memory, for there are
// no registers for them.
template <int kSums>
__device__ void join_split(const PartialSums& total, const WarpSums<kSums>& split) {
  const int lane = lane_index();
  JoinFactors factors[2];
  float weights[2];
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int query = lane / 4 + 8 * half;
    factors[half] = join_factors(total.largest[query], split.largest[half]);
    weights[half] = joined(total.weights[query], split.weights[half], factors[half]);
  }
  __syncwarp();  // all lanes of a query have read what one of them writes
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    if (lane % 4 != 0) continue;
    total.largest[lane / 4 + 8 * half] = factors[half].largest;
    total.weights[lane / 4 + 8 * half] = weights[half];
  }
#pragma unroll
  for (int i = 0; i < kSums / 2; ++i) {
    float& sum = total.sums[i * kWarpLanes + lane];
    sum = joined(sum, split.sums[i / 4][i % 4], factors[i % 4 / 2]);
  }
  __syncwarp();
}

template <int kSums>
__device__ void clear_total(const PartialSums& total) {
  for (int i = 0; i < kSums / 2; ++i) total.sums[i * kWarpLanes + lane_index()] = 0.0F;
  if (lane_index() < kAttentionTile) {
    total.largest[lane_index()] = -INFINITY;
    total.weights[lane_index()] = 0.0F;
  }
  __syncwarp();
}

// ---- The CTA.

// Its shared memory: four tiles' queries and totals, stages, and the step's sequences.
template <int kDim, bool kInt8>
struct WideScratch {
  static constexpr int kSums = sums_of_pass(kDim);
  static constexpr int kTileFloats = kAttentionTile * (kDim + 2) + partial_sums_floats(kSums);
  static constexpr int kStagesBytes = kKvStages * KvStage<kDim, kInt8>::kBytes;

  std::byte* memory;
  int max_seqs;

  static constexpr std::size_t bytes(int max_seqs) {
    const int floats = kAttentionWarps * kTileFloats + 2 * (max_seqs + 1);
    return static_cast<std::size_t>(kStagesBytes) +
           static_cast<std::size_t>(floats) * sizeof(float);
  }

  __device__ std::byte* stages() const { return memory; }
  __device__ float* tile_floats(int i) const {
    return reinterpret_cast<float*>(memory + kStagesBytes) + i * kTileFloats;
  }
  // Queries, their scales and positions; a tile has no other sums than its total.
  __device__ AttentionScratch tile(int i) const {
    AttentionScratch scratch = {};
    scratch.queries = reinterpret_cast<uint4*>(tile_floats(i));
    scratch.scales = tile_floats(i) + kAttentionTile * kDim;
    scratch.positions = reinterpret_cast<std::int32_t*>(scratch.scales + kAttentionTile);
    return scratch;
  }
  __device__ PartialSums total(int i) const {
    return partial_sums_at(tile_floats(i) + kAttentionTile * (kDim + 2), kSums);
  }
  __device__ SequenceOffsets offsets() const {
    auto* units = reinterpret_cast<std::int32_t*>(tile_floats(kAttentionWarps));
    return {units, units + max_seqs + 1};
  }
};

// The steps that any of a CTA's tiles attends to, one after the other, in stages taken in turn.
template <int kDim, bool kInt8>
struct KvStream {
  const AttentionTask& task;  // of all the CTA's queries
  std::byte* stages;

  // The step at `position`, a multiple of kStepPositions.
  __device__ KvStage<kDim, kInt8> stage_at(int position) const {
    const int index = position / kStepPositions - task.range.begin / kStepPositions;
    return {stages + index % kKvStages * KvStage<kDim, kInt8>::kBytes};
  }
  __device__ void bring(int position) const {
    if (position < task.range.end) start_stage<kDim, kInt8>(task, stage_at(position), position);
    commit_copies();
  }
  __device__ void begin() const {
    const int first = task.range.begin / kStepPositions * kStepPositions;
    for (int i = 0; i < kKvStages - 1; ++i) bring(first + i * kStepPositions);
  }
  // The stage of the step at `position`, when all threads are done with the one before.
  __device__ KvStage<kDim, kInt8> take(int position) const {
    wait_copies<kKvStages - 2>();
    __syncthreads();
    bring(position + (kKvStages - 1) * kStepPositions);
    return stage_at(position);
  }
};

// Whether a tile attends to any of `count` positions.
__device__ inline bool reaches(const AttentionTask& task, int position, int count) {
  return position + count > task.range.begin && position < task.range.end;
}

// One split for this warp's tile: all threads of the CTA call it, for the stages are everybody's.
template <int kDim, bool kInt8>
__device__ void attend_wide_split(const AttentionTask& task, const AttentionScratch& scratch,
                                  int split, const KvStream<kDim, kInt8>& stream,
                                  WarpSums<sums_of_pass(kDim)>& split_sums) {
  constexpr int kSums = sums_of_pass(kDim);
  for (int quarter = 0; quarter < kAttentionWarps; ++quarter) {
    const int first = split * kKvSplit + quarter * kWarpPositions;
    Running running = {{-INFINITY, -INFINITY}, {0.0F, 0.0F}};
    float sums[kSums / 8][4] = {};
    for (int position = first; position < first + kWarpPositions; position += kStepPositions) {
      if (!reaches(stream.task, position, kStepPositions)) continue;
      const KvStage<kDim, kInt8> stage = stream.take(position);
      if (!reaches(task, position, kStepPositions)) continue;
      const StagedRows16<kDim, kInt8> source = {stage, scratch};
      attend_step<kDim, kInt8>(task, scratch, source, position, running, sums);
    }
    join_quarter<kSums>(split_sums, running, sums);
  }
}

template <int kSums>
__device__ void write_wide(const AttentionTask& task, const PartialSums& total) {
  const AttentionParams& call = task.params->call;
  const int lane = lane_index();
  for (int half = 0; half < 2; ++half) {
    const int query = lane / 4 + 8 * half;
    if (task.row_of(query) < 0) continue;
    float* output = output_at(*task.params, task.row_of(query), task.head_of(query));
#pragma unroll 4
    for (int i = 0; i < kSums / 4; ++i) {
      const int element = i / 2 * 4 + 2 * half + i % 2;
      const int feature = task.first_feature + feature_of<kSums>(element, lane);
      if (feature >= call.cache.head_dim) continue;
      output[feature] = total.sums[element * kWarpLanes + lane] / total.weights[query];
    }
  }
}

// Of the sequences that takes_wide() says. Grid: persistent over their tiles, KV heads and passes.
template <int kDim, bool kInt8>
__global__ void __launch_bounds__(kAttentionThreads, 2)
    attend_wide_kernel(const __grid_constant__ AttendParams p) {
  constexpr int kSums = sums_of_pass(kDim);
  constexpr int kPasses = kDim / kSums;
  TESSERA_SHARED(AttentionTask, tasks, kAttentionWarps + 1);  // the last is all of them together
  const WideScratch<kDim, kInt8> scratch = {dynamic_shared(), p.call.limits.max_seqs};
  const SequenceOffsets offsets = scratch.offsets();
  count_sequences(p, offsets, true);
  const int num_seqs = p.call.step.counts->seqs;
  const int num_heads = p.call.cache.num_kv_heads;
  const int num_units = offsets.units[num_seqs] * num_heads * kPasses;
  for (int unit = static_cast<int>(blockIdx.x); unit < num_units;
       unit += static_cast<int>(gridDim.x)) {
    const int of_tile = unit / (num_heads * kPasses);
    const int seq = range_of(offsets.units, num_seqs, of_tile);
    if (thread_index() <= kAttentionWarps) {
      const SequenceWork work = sequence_work(p, seq);
      const int first = (of_tile - offsets.units[seq]) * kAttentionWarps;
      const bool is_all = thread_index() == kAttentionWarps;
      tasks[thread_index()] = attention_task(
          p, seq, work, is_all ? first : first + thread_index(), unit / kPasses % num_heads,
          unit % kPasses * kSums, is_all ? kAttentionWarps * kAttentionTile : kAttentionTile);
    }
    __syncthreads();
    for (int i = 0; i < kAttentionWarps; ++i) load_queries<kDim>(tasks[i], scratch.tile(i));
    const AttentionTask& all = tasks[kAttentionWarps];
    const AttentionTask& own = tasks[warp_index()];
    const PartialSums total = scratch.total(warp_index());
    clear_total<kSums>(total);
    const KvStream<kDim, kInt8> stream = {all, scratch.stages()};
    stream.begin();
    const int end = divided_up(all.range.end, kKvSplit);
    for (int split = all.range.begin / kKvSplit; split < end; ++split) {
      WarpSums<kSums> sums;
      attend_wide_split<kDim, kInt8>(own, scratch.tile(warp_index()), split, stream, sums);
      if (reaches(own, split * kKvSplit, kKvSplit)) join_split<kSums>(total, sums);
    }
    wait_copies<0>();
    write_wide<kSums>(own, total);
    __syncthreads();
  }
}

}  // namespace tessera::cuda
