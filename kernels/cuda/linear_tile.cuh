// linear_tile.cuh — what the kernels of linear.hpp share: tables in shared memory, the decoding of
// codes into operands of the matrix instruction, scales and offsets, and one warp's way along the
// columns of a tile.
#pragma once

#include "kernels/cuda/device_math.cuh"
#include "kernels/cuda/linear.hpp"
#include "kernels/cuda/ptx.cuh"

namespace tessera::cuda {

// How many steps of sixteen columns share a scale, at most those of a block.
TESSERA_HOST_DEVICE constexpr int steps_of_group(int group) {
  return group / 16 % 4 == 0 ? 4 : group / 16;
}

inline constexpr int kLinearWarps = 8;
inline constexpr unsigned kLinearThreads = kLinearWarps * kWarpSize;
inline constexpr int kTableBytes = 64 << 10;  // 256 pairs, 32 lanes, 128 bytes unused behind each
inline constexpr int kMapBytes = 1 << 10;

// The part of shared memory behind the tables: sums of warps, (kLinearWarps, tokens / 8, 32) of
// float4.
template <int kTokens>
constexpr int kSumBytes = kLinearWarps* kTokens * 64;

// Shared memory of a block.
struct Tables {
  const std::byte* pairs;     // the table, in shared memory
  std::uint32_t lane_offset;  // of this lane's copy: 4 lane
  const float* map;           // (256,) values of nested scales
};

// Told through a shuffle, so that the compiler sees that it is one number for the whole warp: what
// depends on it alone is kept in uniform registers, the table's address among them.
__device__ __forceinline__ unsigned this_warp() {
  return __shfl_sync(kFullMask, threadIdx.x / kWarpSize, 0);
}

// Pair e is the fp16 of codes e & 15 (low half) and e >> 4.
__device__ __forceinline__ void fill_pairs(const PackedMatrix& m, std::byte* table) {
  auto* words = reinterpret_cast<std::uint32_t*>(table);
  for (unsigned i = threadIdx.x; i < 256 * kWarpSize; i += kLinearThreads) {
    const unsigned pair = i / kWarpSize;
    words[pair * 64 + i % kWarpSize] =
        m.book[pair & 15U] | static_cast<std::uint32_t>(m.book[pair >> 4]) << 16;
  }
}

// What a lane loads of one (tile, block), and how many blocks ahead of their use: a read takes most
// of a microsecond, in which many must be on their way.
constexpr int words_of(PackedForm form) {
  return tile_bytes(form) / 512;  // of 16 bytes
}
constexpr int depth_of(PackedForm form, int tokens) {
  return tokens > 16 ? 1 : form == PackedForm::kBook16 ? 4 : 2;
}
template <PackedForm kForm>
struct Codes {
  uint4 words[words_of(kForm)];
};

template <PackedForm kForm>
__device__ __forceinline__ Codes<kForm> load_codes(const std::byte* of_lane) {
  Codes<kForm> codes;
#pragma unroll
  for (int i = 0; i < words_of(kForm); ++i) {
    codes.words[i] = load_stream(reinterpret_cast<const uint4*>(of_lane) + i * 32);
  }
  return codes;
}

// The A operands of the four steps of a block: a[4 s + b].
template <PackedForm kForm>
__device__ __forceinline__ void decode(const Codes<kForm>& codes, const Tables& tables,
                                       std::uint32_t (&a)[16]) {
#pragma unroll
  for (int w = 0; w < words_of(kForm); ++w) {
    const uint4 loaded = codes.words[w];
    const std::uint32_t words[4] = {loaded.x, loaded.y, loaded.z, loaded.w};
#pragma unroll
    for (unsigned i = 0; i < 4; ++i) {
      if constexpr (kForm == PackedForm::kHalf) {
        a[4 * w + i] = words[i];
      } else if constexpr (kForm == PackedForm::kInt8) {
        constexpr std::uint32_t kMinus1152 = 0xE480E480U;  // 1024 + (code + 128), less 1152
        const std::uint32_t biased = words[i] ^ 0x80808080U;
        a[8 * w + 2 * i] = add_half2(__byte_perm(biased, 0x64646464U, 0x4140U), kMinus1152);
        a[8 * w + 2 * i + 1] = add_half2(__byte_perm(biased, 0x64646464U, 0x4342U), kMinus1152);
      } else {
        // Byte b of the word becomes byte 1 of an offset, 256 times the pair;
        // byte 0 is the lane's.
#pragma unroll
        for (unsigned b = 0; b < 4; ++b) {
          const std::uint32_t offset = __byte_perm(words[i], tables.lane_offset, 0x7704U | b << 4);
          a[4 * i + b] = *reinterpret_cast<const std::uint32_t*>(tables.pairs + offset);
        }
      }
    }
  }
}

// The row of x that row `row` of y is made of. kPlaces: of an expert's places (ExpertLinears).
template <bool kPlaces>
__device__ __forceinline__ int row_of_x(const LinearGroup& p, int row) {
  if constexpr (!kPlaces) return row;
  return p.x_rows == nullptr ? row : p.x_rows[row];
}

// Where a lane finds the scales of a tile, found once a tile: its loop over the blocks is to have
// loads, permutes and products in it, and no arithmetic of addresses.
struct ScaleWalk {
  const float2* scales;         // of rows g and g + 8, group 0; null: nested
  const float2* offsets;        // likewise; null: none
  const std::uint16_t* nested;  // codes of the nested scales
  const float* absmax_scales;   // of all blocks of the matrix
  const float* map;             // (256,) in shared memory
  unsigned first_scale;         // index of row g's first scale among all
  unsigned second_scale;        // of row g + 8's
  float absmax_offset;
  unsigned group_inverse;  // PackedMatrix::group_inverse
};

__device__ __forceinline__ ScaleWalk scale_walk(const PackedMatrix& m, const Tables& tables,
                                                int tile) {
  const unsigned g = threadIdx.x % kWarpSize / 4;
  const auto groups = static_cast<unsigned>(m.groups());
  const unsigned pairs = static_cast<unsigned>(tile) * groups * 8 + g;
  ScaleWalk walk;
  walk.scales = m.scales == nullptr ? nullptr : reinterpret_cast<const float2*>(m.scales) + pairs;
  walk.offsets =
      m.offsets == nullptr ? nullptr : reinterpret_cast<const float2*>(m.offsets) + pairs;
  walk.nested = keep(reinterpret_cast<const std::uint16_t*>(m.absmax_codes) + pairs);
  walk.absmax_scales = m.absmax_scales;
  walk.map = tables.map;
  walk.first_scale = (static_cast<unsigned>(tile * kTileRows) + g) * groups;
  walk.second_scale = walk.first_scale + 8 * groups;
  walk.absmax_offset = m.absmax_offset;
  walk.group_inverse = m.group_inverse;
  return walk;
}

// What a lane reads of a matrix and of x on its way along a tile.
template <int kTokens>
struct Walk {
  ScaleWalk scales;
  const uint4* x[kTokens / 8];  // the lane's columns of block 0, of the rows that it feeds
};

template <int kTokens, bool kPlaces>
__device__ __forceinline__ Walk<kTokens> start_walk(const LinearGroup& p, const PackedMatrix& m,
                                                    const Tables& tables, int tile, int first_row,
                                                    int num_rows) {
  const unsigned g = threadIdx.x % kWarpSize / 4;
  const unsigned t = threadIdx.x % 4;
  Walk<kTokens> walk;
  walk.scales = scale_walk(m, tables, tile);
  const auto row_of = [&](unsigned token) {
    return static_cast<std::size_t>(
        row_of_x<kPlaces>(p, min(first_row + static_cast<int>(token), num_rows - 1)));
  };
  const auto cols = static_cast<std::size_t>(m.cols);
#pragma unroll
  for (unsigned n = 0; n < kTokens / 8; ++n) {
    walk.x[n] = reinterpret_cast<const uint4*>(p.x.halves + row_of(n * 8 + g) * cols + 16 * t);
  }
  return walk;
}

// The group of columns that column `column` is in.
template <PackedForm kForm>
__device__ __forceinline__ unsigned group_of(const ScaleWalk& walk, int column) {
  return kForm == PackedForm::kHalf ? 0
                                    : __umulhi(static_cast<unsigned>(column), walk.group_inverse);
}

// The scales of rows g and g + 8 of a tile's group: so many pairs and scales behind the first.
template <PackedForm kForm>
__device__ __forceinline__ float2 load_scales(const ScaleWalk& walk, unsigned pairs,
                                              unsigned scales) {
  if (kForm == PackedForm::kHalf || walk.scales != nullptr) return __ldg(walk.scales + pairs);
  const std::uint32_t pair = __ldg(walk.nested + pairs);
  const float low =
      __fmul_rn(walk.map[pair & 255U],
                __ldg(walk.absmax_scales + (walk.first_scale + scales) / kAbsmaxBlock));
  const float high = __fmul_rn(
      walk.map[pair >> 8], __ldg(walk.absmax_scales + (walk.second_scale + scales) / kAbsmaxBlock));
  return make_float2(__fadd_rn(low, walk.absmax_offset), __fadd_rn(high, walk.absmax_offset));
}

__device__ __forceinline__ void add_scaled(float (&acc)[4], const float (&c)[4], float2 scale) {
  acc[0] = fmaf(c[0], scale.x, acc[0]);
  acc[1] = fmaf(c[1], scale.x, acc[1]);
  acc[2] = fmaf(c[2], scale.y, acc[2]);
  acc[3] = fmaf(c[3], scale.y, acc[3]);
}

// acc += W x of a block of columns, for eight rows of x: `a` the weights, `low` and `high` the
// lane's columns of x. kSteps is how many steps share a scale: 4 where groups are 64 columns or
// more, 2 or 1 where they are 32 or 16.
template <int kSteps>
__device__ __forceinline__ void add_products(const std::uint32_t (&a)[16], uint4 low, uint4 high,
                                             const float2 (&scale)[4 / kSteps], float (&acc)[4]) {
  const std::uint32_t b[4][2] = {
      {low.x, low.y}, {low.z, low.w}, {high.x, high.y}, {high.z, high.w}};
#pragma unroll
  for (int i = 0; i < 4 / kSteps; ++i) {
    float c[4] = {};
#pragma unroll
    for (int s = i * kSteps; s < (i + 1) * kSteps; ++s) {
      const std::uint32_t as[4] = {a[4 * s], a[4 * s + 1], a[4 * s + 2], a[4 * s + 3]};
      mma_half(c, as, b[s]);
    }
    add_scaled(acc, c, scale[i]);
  }
}

// What the offsets of a block add: each times the sum of its columns of x.
template <int kTokens, int kSteps, bool kPlaces>
__device__ __forceinline__ void add_offsets(const LinearGroup& p, const float2* offsets, int cols,
                                            const unsigned (&groups)[4 / kSteps], int block,
                                            int first_row, int num_rows,
                                            float (&acc)[kTokens / 8][4]) {
  const unsigned t = threadIdx.x % 4;
  float2 offset[4 / kSteps];
#pragma unroll
  for (int i = 0; i < 4 / kSteps; ++i) offset[i] = __ldg(offsets + groups[i] * 8);
#pragma unroll
  for (int n = 0; n < kTokens / 8; ++n) {
#pragma unroll
    for (int j = 0; j < 2; ++j) {
      const auto token = static_cast<unsigned>(
          row_of_x<kPlaces>(p, min(first_row + n * 8 + static_cast<int>(2 * t) + j, num_rows - 1)));
      const float4 sum = reinterpret_cast<const float4*>(
          p.x.sums)[token * static_cast<unsigned>(cols / kTileCols) + static_cast<unsigned>(block)];
      const float sums[4] = {sum.x, sum.y, sum.z, sum.w};
#pragma unroll
      for (int s = 0; s < 4; ++s) {
        acc[n][j] = fmaf(sums[s], offset[s / kSteps].x, acc[n][j]);
        acc[n][2 + j] = fmaf(sums[s], offset[s / kSteps].y, acc[n][2 + j]);
      }
    }
  }
}

// One block of 64 columns, `ahead` sixteen bytes of x behind the walk's.
template <PackedForm kForm, int kTokens, int kSteps, bool kPlaces>
__device__ __forceinline__ void add_block(const LinearGroup& p, int cols, const Walk<kTokens>& walk,
                                          const std::uint32_t (&a)[16], int block, int ahead,
                                          int first_row, int num_rows,
                                          float (&acc)[kTokens / 8][4]) {
  unsigned groups[4 / kSteps];
  float2 scale[4 / kSteps];
#pragma unroll
  for (int i = 0; i < 4 / kSteps; ++i) {
    groups[i] = group_of<kForm>(walk.scales, block * kTileCols + i * kSteps * 16);
    scale[i] = load_scales<kForm>(walk.scales, groups[i] * 8, groups[i]);
  }
#pragma unroll
  for (int n = 0; n < kTokens / 8; ++n) {
    const uint4 low = load_global(walk.x[n] + ahead);
    const uint4 high = load_global(walk.x[n] + ahead + 1);
    add_products<kSteps>(a, low, high, scale, acc[n]);
  }
  if constexpr (kForm != PackedForm::kHalf) {
    if (walk.scales.offsets != nullptr) {
      add_offsets<kTokens, kSteps, kPlaces>(p, walk.scales.offsets, cols, groups, block, first_row,
                                            num_rows, acc);
    }
  }
}

// One warp's share of a tile: its blocks of columns, in order.
template <PackedForm kForm, int kTokens, int kSteps, bool kPlaces>
__device__ __forceinline__ void sum_columns(const LinearGroup& p, const PackedMatrix& m,
                                            const Tables& tables, int tile, int first_row,
                                            int num_rows, float (&acc)[kTokens / 8][4]) {
  constexpr int kDepth = depth_of(kForm, kTokens);
  constexpr auto kBytes = static_cast<std::size_t>(tile_bytes(kForm));
  constexpr int kBlockOfX = kTileCols * 2 / 16;  // of a row, in sixteen bytes
  const int blocks = m.blocks();
  const int first = static_cast<int>(this_warp());
  const std::byte* codes = m.codes +
                           (static_cast<std::size_t>(tile) * static_cast<std::size_t>(blocks) +
                            static_cast<std::size_t>(first)) *
                               kBytes +
                           threadIdx.x % kWarpSize * 16;
  const auto load = [&](int ahead) {
    return load_codes<kForm>(codes + static_cast<std::size_t>(ahead * kLinearWarps) * kBytes);
  };
  Walk<kTokens> walk = start_walk<kTokens, kPlaces>(p, m, tables, tile, first_row, num_rows);
#pragma unroll
  for (int n = 0; n < kTokens / 8; ++n) walk.x[n] += first * kBlockOfX;
  Codes<kForm> ahead[kDepth] = {};
#pragma unroll
  for (int i = 0; i < kDepth; ++i) {
    if (first + i * kLinearWarps < blocks) ahead[i] = load(i);
  }
#pragma unroll 1
  for (int at = first; at < blocks; at += kDepth * kLinearWarps) {
#pragma unroll
    for (int i = 0; i < kDepth; ++i) {
      const int block = at + i * kLinearWarps;
      if (block >= blocks) break;
      std::uint32_t a[16];
      decode<kForm>(ahead[i], tables, a);
      if (block + kDepth * kLinearWarps < blocks) ahead[i] = load(kDepth + i);
      add_block<kForm, kTokens, kSteps, kPlaces>(
          p, m.cols, walk, a, block, i * kLinearWarps * kBlockOfX, first_row, num_rows, acc);
    }
    codes = keep(codes + static_cast<std::size_t>(kDepth * kLinearWarps) * kBytes);
#pragma unroll
    for (int n = 0; n < kTokens / 8; ++n)
      walk.x[n] = keep(walk.x[n] + kDepth * kLinearWarps * kBlockOfX);
  }
}

// Adds the warps' sums and writes the tile's outputs.
template <int kTokens, bool kPlaces>
__device__ __forceinline__ void write_tile(const LinearGroup& p, const PackedMatrix& m,
                                           const float* sums, int tile, int column, int first_row,
                                           int num_rows) {
  const int warps = min(kLinearWarps, m.blocks());
  for (int i = static_cast<int>(threadIdx.x); i < kTokens * kTileRows; i += kLinearThreads) {
    const int in_tile = i % kTileRows;
    const int token = i / kTileRows;
    const int row = first_row + token;
    if (row >= num_rows || tile * kTileRows + in_tile >= m.rows) continue;
    const int lane = in_tile % 8 * 4 + token % 8 / 2;
    const int at = (token / 8 * 32 + lane) * 4 + in_tile / 8 * 2 + token % 2;
    float sum = sums[at];
    for (int warp = 1; warp < warps; ++warp) sum += sums[warp * kTokens * kTileRows + at];
    p.y[static_cast<std::size_t>(row) * static_cast<std::size_t>(p.y_stride) +
        static_cast<std::size_t>(column + tile * kTileRows + in_tile)] =
        sum * p.x.scales[row_of_x<kPlaces>(p, row)];
  }
}

template <PackedForm kForm, int kTokens, int kSteps, bool kPlaces>
__device__ __forceinline__ void multiply_tile(const LinearGroup& p, const PackedMatrix& m,
                                              const Tables& tables, float* sums, int tile,
                                              int column, int first_row, int num_rows) {
  float acc[kTokens / 8][4] = {};
  sum_columns<kForm, kTokens, kSteps, kPlaces>(p, m, tables, tile, first_row, num_rows, acc);
  const unsigned warp = threadIdx.x / kWarpSize;
  const unsigned lane = threadIdx.x % kWarpSize;
#pragma unroll
  for (int n = 0; n < kTokens / 8; ++n) {
    reinterpret_cast<float4*>(sums)[(warp * (kTokens / 8) + static_cast<unsigned>(n)) * 32 + lane] =
        make_float4(acc[n][0], acc[n][1], acc[n][2], acc[n][3]);
  }
  __syncthreads();
  write_tile<kTokens, kPlaces>(p, m, sums, tile, column, first_row, num_rows);
  __syncthreads();
}

}  // namespace tessera::cuda
