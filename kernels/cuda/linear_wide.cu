// linear_wide.cu — linear_wide.hpp. x comes in stages of 64 rows by 64 columns, three of them on
// their way while one is multiplied; codes are loaded a block of columns ahead.
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/linear_tile.cuh"
#include "kernels/cuda/linear_wide.hpp"

namespace tessera {
namespace {

using namespace cuda;

constexpr int kWideRows = 64;  // of x
constexpr int kWarpTiles = 2;
constexpr int kBlockTiles = kLinearWarps * kWarpTiles;
constexpr int kStages = 4;
constexpr int kChunks = kTileCols * 2 / 16;  // of sixteen bytes, of a row in a stage
constexpr int kStageBytes = kWideRows * kChunks * 16;

constexpr int kTotalsBytes = kWideRows * static_cast<int>(kLinearThreads) * 4;

// The table of pairs, or what Totals has in its place, and the map of nested scales.
template <PackedForm kForm>
constexpr int kTablesBytes =
    (kForm == PackedForm::kBook16 ? kTableBytes : kTotalsBytes) + kMapBytes;

struct WideParams {
  LinearGroup group;
  int first_unit[4];  // of each matrix, and the number of all
};

// The blocks of columns in the order in which the narrow form's sums are made: those of its first
// warp, of its second, and so on.
struct BlockOrder {
  int block = 0;

  // Whether the block is the last of its warp's.
  __device__ __forceinline__ bool ends_warp(int blocks) const {
    return block + kLinearWarps >= blocks;
  }
  __device__ __forceinline__ void next(int blocks) {
    block = ends_warp(blocks) ? block % kLinearWarps + 1 : block + kLinearWarps;
  }
};

// Where a row's chunk of sixteen bytes lies in a stage: rows of a bank apart from their neighbours.
__device__ __forceinline__ int chunk_at(int row, int chunk) {
  return row * kChunks + (chunk ^ (row & 1));
}

// What a thread brings of every stage: the same chunk of two rows.
struct StageLoader {
  const uint4* from[2];  // block 0's
  int to[2];

  __device__ __forceinline__ StageLoader(const LinearGroup& p, int cols, int first_row,
                                         int num_rows) {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int at = thread_index() + i * static_cast<int>(kLinearThreads);
      const int row = at / kChunks;
      const int chunk = at % kChunks;
      const auto of_x = static_cast<std::size_t>(min(first_row + row, num_rows - 1));
      from[i] = reinterpret_cast<const uint4*>(p.x.halves + of_x * static_cast<std::size_t>(cols)) +
                chunk;
      to[i] = chunk_at(row, chunk);
    }
  }
  // One group of copies, of nothing where there is no such block.
  __device__ __forceinline__ void start(uint4* stage, int block, bool is_there) const {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      if (is_there) copy_async_16(stage + to[i], from[i] + block * kChunks);
    }
    commit_copies();
  }
};

// A warp's two tiles; the second is the first again where there is none. Where scales lie is found
// anew for every block: there are sixty-four products to each, and no registers to spare.
struct WarpTiles {
  int first;
  int has_next;

  __device__ __forceinline__ WarpTiles(const PackedMatrix& m, int tile)
      : first(min(tile, m.tiles() - 1)), has_next(tile + 1 < m.tiles() ? 1 : 0) {}

  __device__ __forceinline__ int at(int i) const { return first + i * has_next; }
};

template <PackedForm kForm>
__device__ __forceinline__ void load_tiles(const PackedMatrix& m, const WarpTiles& tiles, int block,
                                           Codes<kForm> (&codes)[kWarpTiles]) {
#pragma unroll
  for (int i = 0; i < kWarpTiles; ++i) {
    const std::size_t at =
        static_cast<std::size_t>(tiles.at(i)) * static_cast<std::size_t>(m.blocks()) +
        static_cast<std::size_t>(block);
    codes[i] = load_codes<kForm>(m.codes + at * tile_bytes(kForm) + threadIdx.x % kWarpSize * 16);
  }
}

using WideSums = float[kWarpTiles][kWideRows / 8][4];

// sums += W x of one block of columns.
template <PackedForm kForm, int kSteps>
__device__ __forceinline__ void add_wide_block(const LinearGroup& p, const PackedMatrix& m,
                                               const WarpTiles& tiles, const Tables& tables,
                                               const std::uint32_t (&a)[kWarpTiles][16],
                                               const uint4* stage, int block, int first_row,
                                               int num_rows, WideSums& sums) {
  float2 scale[kWarpTiles][4 / kSteps];
#pragma unroll
  for (int j = 0; j < kWarpTiles; ++j) {
    const ScaleWalk walk = scale_walk(m, tables, tiles.at(j));
#pragma unroll
    for (int i = 0; i < 4 / kSteps; ++i) {
      const unsigned group = group_of<kForm>(walk, block * kTileCols + i * kSteps * 16);
      scale[j][i] = load_scales<kForm>(walk, group * 8, group);
    }
  }
  const int lane = lane_index();
#pragma unroll
  for (int n = 0; n < kWideRows / 8; ++n) {
    // The compiler would load all rows before the first product, and have no registers left.
    if (n % 2 == 0) __syncwarp();
    const uint4 low = stage[chunk_at(n * 8 + lane / 4, lane % 4 * 2)];
    const uint4 high = stage[chunk_at(n * 8 + lane / 4, lane % 4 * 2 + 1)];
#pragma unroll
    for (int j = 0; j < kWarpTiles; ++j) {
      add_products<kSteps>(a[j], low, high, scale[j], sums[j][n]);
    }
  }
  if constexpr (kForm != PackedForm::kHalf) {
    if (m.offsets == nullptr) return;
#pragma unroll
    for (int j = 0; j < kWarpTiles; ++j) {
      const ScaleWalk walk = scale_walk(m, tables, tiles.at(j));
      unsigned groups[4 / kSteps];
#pragma unroll
      for (int i = 0; i < 4 / kSteps; ++i) {
        groups[i] = group_of<kForm>(walk, block * kTileCols + i * kSteps * 16);
      }
      add_offsets<kWideRows, kSteps, false>(p, walk.offsets, m.cols, groups, block, first_row,
                                            num_rows, sums[j]);
    }
  }
}

// What a thread has of a unit's outputs, for which registers do not suffice. In shared memory: with
// a table of pairs, the second tile's, in the half of it that nothing else lies in; without one,
// both tiles', in a part of their own. Element i of lane l of warp w is word l of row 32 w + i, or
// of row 64 w + i.
template <PackedForm kForm>
struct Totals {
  static constexpr bool kHasTable = kForm == PackedForm::kBook16;
  static constexpr int kShared = kHasTable ? kWideRows / 2 : kWideRows;  // elements of a thread
  static constexpr int kRowFloats = kHasTable ? 64 : 32;

  float first[kHasTable ? kWideRows - kShared : 1];
  float* others;  // of this lane, kRowFloats apart

  __device__ __forceinline__ explicit Totals(std::byte* shared)
      : others(reinterpret_cast<float*>(shared) +
               thread_index() / kWarpLanes * kShared * kRowFloats + (kHasTable ? 32 : 0) +
               lane_index()) {}

  __device__ __forceinline__ float& at(int i) {
    return i < kWideRows - kShared ? first[i] : others[(i - (kWideRows - kShared)) * kRowFloats];
  }
  // Adds what one of the narrow form's warps has come to; `sums` begins anew.
  __device__ __forceinline__ void add(WideSums& sums, bool is_first) {
#pragma unroll
    for (int i = 0; i < kWideRows; ++i) {
      float& sum = sums[i / (kWideRows / 2)][i % (kWideRows / 2) / 4][i % 4];
      at(i) = is_first ? sum : __fadd_rn(at(i), sum);
      sum = 0.0F;
    }
  }
};

// All columns of a unit. All threads of the block call it.
template <PackedForm kForm, int kSteps>
__device__ __forceinline__ void multiply_unit(const LinearGroup& p, const PackedMatrix& m,
                                              const Tables& tables, uint4* stages, int tile,
                                              int first_row, int num_rows, Totals<kForm>& total) {
  const int blocks = m.blocks();
  const WarpTiles tiles(m, tile);
  const StageLoader loader(p, m.cols, first_row, num_rows);
  BlockOrder ahead;  // the next to be brought
  for (int i = 0; i < kStages - 1; ++i) {
    loader.start(stages + i * (kStageBytes / 16), ahead.block, i < blocks);
    ahead.next(blocks);
  }
  constexpr bool kIsAhead = kForm != PackedForm::kHalf && kSteps == 4;  // where registers suffice
  Codes<kForm> codes[kWarpTiles];
  if (kIsAhead) load_tiles<kForm>(m, tiles, 0, codes);
  WideSums sums = {};
  BlockOrder order;
#pragma unroll 1
  for (int i = 0; i < blocks; ++i) {
    wait_copies<kStages - 2>();
    __syncthreads();  // the stage is there, and everybody is done with the one before
    loader.start(stages + (i + kStages - 1) % kStages * (kStageBytes / 16), ahead.block,
                 i + kStages - 1 < blocks);
    ahead.next(blocks);
    const int block = order.block;
    const bool ends_warp = order.ends_warp(blocks);
    order.next(blocks);
    if (!kIsAhead) load_tiles<kForm>(m, tiles, block, codes);
    std::uint32_t a[kWarpTiles][16];
#pragma unroll
    for (int j = 0; j < kWarpTiles; ++j) decode<kForm>(codes[j], tables, a[j]);
    if (kIsAhead && i + 1 < blocks) load_tiles<kForm>(m, tiles, order.block, codes);
    add_wide_block<kForm, kSteps>(p, m, tiles, tables, a, stages + i % kStages * (kStageBytes / 16),
                                  block, first_row, num_rows, sums);
    if (ends_warp) total.add(sums, block % kLinearWarps == 0);
  }
  wait_copies<0>();
  __syncthreads();
}

template <PackedForm kForm>
__device__ __forceinline__ void write_unit(const LinearGroup& p, const PackedMatrix& m, int tile,
                                           int column, int first_row, int num_rows,
                                           Totals<kForm>& total) {
  const int lane = lane_index();
#pragma unroll
  for (int n = 0; n < kWideRows / 8; ++n) {
#pragma unroll
    for (int j = 0; j < 2; ++j) {
      const int row = first_row + n * 8 + lane % 4 * 2 + j;
      if (row >= num_rows) continue;
      const float scale = p.x.scales[row];
      float* y = p.y + static_cast<std::size_t>(row) * static_cast<std::size_t>(p.y_stride);
#pragma unroll
      for (int i = 0; i < 2 * kWarpTiles; ++i) {
        const int output = (tile + i / 2) * kTileRows + i % 2 * 8 + lane / 4;
        if (output < m.rows)
          y[column + output] = total.at(i / 2 * (kWideRows / 2) + n * 4 + i % 2 * 2 + j) * scale;
      }
    }
  }
}

// Where a matrix's outputs begin in a row of y.
__device__ __forceinline__ int first_column(const LinearGroup& p, int which) {
  return which == 0 ? 0 : which == 1 ? p.matrices[0].rows : p.matrices[0].rows + p.matrices[1].rows;
}

// Grid: x persistent over the units of all matrices, y over the rows.
template <PackedForm kForm, int kSteps>
__global__ void __launch_bounds__(kLinearThreads, 1)
    wide_kernel(const __grid_constant__ WideParams params) {
  const LinearGroup& p = params.group;
  const int num_rows = *p.num_rows;
  const int first_row = static_cast<int>(blockIdx.y) * kWideRows;
  if (first_row >= num_rows) return;
  std::byte* const shared = dynamic_shared();
  auto* const map = reinterpret_cast<float*>(shared + kTablesBytes<kForm> - kMapBytes);
  auto* const stages = reinterpret_cast<uint4*>(shared + kTablesBytes<kForm>);
  const Tables tables = {shared, threadIdx.x % kWarpSize * 4, map};
  for (unsigned i = threadIdx.x; kForm != PackedForm::kHalf && i < 256; i += kLinearThreads) {
    map[i] = p.matrices[0].dynamic_map[i];
  }
  int filled = -1;  // the matrix whose pairs are in the table
  __syncthreads();
  for (int unit = static_cast<int>(blockIdx.x); unit < params.first_unit[3];
       unit += static_cast<int>(gridDim.x)) {
    const int which = unit >= params.first_unit[2] ? 2 : unit >= params.first_unit[1] ? 1 : 0;
    const PackedMatrix& m = p.matrices[which];
    if (kForm == PackedForm::kBook16 && filled != which) {
      fill_pairs(m, shared);
      filled = which;
      __syncthreads();
    }
    const int tile = (unit - params.first_unit[which]) * kBlockTiles +
                     static_cast<int>(this_warp()) * kWarpTiles;
    Totals<kForm> total(shared);
    multiply_unit<kForm, kSteps>(p, m, tables, stages, tile, first_row, num_rows, total);
    write_unit(p, m, tile, first_column(p, which), first_row, num_rows, total);
  }
}

int units_of(const PackedMatrix& matrix) {
  return static_cast<int>(divide_up(matrix.tiles(), kBlockTiles));
}

template <PackedForm kForm, int kSteps>
void start(CudaStream& stream, const WideParams& params, int capacity) {
  const auto units = static_cast<unsigned>(params.first_unit[3]);
  const unsigned row_blocks = divide_up(capacity, kWideRows);
  launch(stream, "wide_linear", wide_kernel<kForm, kSteps>,
         {{min(units, static_cast<unsigned>(num_multiprocessors())), row_blocks},
          {kLinearThreads},
          static_cast<std::size_t>(kTablesBytes<kForm> + kStages * kStageBytes)},
         params);
}

template <PackedForm kForm>
void choose_steps(CudaStream& stream, const WideParams& params, int steps, int capacity) {
  if (steps == 4) return start<kForm, 4>(stream, params, capacity);
  start<kForm, 2>(stream, params, capacity);
}

}  // namespace

int wide_blocks(const LinearGroup& group, int capacity) {
  int units = 0;
  for (int i = 0; i < group.count; ++i) units += units_of(group.matrices[i]);
  return units * static_cast<int>(divide_up(capacity, kWideRows));
}

void multiply_wide(CudaStream& stream, const LinearGroup& group, int steps, int capacity) {
  WideParams params{group, {}};
  for (int i = 0; i < 3; ++i) {
    params.first_unit[i + 1] =
        params.first_unit[i] + (i < group.count ? units_of(group.matrices[i]) : 0);
  }
  switch (group.matrices[0].form) {
    case PackedForm::kBook16:
      return choose_steps<PackedForm::kBook16>(stream, params, steps, capacity);
    case PackedForm::kInt8:
      return choose_steps<PackedForm::kInt8>(stream, params, steps, capacity);
    case PackedForm::kHalf:
      return start<PackedForm::kHalf, 4>(stream, params, capacity);
  }
}

}  // namespace tessera
