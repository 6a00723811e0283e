// attention.cuh — attention_kernels.hpp's kernels.
//
// A sequence's queries, row by row and within a row head by head of the group that shares a KV
// head, are cut into tiles of sixteen, the rows of a matrix instruction: a group reads its keys and
// values once, whether the sequence decodes or is in the middle of its prompt.
//
// The order of every sum is fixed (P2): a context is cut at multiples of kKvSplit positions and
// each split in four, a warp's each, which goes through its positions sixteen at a time; parts are
// joined in order. Products that a sum follows are rounded by themselves, for a compiler may fuse
// the two in one place and not in another. What a query does not attend to changes no bit of it: a
// weight of zero adds nothing, and a part without weights joins as nothing. So neither the rows of
// a tile nor the chunk they came in matter; nor whether one CTA takes all splits of a tile or each
// has one of its own and leaves a record for join_records_kernel.
//
// Nothing but queries and sums goes through shared memory: a lane loads what its registers of the
// matrix instruction want, sixteen bytes at a time. Of a key, lane t of four has features
// 32 i + 8 t .. + 7, which are the instruction's features of two steps in an order that queries
// share. Of values, lane (g, t) has the features of group g at positions 2 t, 2 t + 1, 2 t + 8 and
// 2 t + 9, so that a pair of registers is a pair of permuted bytes.
//
// A query is divided by a power of two so that its largest element is near one, and kept as two
// fp16 numbers, twenty-two bits of it.
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

// ---- Work.

struct AttendParams {
  AttentionParams call;
  float* records;  // (max_records, num_heads, head_dim + 2)
  std::int32_t max_records;
  std::int32_t group;  // query heads to a KV head
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

__device__ inline PositionRange positions_of(const AttendParams& p, int first_row, int num_rows,
                                             int first_query) {
  const int last_query = min(first_query + kAttentionTile, num_rows * p.group) - 1;
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

// All threads of a CTA call it.
__device__ inline void count_sequences(const AttendParams& p, const SequenceOffsets& offsets) {
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
      const int own = is_split ? work.num_splits : work.num_tiles;
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

// In shared memory: element i of lane l, of the kDim / 2 that a lane has (kDim / 8 tiles of eight
// features by four), is sums[i * 32 + l].
struct PartialSums {
  float* sums;     // (dim * 16,)
  float* largest;  // (16,)
  float* weights;  // (16,)
};

constexpr int partial_sums_floats(int dim) {
  return kAttentionTile * (dim + 2);
}

__device__ inline PartialSums partial_sums_at(float* memory, int dim) {
  return {memory, memory + kAttentionTile * dim, memory + kAttentionTile * (dim + 1)};
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
__device__ inline void join(const PartialSums& total, const PartialSums& part, int dim) {
  for (int i = thread_index(); i < kAttentionTile * dim; i += kAttentionThreads) {
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

__device__ inline void clear(const PartialSums& sums, int dim) {
  for (int i = thread_index(); i < kAttentionTile * dim; i += kAttentionThreads) {
    sums.sums[i] = 0.0F;
  }
  if (thread_index() < kAttentionTile) {
    sums.largest[thread_index()] = -INFINITY;
    sums.weights[thread_index()] = 0.0F;
  }
  __syncthreads();
}

// ---- One tile of queries.

// The shared memory of a CTA.
struct AttentionScratch {
  uint4* queries;  // (dim / 16, 2, 32): fragments of the upper part, then of the rest
  PartialSums split;
  PartialSums total;
  float* scales;            // (16,) of each query's scores
  std::int32_t* positions;  // (16,) of each query's row; -1 where there is no query
  SequenceOffsets offsets;

  __device__ static AttentionScratch at(std::byte* memory, int dim, int max_seqs) {
    auto* floats = reinterpret_cast<float*>(memory);
    float* split = floats + kAttentionTile * dim;
    float* total = split + partial_sums_floats(dim);
    float* scales = total + partial_sums_floats(dim);
    auto* positions = reinterpret_cast<std::int32_t*>(scales + kAttentionTile);
    std::int32_t* offsets = positions + kAttentionTile;
    return {reinterpret_cast<uint4*>(memory),
            partial_sums_at(split, dim),
            partial_sums_at(total, dim),
            scales,
            positions,
            {offsets, offsets + max_seqs + 1}};
  }
};

constexpr std::size_t attention_shared_bytes(int dim, int max_seqs) {
  const int floats = kAttentionTile * (dim + 2) + 2 * partial_sums_floats(dim);
  return static_cast<std::size_t>(floats + 2 * (max_seqs + 1)) * sizeof(float);
}

// A tile's queries and keys, by what a CTA needs to know again and again. In shared memory, so that
// registers are left to the sums.
struct AttentionTask {
  const AttendParams* params;
  int seq;
  int kv_head;
  int first_row;    // of the step
  int num_queries;  // of the sequence: its rows times the group
  int first_query;  // of the tile
  int block_shift;  // a block has two to the power of this positions
  PositionRange range;

  // Row of query i of the tile; -1 if there is none.
  __device__ int row_of(int i) const {
    const int query = first_query + i;
    return query < num_queries ? first_row + query / params->group : -1;
  }
  __device__ int head_of(int i) const {
    return kv_head * params->group + (first_query + i) % params->group;
  }
  // Index of the key's or value's row in the cache; -1 where the tile attends to nothing.
  __device__ std::ptrdiff_t cache_row(KvCache::Kind kind, int position) const {
    if (position < range.begin || position >= range.end) return -1;
    const AttentionParams& call = params->call;
    const BlockId block = call.step.blocks[call.step.block_indptr[seq] + (position >> block_shift)];
    return static_cast<std::ptrdiff_t>(
        call.cache.row(call.layer, block, kind, kv_head, position & (call.cache.block_size - 1)));
  }
  // Where a row's features begin.
  __device__ const std::byte* elements(std::ptrdiff_t row, int feature) const {
    const KvCache& cache = params->call.cache;
    const std::size_t element =
        static_cast<std::size_t>(row) * static_cast<std::size_t>(cache.head_dim) +
        static_cast<std::size_t>(feature);
    return cache.elements + element * cache.element_bytes();
  }
};

__device__ inline AttentionTask attention_task(const AttendParams& p, int seq,
                                               const SequenceWork& work, int tile, int kv_head) {
  const int first_query = tile * kAttentionTile;
  return {&p,
          seq,
          kv_head,
          work.first_row,
          work.num_rows * p.group,
          first_query,
          31 - __clz(p.call.cache.block_size),
          positions_of(p, work.first_row, work.num_rows, first_query)};
}

__device__ inline float warp_max(float value) {
  for (int bits = kWarpLanes / 2; bits > 0; bits /= 2) {
    value = fmaxf(value, __shfl_xor_sync(kFullMask, value, bits));
  }
  return value;
}

// The power of two just above `value`, or 1 where there is none.
__device__ inline float power_above(float value) {
  const unsigned exponent = __float_as_uint(value) >> 23;
  if (exponent == 0 || exponent >= 253) return 1.0F;
  return __uint_as_float((exponent + 1) << 23);
}

// Puts the tile's queries in shared memory as fragments, a warp's query at a time.
template <int kDim>
__device__ void load_queries(const AttentionTask& task, const AttentionScratch& scratch) {
  const AttentionParams& call = task.params->call;
  const int head_dim = call.cache.head_dim;
  auto* halves = reinterpret_cast<std::uint16_t*>(scratch.queries);
  for (int query = warp_index(); query < kAttentionTile; query += kAttentionWarps) {
    const bool is_there = task.row_of(query) >= 0;
    const float* from = call.q;
    if (is_there) {
      from +=
          static_cast<std::size_t>(task.row_of(query)) * static_cast<std::size_t>(call.q_stride) +
          static_cast<std::size_t>(task.head_of(query) * head_dim);
    }
    float features[kDim / kWarpLanes];
    float largest = 0.0F;
#pragma unroll
    for (int i = 0; i < kDim / kWarpLanes; ++i) {
      const int feature = i * kWarpLanes + lane_index();
      features[i] = is_there && feature < head_dim ? from[feature] : 0.0F;
      largest = fmaxf(largest, fabsf(features[i]));
    }
    const float power = power_above(warp_max(largest));
    if (lane_index() == 0) {
      scratch.scales[query] = call.scale * power;
      scratch.positions[query] = is_there ? call.step.positions[task.row_of(query)] : -1;
    }
#pragma unroll
    for (int i = 0; i < kDim / kWarpLanes; ++i) {
      const int feature = i * kWarpLanes + lane_index();
      const float value = features[i] / power;
      const std::uint16_t high = to_half(value);
      const std::uint16_t rest = to_half(value - from_half(high));
      const int step = feature / 32 * 2 + feature % 8 / 4;
      const int lane = query % 8 * 4 + feature % 32 / 8;
      const int element = (feature % 4 / 2 * 2 + query / 8) * 2 + feature % 2;
      halves[(2 * step * kWarpLanes + lane) * 8 + element] = high;
      halves[((2 * step + 1) * kWarpLanes + lane) * 8 + element] = rest;
    }
  }
  __syncthreads();
}

// Eight features of a key as pairs of halves; integers keep their value.
template <bool kInt8>
__device__ void load_key(const std::byte* from, std::uint32_t (&pairs)[4]) {
  if constexpr (kInt8) {
    const uint2 integers = *reinterpret_cast<const uint2*>(from);
    pairs[0] = int8_to_half(integers.x, 0);
    pairs[1] = int8_to_half(integers.x, 2);
    pairs[2] = int8_to_half(integers.y, 0);
    pairs[3] = int8_to_half(integers.y, 2);
  } else {
    to_words(*reinterpret_cast<const uint4*>(from), pairs);
  }
}

// Scores of eight positions from `position` on: element 2 h + i is of query lane / 4 + 8 h and
// position + 2 (lane % 4) + i.
template <int kDim, bool kInt8>
__device__ void score(const AttentionTask& task, const AttentionScratch& scratch, int position,
                      float (&scores)[4]) {
  const int lane = lane_index();
  const int head_dim = task.params->call.cache.head_dim;
  const std::ptrdiff_t row = task.cache_row(KvCache::kKey, position + lane / 4);
  constexpr int kUnroll = kDim <= 128 ? kDim / 32 : 2;  // the sums of 256 leave few registers
#pragma unroll kUnroll
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

// The scale of a cached row; 0 where there is none.
__device__ inline float scale_of(const AttentionTask& task, std::ptrdiff_t row) {
  return row < 0 ? 0.0F : task.params->call.cache.scales[row];
}

// What a warp knows of its part of the context, besides the sums themselves.
struct Running {
  float largest[2];  // of queries lane / 4 and lane / 4 + 8
  float weights[2];  // this lane's part
};

// A raw score of a query at position `own`, scaled, capped and, where it does not count, -infinity;
// `own` is -1 where there is no query.
__device__ inline float finish_score(const AttentionTask& task, float dot, float scale, int own,
                                     int position) {
  const AttentionParams& call = task.params->call;
  const int window = call.window;
  if (position > own || (window > 0 && position <= own - window)) return -INFINITY;
  const float scaled = __fmul_rn(dot, scale);
  const float cap = call.softcap;
  return cap == 0.0F ? scaled : __fmul_rn(cap, tanhf(scaled / cap));
}

// Values of four positions as the second operand's registers, kVector features a lane.
template <int kVector, bool kInt8>
struct Values {
  std::uint32_t words[4][kVector / 2];  // [position][pair of features], of sixteen bits each

  __device__ void load(const AttentionTask& task, const std::ptrdiff_t (&rows)[4], int feature) {
#pragma unroll
    for (int p = 0; p < 4; ++p) {
#pragma unroll
      for (int i = 0; i < kVector / 2; ++i) words[p][i] = 0;
      if (rows[p] < 0 || feature >= task.params->call.cache.head_dim) continue;
      const std::byte* from = task.elements(rows[p], feature);
      if constexpr (kInt8) {
        std::uint32_t integers[kVector / 4];
#pragma unroll
        for (int i = 0; i < kVector / 4; ++i) {
          integers[i] = reinterpret_cast<const std::uint32_t*>(from)[i];
        }
#pragma unroll
        for (int i = 0; i < kVector / 2; ++i) {
          words[p][i] = int8_to_bf16(integers[i / 2], i % 2 * 2);
        }
      } else if constexpr (kVector == 8) {
        to_words(*reinterpret_cast<const uint4*>(from), words[p]);
      } else {
        const uint2 two = *reinterpret_cast<const uint2*>(from);
        words[p][0] = two.x;
        words[p][1] = two.y;
      }
    }
  }
  // Registers of feature j.
  __device__ void registers(int j, std::uint32_t (&pair)[2]) const {
    const unsigned halves = j % 2 == 0 ? 0x5410U : 0x7632U;
    pair[0] = __byte_perm(words[0][j / 2], words[1][j / 2], halves);
    pair[1] = __byte_perm(words[2][j / 2], words[3][j / 2], halves);
  }
};

// sums += weights times values, of sixteen positions from `position` on.
template <int kDim, bool kInt8>
__device__ void add_values(const AttentionTask& task, int position, const float (&weights)[2][4],
                           float (&sums)[kDim / 8][4]) {
  constexpr int kVector = kDim % 64 == 0 ? 8 : 4;
  const int lane = lane_index();
  std::ptrdiff_t rows[4];
#pragma unroll
  for (int p = 0; p < 4; ++p) {
    rows[p] = task.cache_row(KvCache::kValue, position + lane % 4 * 2 + p % 2 + p / 2 * 8);
  }
  std::uint32_t high[4];
  std::uint32_t rest[4] = {};
  if constexpr (kInt8) {
    float scales[4];
#pragma unroll
    for (int p = 0; p < 4; ++p) scales[p] = scale_of(task, rows[p]);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int eight = i / 2;
      const int query = i % 2;
      split_bf16(__fmul_rn(weights[eight][2 * query], scales[2 * eight]),
                 __fmul_rn(weights[eight][2 * query + 1], scales[2 * eight + 1]), high[i], rest[i]);
    }
  } else {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      high[i] = pack_half(weights[i / 2][i % 2 * 2], weights[i / 2][i % 2 * 2 + 1]);
    }
  }
#pragma unroll
  for (int v = 0; v < kDim / (8 * kVector); ++v) {
    Values<kVector, kInt8> values;
    values.load(task, rows, v * 8 * kVector + lane / 4 * kVector);
#pragma unroll
    for (int j = 0; j < kVector; ++j) {
      std::uint32_t pair[2];
      values.registers(j, pair);
      if constexpr (kInt8) {
        mma_bf16(sums[v * kVector + j], high, pair);
        mma_bf16(sums[v * kVector + j], rest, pair);
      } else {
        mma_half(sums[v * kVector + j], high, pair);
      }
    }
  }
}

// The feature that element i of a lane belongs to.
template <int kDim>
__device__ int feature_of(int i, int lane) {
  constexpr int kVector = kDim % 64 == 0 ? 8 : 4;
  const int tile = i / 4;
  const int column = lane % 4 * 2 + i % 2;
  return tile / kVector * 8 * kVector + column * kVector + tile % kVector;
}

// Sixteen positions: scores, the new largest, weights, sums.
template <int kDim, bool kInt8>
__device__ void attend_step(const AttentionTask& task, const AttentionScratch& scratch,
                            int position, Running& running, float (&sums)[kDim / 8][4]) {
  const int lane = lane_index();
  float weights[2][4] = {};
  score<kDim, kInt8>(task, scratch, position, weights[0]);
  score<kDim, kInt8>(task, scratch, position + 8, weights[1]);
  float largest[2] = {running.largest[0], running.largest[1]};
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    const int half = i % 4 / 2;
    const int query = lane / 4 + 8 * half;
    const int at = position + i / 4 * 8 + lane % 4 * 2 + i % 2;
    float& weight = weights[i / 4][i % 4];
    float scale = scratch.scales[query];
    if constexpr (kInt8) {
      scale *= scale_of(task, task.cache_row(KvCache::kKey, at));
    }
    weight = finish_score(task, weight, scale, scratch.positions[query], at);
    largest[half] = fmaxf(largest[half], weight);
  }
  float factors[2];
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    largest[half] = fmaxf(largest[half], __shfl_xor_sync(kFullMask, largest[half], 1));
    largest[half] = fmaxf(largest[half], __shfl_xor_sync(kFullMask, largest[half], 2));
    const float safe = largest[half] == -INFINITY ? 0.0F : largest[half];
    factors[half] = expf(running.largest[half] - safe);
    running.largest[half] = largest[half];
    largest[half] = safe;
    running.weights[half] = __fmul_rn(running.weights[half], factors[half]);
  }
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    float& weight = weights[i / 4][i % 4];
    weight = expf(weight - largest[i % 4 / 2]);
    running.weights[i % 4 / 2] = __fadd_rn(running.weights[i % 4 / 2], weight);
  }
#pragma unroll
  for (int i = 0; i < kDim / 2; ++i) {
    sums[i / 4][i % 4] = __fmul_rn(sums[i / 4][i % 4], factors[i % 4 / 2]);
  }
  add_values<kDim, kInt8>(task, position, weights, sums);
}

// scratch.split = split `split` of the context: each warp's quarter, joined in order.
template <int kDim, bool kInt8>
__device__ void attend_split(const AttentionTask& task, const AttentionScratch& scratch,
                             int split) {
  const int lane = lane_index();
  const int first = split * kKvSplit + warp_index() * kWarpPositions;
  Running running = {{-INFINITY, -INFINITY}, {0.0F, 0.0F}};
  float sums[kDim / 8][4] = {};
  for (int position = first; position < first + kWarpPositions; position += kStepPositions) {
    if (position + kStepPositions <= task.range.begin || position >= task.range.end) continue;
    attend_step<kDim, kInt8>(task, scratch, position, running, sums);
  }
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    float& weights = running.weights[half];
    weights = __fadd_rn(weights, __shfl_xor_sync(kFullMask, weights, 1));
    weights = __fadd_rn(weights, __shfl_xor_sync(kFullMask, weights, 2));
  }
  clear(scratch.split, kDim);
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
      for (int i = 0; i < kDim / 2; ++i) {
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

// Calls visit(row, head, query, feature, sum) for what is there of a tile's sums.
template <int kDim, class Visit>
__device__ void for_each_sum(const AttentionTask& task, const PartialSums& sums,
                             const Visit& visit) {
  const int head_dim = task.params->call.cache.head_dim;
  for (int i = thread_index(); i < kAttentionTile * kDim; i += kAttentionThreads) {
    const int lane = i % kWarpLanes;
    const int query = query_of(i / kWarpLanes, lane);
    const int feature = feature_of<kDim>(i / kWarpLanes, lane);
    if (feature >= head_dim || task.row_of(query) < 0) continue;
    visit(task.row_of(query), task.head_of(query), query, feature, sums.sums[i]);
  }
  __syncthreads();
}

__device__ inline float* output_at(const AttendParams& p, int row, int head) {
  const std::size_t at =
      static_cast<std::size_t>(row) * static_cast<std::size_t>(p.call.limits.num_heads) +
      static_cast<std::size_t>(head);
  return p.call.output + at * static_cast<std::size_t>(p.call.cache.head_dim);
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
  return dim <= 64 ? 4 : dim <= 128 ? 2 : 1;
}

template <int kDim, bool kInt8>
__global__ void __launch_bounds__(kAttentionThreads, attention_ctas(kDim))
    attend_kernel(const __grid_constant__ AttendParams p) {
  TESSERA_SHARED(AttentionTask, tasks, 1);
  TESSERA_SHARED(SequenceWork, works, 1);
  const AttentionTask& task = tasks[0];
  const SequenceWork& work = works[0];
  const AttentionScratch scratch =
      AttentionScratch::at(dynamic_shared(), kDim, p.call.limits.max_seqs);
  count_sequences(p, scratch.offsets);
  const int num_seqs = p.call.step.counts->seqs;
  const int num_heads = p.call.cache.num_kv_heads;
  const int num_units = scratch.offsets.units[num_seqs] * num_heads;
  for (int unit = static_cast<int>(blockIdx.x); unit < num_units;
       unit += static_cast<int>(gridDim.x)) {
    const int seq = range_of(scratch.offsets.units, num_seqs, unit / num_heads);
    const int local = unit / num_heads - scratch.offsets.units[seq];
    if (thread_index() == 0) {
      works[0] = sequence_work(p, seq, scratch.offsets);
      const int tile = work.first_record >= 0 ? 0 : local;
      tasks[0] = attention_task(p, seq, work, tile, unit % num_heads);
    }
    __syncthreads();
    const bool is_split = work.first_record >= 0;
    load_queries<kDim>(task, scratch);
    clear(scratch.total, kDim);
    const int first = is_split ? work.first_split + local : task.range.begin / kKvSplit;
    const int end = is_split ? first + 1 : divided_up(task.range.end, kKvSplit);
    for (int split = first; split < end; ++split) {
      attend_split<kDim, kInt8>(task, scratch, split);
      if (!is_split) join(scratch.total, scratch.split, kDim);
    }
    const PartialSums& sums = is_split ? scratch.split : scratch.total;
    for_each_sum<kDim>(task, sums, [&](int row, int head, int query, int feature, float sum) {
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
