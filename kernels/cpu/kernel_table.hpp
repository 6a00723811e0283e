// kernel_table.hpp — what one instruction set must be able to do, as a table of functions.
//
// CpuBackend (cpu_backend.cpp) decides what is computed, where and on which thread; the kernels
// behind this table do the arithmetic on the part they are handed. There is one table for each
// instruction set, made from the same templates. The paths that multiply fp32 give the same bits;
// the one that multiplies integers rounds otherwise (int16_kernels.hpp).
//
// P2: every kernel works on each row by itself in an order that depends on the shapes and the row's
// position only, so the number of rows beside it cannot matter.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/bf16.hpp"
#include "kernels/cpu/kv_layout.hpp"

namespace tessera {

// Rows of floats, `stride` apart. Plain pointers, because these structs cross into files that are
// compiled for other machines (see vec.hpp on the one-definition rule).
struct ConstRows {
  const float* data;
  std::size_t stride;
};
struct Rows {
  float* data;
  std::size_t stride;
};

// Rows of integers, one unit for each block of 64: x[k] ~ integer[k] * unit[k / 64]. Four rows make
// a panel, in which a pair of k of all four is adjacent, so that one register addresses it:
//
//   data   [row / 4][k / 2][row % 4][k % 2]
//   units  [row / 4][k / 64][row % 4]
inline constexpr std::size_t kPanelRows = 4;
struct Int16Rows {
  const std::int16_t* data;
  std::size_t panel;  // elements from one panel to the next
  const float* units;
  std::size_t units_panel;
};

// Rows of x, in fp32 and, for a path that multiplies integers (KernelTable::quantise), as those.
struct Activations {
  ConstRows fp32;
  Int16Rows int16;
};

// A linear module's weights, cut into tiles of 16 output features (tiled_matrix.hpp).
struct TileView {
  const std::byte* tiles;
  std::size_t tile_bytes;
  int num_blocks;  // of 64 input features
};

// What attention needs to know to serve the query heads of one KV head for a tile: adjacent rows of
// one sequence, of consecutive positions that lie in one part of the context. At most kMaxQueries
// queries unless it is a single row.
struct AttendTask {
  ConstRows query;             // (num_rows; group, head_dim)
  Rows output;                 // (num_rows; group, head_dim)
  const std::byte* layer;      // the layer's part of the KV cache
  const std::int32_t* blocks;  // the sequence's block table
  int first_position;          // of the first row; a row attends to its own and all before
  int num_rows;
  int group;  // query heads that share the KV head
  int kv_head;
  float scale;
};

struct KernelTable {
  const char* name;

  // y[r][16 tile .. 16 tile + 16) = W x[r] for tiles [begin, end) and r < rows.
  using Multiply = void(const TileView& weights, int begin, int end, const Activations& x, int rows,
                        Rows y);
  Multiply* multiply_nf4;
  Multiply* multiply_int8;
  Multiply* multiply_bf16;
  // Makes integers of blocks of one row, for multiply_nf4 and multiply_int8; null if this path
  // multiplies fp32. `y` and `units` point to the row's first element in its panel.
  using Quantise = void(const float* x, int num_blocks, std::int16_t* y, float* units);
  Quantise* quantise;

  // z[row][0 .. 8) = x[row] A^T for one page of A (k, 8) and the rows listed.
  void (*lora_shrink)(const Bf16* page, int k, ConstRows x, const std::int32_t* rows, int num_rows,
                      Rows z);
  // y[row][begin .. end) += z[row] B^T for B (ranks, out_features) and the rows listed.
  void (*lora_expand)(const Bf16* b, int ranks, int out_features, ConstRows z,
                      const std::int32_t* rows, int num_rows, int begin, int end, Rows y);

  // `width` and `count` are multiples of 16 in these.
  void (*rms_norm)(const float* x, const float* weight, float eps, int width, float* y);
  void (*add)(float* y, const float* x, int count);                // y += x
  void (*silu_multiply)(float* gate, const float* up, int count);  // gate = silu(gate) * up
  void (*widen_bf16)(const Bf16* source, int count, float* y);

  // Rotates one head in place; cosine and sine are (head_dim / 2,).
  void (*rotate)(float* head, const float* cosine, const float* sine, int head_dim);
  // Writes one head's key and value (head_dim,) of one position into its block.
  void (*store_kv)(const KvLayout& layout, const float* key, const float* value,
                   std::byte* head_block, int offset);
  // Attention over the whole context; or over the parts [first, last) of it, into records (parts;
  // num_rows, group; layout.record_floats) that join_parts() makes the same output of.
  void (*attend)(const KvLayout& layout, const AttendTask& task);
  void (*attend_parts)(const KvLayout& layout, const AttendTask& task, int first, int last,
                       float* records);
  void (*join_parts)(const KvLayout& layout, const AttendTask& task, const float* records);
};

// The entries in which AVX-512 with VNNI differs from AVX-512.
struct Int16Kernels {
  KernelTable::Multiply* multiply_nf4;
  KernelTable::Multiply* multiply_int8;
  KernelTable::Quantise* quantise;
};

extern const KernelTable kPortableKernels;
extern const KernelTable kAvx2Kernels;       // defined in builds for x86-64
extern const KernelTable kAvx512Kernels;     // defined in builds for x86-64
extern const Int16Kernels kAvx512VnniInt16;  // defined in builds for x86-64

}  // namespace tessera
