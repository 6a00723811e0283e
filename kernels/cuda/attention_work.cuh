// attention_work.cuh — how a step's attention is dealt out to CTAs, and the sums of parts of a
// context and how they are joined.
#pragma once

#include <cmath>

#include "kernels/cuda/attention_kernels.hpp"
#include "kernels/cuda/device_math.cuh"

namespace tessera::cuda {

inline constexpr int kKvSplit = 256;       // positions
inline constexpr int kAttentionTile = 16;  // queries
inline constexpr int kAttentionWarps = 4;
inline constexpr int kAttentionThreads = kAttentionWarps * kWarpLanes;
inline constexpr int kWarpPositions = kKvSplit / kAttentionWarps;
inline constexpr int kStepPositions = 16;

// Features whose sums a CTA has registers for. A head of 256 takes two CTAs, which both compute its
// scores.
constexpr int sums_of_pass(int dim) {
  return dim <= 128 ? dim : dim / 2;
}

// ---- Work.

struct AttendParams {
  AttentionParams call;
  float* records;  // (max_records, num_heads, head_dim + 2)
  std::int32_t max_records;
  std::int32_t group;  // query heads to a KV head
  bool has_wide;       // a launch of attend_wide_kernel is for the sequences that takes_wide()
};

// A sequence's share of a launch.
struct SequenceWork {
  int first_row;
  int num_rows;
  int num_tiles;    // of sixteen queries
  int first_split;  // of the context, with num_splits of the only tile of a short sequence
  int num_splits;
  int first_record;  // of (split, row); -1: a CTA takes all of a tile's splits
};

// The positions that a tile's rows attend to.
struct PositionRange {
  int begin;
  int end;
};

// Of none, if there is no such query.
__device__ inline PositionRange positions_of(const AttendParams& p, int first_row, int num_rows,
                                             int first_query, int num_queries = kAttentionTile) {
  if (first_query >= num_rows * p.group) return {0, 0};
  const int last_query = min(first_query + num_queries, num_rows * p.group) - 1;
  const int first = p.call.step.positions[first_row + first_query / p.group];
  const int last = p.call.step.positions[first_row + last_query / p.group];
  const int window = p.call.window;
  return {window == 0 ? 0 : max(0, first - window + 1), last + 1};
}

// All that is in a CTA's shared memory of the step's sequences: units and records before each.
struct SequenceOffsets {
  std::int32_t* units;    // (seqs + 1,)
  std::int32_t* records;  // (seqs + 1,)
};

// Without its records.
__device__ inline SequenceWork sequence_work(const AttendParams& p, int seq) {
  SequenceWork work = {};
  work.first_row = p.call.step.seq_indptr[seq];
  work.num_rows = p.call.step.seq_indptr[seq + 1] - work.first_row;
  work.num_tiles = divided_up(work.num_rows * p.group, kAttentionTile);
  work.first_record = -1;
  if (work.num_tiles != 1) return work;
  const PositionRange range = positions_of(p, work.first_row, work.num_rows, 0);
  work.first_split = range.begin / kKvSplit;
  work.num_splits = divided_up(range.end, kKvSplit) - work.first_split;
  return work;
}

// With them. Several tiles are a chunk of a prompt: enough work for a CTA each. One tile is a
// sequence that decodes, whose splits are dealt out as long as there are records.
__device__ inline SequenceWork sequence_work(const AttendParams& p, int seq,
                                             const SequenceOffsets& offsets) {
  SequenceWork work = sequence_work(p, seq);
  const bool has_records = offsets.records[seq + 1] > offsets.records[seq];
  if (has_records && offsets.records[seq + 1] <= p.max_records) {
    work.first_record = offsets.records[seq];
  }
  return work;
}

// Whether a sequence has queries for a CTA of attend_wide_kernel and is left to it.
__device__ inline bool takes_wide(const AttendParams& p, const SequenceWork& work) {
  return p.has_wide && work.num_tiles >= kAttentionWarps;
}

// A sequence's units of its kernel's, given whether its splits are dealt out; 0 in the other one.
__device__ inline int units_of(const AttendParams& p, const SequenceWork& work, bool is_split,
                               bool is_wide) {
  if (takes_wide(p, work) != is_wide) return 0;
  if (is_wide) return divided_up(work.num_tiles, kAttentionWarps);
  return is_split ? work.num_splits : work.num_tiles;
}

// Of the units of attend_wide_kernel, or of the others. All threads of a CTA call it.
__device__ inline void count_sequences(const AttendParams& p, const SequenceOffsets& offsets,
                                       bool is_wide = false) {
  const int num_seqs = p.call.step.counts->seqs;
  if (warp_index() == 0) {
    int units = 0;
    int records = 0;
    for (int first = 0; first < num_seqs; first += kWarpLanes) {
      const int seq = first + lane_index();
      const SequenceWork work = seq < num_seqs ? sequence_work(p, seq) : SequenceWork{};
      const int wanted = work.num_splits > 1 ? work.num_splits * work.num_rows : 0;
      const int records_to = records + warp_prefix(wanted);
      const bool is_split = wanted > 0 && records_to <= p.max_records;
      const int own = units_of(p, work, is_split, is_wide);
      const int units_to = units + warp_prefix(own);
      if (seq < num_seqs) {
        offsets.units[seq] = units_to - own;
        offsets.records[seq] = records_to - wanted;
      }
      records = __shfl_sync(kFullMask, records_to, kWarpLanes - 1);
      units = __shfl_sync(kFullMask, units_to, kWarpLanes - 1);
    }
    if (lane_index() == 0) {
      offsets.units[num_seqs] = units;
      offsets.records[num_seqs] = records;
    }
  }
  __syncthreads();
}

// ---- Sums of a part of the context, of sixteen queries.

// In shared memory: element i of lane l, of the kSums / 2 that a lane has (kSums / 8 tiles of eight
// features by four), is sums[i * 32 + l].
struct PartialSums {
  float* sums;     // (sums_of_pass(dim) * 16,)
  float* largest;  // (16,)
  float* weights;  // (16,)
};

constexpr int partial_sums_floats(int num_sums) {
  return kAttentionTile * (num_sums + 2);
}

__device__ inline PartialSums partial_sums_at(float* memory, int num_sums) {
  return {memory, memory + kAttentionTile * num_sums, memory + kAttentionTile * (num_sums + 1)};
}

// The query that element i of a lane belongs to.
__device__ inline int query_of(int i, int lane) {
  return i % 4 / 2 * 8 + lane / 4;
}

// What two parts' sums are multiplied by when they are joined.
struct JoinFactors {
  float largest;
  float of_first;
  float of_second;
};

__device__ inline JoinFactors join_factors(float first, float second) {
  const float largest = fmaxf(first, second);
  const float safe = largest == -INFINITY ? 0.0F : largest;  // neither attends to anything
  return {largest, expf(first - safe), expf(second - safe)};
}

__device__ inline float joined(float first, float second, const JoinFactors& factors) {
  return __fadd_rn(__fmul_rn(first, factors.of_first), __fmul_rn(second, factors.of_second));
}

// total = total and then part. All threads of the CTA; between barriers of the caller's.
__device__ inline void join(const PartialSums& total, const PartialSums& part, int num_sums) {
  for (int i = thread_index(); i < kAttentionTile * num_sums; i += kAttentionThreads) {
    const int query = query_of(i / kWarpLanes, i % kWarpLanes);
    const JoinFactors factors = join_factors(total.largest[query], part.largest[query]);
    total.sums[i] = joined(total.sums[i], part.sums[i], factors);
  }
  __syncthreads();
  if (thread_index() < kAttentionTile) {
    const int query = thread_index();
    const JoinFactors factors = join_factors(total.largest[query], part.largest[query]);
    total.weights[query] = joined(total.weights[query], part.weights[query], factors);
    total.largest[query] = factors.largest;
  }
  __syncthreads();
}

__device__ inline void clear(const PartialSums& sums, int num_sums) {
  for (int i = thread_index(); i < kAttentionTile * num_sums; i += kAttentionThreads) {
    sums.sums[i] = 0.0F;
  }
  if (thread_index() < kAttentionTile) {
    sums.largest[thread_index()] = -INFINITY;
    sums.weights[thread_index()] = 0.0F;
  }
  __syncthreads();
}

}  // namespace tessera::cuda
