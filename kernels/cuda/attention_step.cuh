// attention_step.cuh — sixteen queries against sixteen positions: scores, weights, sums.
//
// Where keys and values are read from is a parameter (Rows): the cache itself, by the lane that
// wants them (attention_tile.cuh), or a stage in shared memory that several tiles read
// (attention_wide.cuh). What is computed is the same, bit for bit. Of a key, lane t of four has
// features 32 i + 8 t .. + 7, which are the matrix instruction's features of two steps in an order
// that queries share. Of values, lane (g, t) has the features of group g at positions 2 t, 2 t + 1,
// 2 t + 8 and 2 t + 9, so that a pair of registers is a pair of permuted bytes.
//
// A query is divided by a power of two so that its largest element is near one, and kept as two
// fp16 numbers, twenty-two bits of it.
#pragma once

#include "kernels/cuda/attention_work.cuh"

namespace tessera::cuda {

// The shared memory of a CTA.
struct AttentionScratch {
  uint4* queries;  // (dim / 16, 2, 32): fragments of the upper part, then of the rest
  PartialSums split;
  PartialSums total;
  float* scales;            // (16,) of each query's scores
  std::int32_t* positions;  // (16,) of each query's row; -1 where there is no query
  SequenceOffsets offsets;

  __device__ static AttentionScratch at(std::byte* memory, int dim, int max_seqs) {
    const int num_sums = sums_of_pass(dim);
    auto* floats = reinterpret_cast<float*>(memory);
    float* split = floats + kAttentionTile * dim;
    float* total = split + partial_sums_floats(num_sums);
    float* scales = total + partial_sums_floats(num_sums);
    auto* positions = reinterpret_cast<std::int32_t*>(scales + kAttentionTile);
    std::int32_t* offsets = positions + kAttentionTile;
    return {reinterpret_cast<uint4*>(memory),
            partial_sums_at(split, num_sums),
            partial_sums_at(total, num_sums),
            scales,
            positions,
            {offsets, offsets + max_seqs + 1}};
  }
};

constexpr std::size_t attention_shared_bytes(int dim, int max_seqs) {
  const int floats = kAttentionTile * (dim + 2) + 2 * partial_sums_floats(sums_of_pass(dim));
  return static_cast<std::size_t>(floats + 2 * (max_seqs + 1)) * sizeof(float);
}

// A tile's queries and keys, by what a CTA needs to know again and again. In shared memory, so that
// registers are left to the sums.
struct AttentionTask {
  const AttendParams* params;
  int seq;
  int kv_head;
  int first_row;      // of the step
  int num_queries;    // of the sequence: its rows times the group
  int first_query;    // of the tile
  int first_feature;  // of the pass
  int block_shift;    // a block has two to the power of this positions
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
                                               const SequenceWork& work, int tile, int kv_head,
                                               int first_feature, int queries = kAttentionTile) {
  const int first_query = tile * kAttentionTile;
  return {&p,
          seq,
          kv_head,
          work.first_row,
          work.num_rows * p.group,
          first_query,
          first_feature,
          31 - __clz(p.call.cache.block_size),
          positions_of(p, work.first_row, work.num_rows, first_query, queries)};
}

__device__ inline float* output_at(const AttendParams& p, int row, int head) {
  const std::size_t at =
      static_cast<std::size_t>(row) * static_cast<std::size_t>(p.call.limits.num_heads) +
      static_cast<std::size_t>(head);
  return p.call.output + at * static_cast<std::size_t>(p.call.cache.head_dim);
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
// 1 / power, exactly.
__device__ inline float inverse_of(float power) {
  return __uint_as_float((254U << 23) - __float_as_uint(power));
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
    const float inverse = inverse_of(power);
    if (lane_index() == 0) {
      scratch.scales[query] = call.scale * power;
      scratch.positions[query] = is_there ? call.step.positions[task.row_of(query)] : -1;
    }
#pragma unroll
    for (int i = 0; i < kDim / kWarpLanes; ++i) {
      const int feature = i * kWarpLanes + lane_index();
      const float value = features[i] * inverse;
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

  template <class Rows>
  __device__ void load(const Rows& source, const typename Rows::Row (&rows)[4], int feature) {
#pragma unroll
    for (int p = 0; p < 4; ++p) {
#pragma unroll
      for (int i = 0; i < kVector / 2; ++i) words[p][i] = 0;
      const std::byte* from = source.value(rows[p], feature);
      if (from == nullptr) continue;
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

// sums += weights times values, of the step's sixteen positions.
template <int kSums, bool kInt8, class Rows>
__device__ void add_values(const Rows& source, const float (&weights)[2][4],
                           float (&sums)[kSums / 8][4]) {
  constexpr int kVector = kSums % 64 == 0 ? 8 : 4;
  const int lane = lane_index();
  typename Rows::Row rows[4];
#pragma unroll
  for (int p = 0; p < 4; ++p) {
    rows[p] = source.value_row(lane % 4 * 2 + p % 2 + p / 2 * 8);
  }
  std::uint32_t high[4];
  std::uint32_t rest[4] = {};
  if constexpr (kInt8) {
    float scales[4];
#pragma unroll
    for (int p = 0; p < 4; ++p) scales[p] = source.value_scale(rows[p]);
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
  for (int v = 0; v < kSums / (8 * kVector); ++v) {
    Values<kVector, kInt8> values;
    values.load(source, rows, v * 8 * kVector + lane / 4 * kVector);
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

// The feature, of the pass's, that element i of a lane belongs to.
template <int kSums>
__device__ int feature_of(int i, int lane) {
  constexpr int kVector = kSums % 64 == 0 ? 8 : 4;
  const int tile = i / 4;
  const int column = lane % 4 * 2 + i % 2;
  return tile / kVector * 8 * kVector + column * kVector + tile % kVector;
}

// Sixteen positions from `position` on: scores, the new largest, weights, sums.
template <int kDim, bool kInt8, class Rows>
__device__ void attend_step(const AttentionTask& task, const AttentionScratch& scratch,
                            const Rows& source, int position, Running& running,
                            float (&sums)[sums_of_pass(kDim) / 8][4]) {
  constexpr int kSums = sums_of_pass(kDim);
  const int lane = lane_index();
  float weights[2][4] = {};
  source.score_all(weights);
  float largest[2] = {running.largest[0], running.largest[1]};
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    const int half = i % 4 / 2;
    const int query = lane / 4 + 8 * half;
    const int at = position + i / 4 * 8 + lane % 4 * 2 + i % 2;
    float& weight = weights[i / 4][i % 4];
    float scale = scratch.scales[query];
    if constexpr (kInt8) scale *= source.key_scale(at - position);
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
  for (int i = 0; i < kSums / 2; ++i) {
    sums[i / 4][i % 4] = __fmul_rn(sums[i / 4][i % 4], factors[i % 4 / 2]);
  }
  add_values<kSums, kInt8>(source, weights, sums);
}

// The lanes' parts of a query's weights, added up.
__device__ inline void add_weights(Running& running) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    float& weights = running.weights[half];
    weights = __fadd_rn(weights, __shfl_xor_sync(kFullMask, weights, 1));
    weights = __fadd_rn(weights, __shfl_xor_sync(kFullMask, weights, 2));
  }
}

}  // namespace tessera::cuda
