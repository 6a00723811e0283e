#include "kernels/cuda/device_math.cuh"
#include "kernels/cuda/expert_kernels.hpp"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/linear.hpp"
#include "kernels/cuda/ptx.cuh"

namespace tessera {
namespace {

constexpr int kWarps = 8;
constexpr unsigned kThreads = kWarps * kWarpSize;
constexpr int kTableBytes = 64 << 10;  // 256 pairs, 32 lanes, 128 bytes unused behind each
constexpr int kMapBytes = 1 << 10;

struct LinearParams {
  LinearGroup group;
  int first_tile[4];  // of each matrix, and the number of all
};

// The part of shared memory behind the tables: sums of warps, (kWarps, tokens /
// 8, 32) of float4.
template <int kTokens>
constexpr int kSumBytes = kWarps* kTokens * 64;

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
  for (unsigned i = threadIdx.x; i < 256 * kWarpSize; i += kThreads) {
    const unsigned pair = i / kWarpSize;
    words[pair * 64 + i % kWarpSize] =
        m.book[pair & 15U] | static_cast<std::uint32_t>(m.book[pair >> 4]) << 16;
  }
}

// What a lane loads of one (tile, block), and how many blocks ahead of their
// use: a read takes most of a microsecond, in which many must be on their way.
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

// What a lane reads of a matrix and of x on its way along a tile, found once a tile: its loop over
// the blocks is to have loads, permutes and products in it, and no arithmetic of addresses.
template <int kTokens>
struct Walk {
  const float2* scales;         // of rows g and g + 8, group 0; null: nested
  const float2* offsets;        // likewise; null: none
  const std::uint16_t* nested;  // codes of the nested scales
  const float* absmax_scales;   // of all blocks of the matrix
  const float* map;             // (256,) in shared memory
  unsigned first_scale;         // index of row g's first scale among all
  unsigned second_scale;        // of row g + 8's
  float absmax_offset;
  unsigned group_inverse;       // PackedMatrix::group_inverse
  const uint4* x[kTokens / 8];  // the lane's columns of block 0, of the rows that it feeds
};

template <int kTokens, bool kPlaces>
__device__ __forceinline__ Walk<kTokens> start_walk(const LinearGroup& p, const PackedMatrix& m,
                                                    const Tables& tables, int tile, int first_row,
                                                    int num_rows) {
  const unsigned g = threadIdx.x % kWarpSize / 4;
  const unsigned t = threadIdx.x % 4;
  const auto groups = static_cast<unsigned>(m.groups());
  const unsigned pairs = static_cast<unsigned>(tile) * groups * 8 + g;
  Walk<kTokens> walk;
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

// The scales of rows g and g + 8 of a tile's group.
template <PackedForm kForm, int kTokens>
__device__ __forceinline__ float2 load_scales(const Walk<kTokens>& walk, unsigned group) {
  if (kForm == PackedForm::kHalf || walk.scales != nullptr) {
    return __ldg(walk.scales + group * 8);
  }
  const std::uint32_t pair = __ldg(walk.nested + group * 8);
  const float low = __fmul_rn(
      walk.map[pair & 255U], __ldg(walk.absmax_scales + (walk.first_scale + group) / kAbsmaxBlock));
  const float high = __fmul_rn(
      walk.map[pair >> 8], __ldg(walk.absmax_scales + (walk.second_scale + group) / kAbsmaxBlock));
  return make_float2(__fadd_rn(low, walk.absmax_offset), __fadd_rn(high, walk.absmax_offset));
}

__device__ __forceinline__ void add_scaled(float (&acc)[4], const float (&c)[4], float2 scale) {
  acc[0] = fmaf(c[0], scale.x, acc[0]);
  acc[1] = fmaf(c[1], scale.x, acc[1]);
  acc[2] = fmaf(c[2], scale.y, acc[2]);
  acc[3] = fmaf(c[3], scale.y, acc[3]);
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

// One block of 64 columns, `ahead` sixteen bytes of x behind the walk's. kSteps is how many steps
// share a scale: 4 where groups are 64 columns or more, 2 or 1 where they are 32 or 16.
template <PackedForm kForm, int kTokens, int kSteps, bool kPlaces>
__device__ __forceinline__ void add_block(const LinearGroup& p, int cols, const Walk<kTokens>& walk,
                                          const std::uint32_t (&a)[16], int block, int ahead,
                                          int first_row, int num_rows,
                                          float (&acc)[kTokens / 8][4]) {
  unsigned groups[4 / kSteps];
  float2 scale[4 / kSteps];
#pragma unroll
  for (int i = 0; i < 4 / kSteps; ++i) {
    groups[i] = kForm == PackedForm::kHalf
                    ? 0
                    : __umulhi(static_cast<unsigned>(block * kTileCols + i * kSteps * 16),
                               walk.group_inverse);
    scale[i] = load_scales<kForm>(walk, groups[i]);
  }
#pragma unroll
  for (int n = 0; n < kTokens / 8; ++n) {
    const uint4 low = load_global(walk.x[n] + ahead);
    const uint4 high = load_global(walk.x[n] + ahead + 1);
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
      add_scaled(acc[n], c, scale[i]);
    }
  }
  if constexpr (kForm != PackedForm::kHalf) {
    if (walk.offsets != nullptr) {
      add_offsets<kTokens, kSteps, kPlaces>(p, walk.offsets, cols, groups, block, first_row,
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
    return load_codes<kForm>(codes + static_cast<std::size_t>(ahead * kWarps) * kBytes);
  };
  Walk<kTokens> walk = start_walk<kTokens, kPlaces>(p, m, tables, tile, first_row, num_rows);
#pragma unroll
  for (int n = 0; n < kTokens / 8; ++n) walk.x[n] += first * kBlockOfX;
  Codes<kForm> ahead[kDepth] = {};
#pragma unroll
  for (int i = 0; i < kDepth; ++i) {
    if (first + i * kWarps < blocks) ahead[i] = load(i);
  }
#pragma unroll 1
  for (int at = first; at < blocks; at += kDepth * kWarps) {
#pragma unroll
    for (int i = 0; i < kDepth; ++i) {
      const int block = at + i * kWarps;
      if (block >= blocks) break;
      std::uint32_t a[16];
      decode<kForm>(ahead[i], tables, a);
      if (block + kDepth * kWarps < blocks) ahead[i] = load(kDepth + i);
      add_block<kForm, kTokens, kSteps, kPlaces>(p, m.cols, walk, a, block, i * kWarps * kBlockOfX,
                                                 first_row, num_rows, acc);
    }
    codes = keep(codes + static_cast<std::size_t>(kDepth * kWarps) * kBytes);
#pragma unroll
    for (int n = 0; n < kTokens / 8; ++n) walk.x[n] = keep(walk.x[n] + kDepth * kWarps * kBlockOfX);
  }
}

// Adds the warps' sums and writes the tile's outputs.
template <int kTokens, bool kPlaces>
__device__ __forceinline__ void write_tile(const LinearGroup& p, const PackedMatrix& m,
                                           const float* sums, int tile, int column, int first_row,
                                           int num_rows) {
  const int warps = min(kWarps, m.blocks());
  for (int i = static_cast<int>(threadIdx.x); i < kTokens * kTileRows; i += kThreads) {
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

// Grid: x persistent over the tiles of all matrices, y over the rows.
template <PackedForm kForm, int kTokens, int kSteps>
__global__ void __launch_bounds__(kThreads, kTokens == 64 ? 1 : 2)
    linear_kernel(const __grid_constant__ LinearParams params) {
  const LinearGroup& p = params.group;
  const int num_rows = *p.num_rows;
  const int first_row = static_cast<int>(blockIdx.y) * kTokens;
  if (first_row >= num_rows) return;
  constexpr int kPairs = kForm == PackedForm::kBook16 ? kTableBytes : 0;
  std::byte* const shared = dynamic_shared();
  auto* const map = reinterpret_cast<float*>(shared + kPairs);
  auto* const sums = reinterpret_cast<float*>(shared + kPairs + kMapBytes);
  const Tables tables = {shared, threadIdx.x % kWarpSize * 4, map};
  for (unsigned i = threadIdx.x; kForm != PackedForm::kHalf && i < 256; i += kThreads) {
    map[i] = p.matrices[0].dynamic_map[i];
  }
  int filled = -1;  // the matrix whose pairs are in the table
  __syncthreads();
  for (int at = static_cast<int>(blockIdx.x); at < params.first_tile[3];
       at += static_cast<int>(gridDim.x)) {
    const int which = at >= params.first_tile[2] ? 2 : at >= params.first_tile[1] ? 1 : 0;
    const PackedMatrix& m = p.matrices[which];
    if (kForm == PackedForm::kBook16 && filled != which) {
      fill_pairs(m, shared);
      filled = which;
      __syncthreads();
    }
    const int column = which == 0   ? 0
                       : which == 1 ? p.matrices[0].rows
                                    : p.matrices[0].rows + p.matrices[1].rows;
    multiply_tile<kForm, kTokens, kSteps, false>(p, m, tables, sums, at - params.first_tile[which],
                                                 column, first_row, num_rows);
  }
}

// ---- The same of experts: the matrix and the rows are the unit's.

struct ExpertParams {
  ExpertLinears linears;
  int tiles;  // of each matrix
};

TESSERA_HOST_DEVICE constexpr int steps_of_group(int group) {
  return group / 16 % 4 == 0 ? 4 : group / 16;
}

template <PackedForm kForm, int kSteps>
__device__ bool has_form(const PackedMatrix& m) {
  return m.form == kForm && (kForm == PackedForm::kHalf || steps_of_group(m.group) == kSteps);
}

// How many of an expert's linears have the form.
template <PackedForm kForm, int kSteps>
__device__ int count_linears(const ExpertLinears& p, int expert) {
  int count = 0;
  for (int i = 0; i < p.count; ++i) {
    const PackedMatrix& m = p.matrices[expert * kNumExpertLinears + p.first + i];
    if (has_form<kForm, kSteps>(m)) ++count;
  }
  return count;
}

// The `index`-th of them.
template <PackedForm kForm, int kSteps>
__device__ int linear_at(const ExpertLinears& p, int expert, int index) {
  for (int i = 0; i < p.count; ++i) {
    const PackedMatrix& m = p.matrices[expert * kNumExpertLinears + p.first + i];
    if (has_form<kForm, kSteps>(m) && index-- == 0) return i;
  }
  return 0;
}

// Fills offsets[0 .. num_experts] with the units (tiles of weights by tiles of places) before each
// expert's, and in all. All threads call it.
template <PackedForm kForm, int kTokens, int kSteps>
__device__ int count_expert_units(const ExpertParams& params, std::int32_t* offsets) {
  const ExpertRouting& routing = params.linears.routing;
  if (threadIdx.x / kWarpSize == 0) {
    int before = 0;
    for (int begin = 0; begin < routing.num_experts; begin += cuda::kWarpLanes) {
      const int expert = begin + cuda::lane_index();
      int own = 0;
      if (expert < routing.num_experts) {
        const int places = routing.first[expert + 1] - routing.first[expert];
        own = cuda::divided_up(places, kTokens) * params.tiles *
              (places > 0 ? count_linears<kForm, kSteps>(params.linears, expert) : 0);
      }
      const int up_to = cuda::warp_prefix(own);
      if (expert < routing.num_experts) offsets[expert] = before + up_to - own;
      before += __shfl_sync(kFullMask, up_to, cuda::kWarpLanes - 1);
    }
    if (cuda::lane_index() == 0) offsets[routing.num_experts] = before;
  }
  __syncthreads();
  return offsets[routing.num_experts];
}

__device__ bool has_same_book(const PackedMatrix& a, const PackedMatrix& b) {
  bool same = true;
  for (int i = 0; i < 16; ++i) same = same && a.book[i] == b.book[i];
  return same;
}

// Grid: persistent over the units of all experts.
template <PackedForm kForm, int kTokens, int kSteps>
__global__ void __launch_bounds__(kThreads, kTokens == 64 ? 1 : 2)
    expert_linear_kernel(const __grid_constant__ ExpertParams params) {
  TESSERA_SHARED(std::int32_t, offsets, kMaxExperts + 1);
  const ExpertLinears& p = params.linears;
  constexpr int kPairs = kForm == PackedForm::kBook16 ? kTableBytes : 0;
  std::byte* const shared = dynamic_shared();
  auto* const map = reinterpret_cast<float*>(shared + kPairs);
  auto* const sums = reinterpret_cast<float*>(shared + kPairs + kMapBytes);
  const Tables tables = {shared, threadIdx.x % kWarpSize * 4, map};
  for (unsigned i = threadIdx.x; kForm != PackedForm::kHalf && i < 256; i += kThreads) {
    map[i] = p.matrices[0].dynamic_map[i];
  }
  const int num_units = count_expert_units<kForm, kTokens, kSteps>(params, offsets);
  LinearGroup group;
  group.x = p.x;
  group.x_rows = p.x_rows;
  group.y = p.y;
  group.y_stride = p.y_stride;
  const PackedMatrix* filled = nullptr;  // whose pairs are in the table
  for (int unit = static_cast<int>(blockIdx.x); unit < num_units;
       unit += static_cast<int>(gridDim.x)) {
    const int expert = cuda::range_of(offsets, p.routing.num_experts, unit);
    const int first = p.routing.first[expert];
    const int end = p.routing.first[expert + 1];
    const int place_tiles = cuda::divided_up(end - first, kTokens);
    const int local = unit - offsets[expert];
    const int first_row = first + local % place_tiles * kTokens;
    const int tile = local / place_tiles % params.tiles;
    const int which = linear_at<kForm, kSteps>(p, expert, local / place_tiles / params.tiles);
    const PackedMatrix& m = p.matrices[expert * kNumExpertLinears + p.first + which];
    if (kForm == PackedForm::kBook16 && (filled == nullptr || !has_same_book(*filled, m))) {
      fill_pairs(m, shared);
      filled = &m;
      __syncthreads();
    }
    multiply_tile<kForm, kTokens, kSteps, true>(group, m, tables, sums, tile,
                                                which * p.shape.out_features, first_row, end);
  }
}

// ---- Launches.

int steps_of(const LinearGroup& group) {
  int least = 4;
  for (int i = 0; i < group.count; ++i) {
    least = min(least, steps_of_group(group.matrices[i].group));
  }
  return least;
}

template <PackedForm kForm, int kTokens, int kSteps>
void start_experts(CudaStream& stream, const ExpertParams& params, int capacity) {
  constexpr int kPairs = kForm == PackedForm::kBook16 ? kTableBytes : 0;
  const ExpertLinears& p = params.linears;
  const int places = capacity * p.routing.per_row;
  const int most_tiles =
      static_cast<int>(divide_up(places, kTokens)) + min(p.routing.num_experts, places);
  const auto units = static_cast<unsigned>(most_tiles * params.tiles * p.count);
  const unsigned blocks = min(units, static_cast<unsigned>(2 * num_multiprocessors()));
  launch(stream, "expert_linear", expert_linear_kernel<kForm, kTokens, kSteps>,
         {{blocks}, {kThreads}, static_cast<std::size_t>(kPairs + kMapBytes + kSumBytes<kTokens>)},
         params);
}

// As many places at a time as an expert has on average: what a row comes to is the same in all.
template <PackedForm kForm, int kSteps>
void choose_places(CudaStream& stream, const ExpertParams& params, int capacity) {
  const ExpertRouting& routing = params.linears.routing;
  const int average = capacity * routing.per_row / routing.num_experts;
  if (capacity <= 8 || average <= 8) {
    return start_experts<kForm, 8, kSteps>(stream, params, capacity);
  }
  if constexpr (kSteps > 1) {  // a scale for each step leaves no registers for as many
    if (average > 16) return start_experts<kForm, 64, kSteps>(stream, params, capacity);
  }
  start_experts<kForm, 16, kSteps>(stream, params, capacity);
}

template <PackedForm kForm>
void choose_expert_steps(CudaStream& stream, const ExpertParams& params, int steps, int capacity) {
  if (steps == 4) return choose_places<kForm, 4>(stream, params, capacity);
  if (steps == 2) return choose_places<kForm, 2>(stream, params, capacity);
  choose_places<kForm, 1>(stream, params, capacity);
}

template <PackedForm kForm, int kTokens, int kSteps>
void start(CudaStream& stream, const LinearParams& params, int capacity) {
  constexpr int kPairs = kForm == PackedForm::kBook16 ? kTableBytes : 0;
  const auto tiles = static_cast<unsigned>(params.first_tile[3]);
  const unsigned blocks = min(tiles, static_cast<unsigned>(2 * num_multiprocessors()));
  launch(stream, "linear", linear_kernel<kForm, kTokens, kSteps>,
         {{blocks, divide_up(capacity, kTokens)},
          {kThreads},
          static_cast<std::size_t>(kPairs + kMapBytes + kSumBytes<kTokens>)},
         params);
}

template <PackedForm kForm, int kSteps>
void choose_tokens(CudaStream& stream, const LinearParams& params, int capacity) {
  if (capacity <= 8) return start<kForm, 8, kSteps>(stream, params, capacity);
  if (capacity <= 16) return start<kForm, 16, kSteps>(stream, params, capacity);
  start<kForm, 64, kSteps>(stream, params, capacity);
}

template <PackedForm kForm>
void choose_steps(CudaStream& stream, const LinearParams& params, int capacity) {
  const int steps = steps_of(params.group);
  if (steps == 4) return choose_tokens<kForm, 4>(stream, params, capacity);
  if (steps == 2) return choose_tokens<kForm, 2>(stream, params, capacity);
  choose_tokens<kForm, 1>(stream, params, capacity);
}

}  // namespace

ExpertForm form_of(const PackedMatrix& matrix) {
  const bool is_half = matrix.form == PackedForm::kHalf;
  return {matrix.form, is_half ? 4 : steps_of_group(matrix.group)};
}

void multiply_experts(CudaStream& stream, const ExpertLinears& linears, ExpertForm form,
                      int capacity) {
  const ExpertParams params{linears, (linears.shape.out_features + kTileRows - 1) / kTileRows};
  switch (form.form) {
    case PackedForm::kBook16:
      return choose_expert_steps<PackedForm::kBook16>(stream, params, form.steps, capacity);
    case PackedForm::kInt8:
      return choose_expert_steps<PackedForm::kInt8>(stream, params, form.steps, capacity);
    case PackedForm::kHalf:
      return choose_places<PackedForm::kHalf, 4>(stream, params, capacity);
  }
}

void multiply(CudaStream& stream, const LinearGroup& group, int capacity) {
  LinearParams params{group, {}};
  for (int i = 0; i < 3; ++i) {
    params.first_tile[i + 1] =
        params.first_tile[i] + (i < group.count ? group.matrices[i].tiles() : 0);
  }
  switch (group.matrices[0].form) {
    case PackedForm::kBook16:
      return choose_steps<PackedForm::kBook16>(stream, params, capacity);
    case PackedForm::kInt8:
      return choose_steps<PackedForm::kInt8>(stream, params, capacity);
    case PackedForm::kHalf:
      return choose_tokens<PackedForm::kHalf, 4>(stream, params, capacity);
  }
}

}  // namespace tessera
