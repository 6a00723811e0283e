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
#include "kernels/cpu/tile_format.hpp"

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
//   sums   [row / 4][k / 64][7][row % 4]
//
// The sums are of x as the integers give it: of the block's 64, its two halves, its four quarters.
// Only weights with offsets read them.
inline constexpr std::size_t kPanelRows = 4;
inline constexpr std::size_t kSumsPerBlock = 7;
struct Int16Rows {
  const std::int16_t* data;
  std::size_t panel;  // elements from one panel to the next
  const float* units;
  std::size_t units_panel;
  const float* sums;
  std::size_t sums_panel;
};

// The same integers as two digits, high * 128 + low, each a byte: what multiplies tiles of bytes
// takes them so. amx_format.hpp has the layout.
struct SplitRows {
  const std::byte* data;
  std::size_t group_bytes;  // from sixteen rows to the next
};

// Rows of x, in fp32 and, for a path that multiplies integers (KernelTable::quantise, split), as
// those.
struct Activations {
  ConstRows fp32;
  Int16Rows int16;
  SplitRows split;
};

// A linear module's weights, cut into tiles of 16 output features (tiled_matrix.hpp).
struct TileView {
  const std::byte* tiles;
  std::size_t tile_bytes;
  int num_blocks;                // of 64 input features
  const float* book;             // (16,) what codes of four bits stand for
  const std::int16_t* integers;  // (32,) the same as integers, twice over (int16_book.hpp)
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
  float softcap = 0.0F;  // scores become cap * tanh(score / cap); 0: none
  int window = 0;        // positions that a row attends to, its own among them; 0: all before
};

struct KernelTable {
  const char* name;

  // y[r][16 tile .. 16 tile + 16) = W x[r] for tiles [begin, end) and r < rows.
  using Multiply = void(const TileView& weights, int begin, int end, const Activations& x, int rows,
                        Rows y);
  Multiply* multiply_nf4;   // one scale a block, NF4's book
  Multiply* multiply_int8;  // one scale a block
  Multiply* multiply_bf16;
  // All forms of codes: by groups a block has (1, 2, 4), with offsets or without.
  struct GroupMultiply {
    Multiply* plain;
    Multiply* with_offsets;
  };
  struct CodesMultiply {
    GroupMultiply groups[kNumTileGroups];
  };
  CodesMultiply multiply_book16;
  CodesMultiply multiply_integers;
  // y[e] = w[e] . x for e < rows: fp32 weights (rows, width), width a multiple of 16. A router.
  void (*multiply_fp32)(const float* w, int rows, int width, const float* x, float* y);
  // Makes integers of blocks of one row, for all but multiply_bf16; null if this path
  // multiplies fp32. `y` and `units` point to the row's first element in its panel.
  using Quantise = void(const float* x, int num_blocks, std::int16_t* y, float* units);
  Quantise* quantise;
  // Sums what quantise() has made; `sums` points to the row's first in its panel.
  using SumGroups = void(const std::int16_t* y, const float* units, int num_blocks, float* sums);
  SumGroups* sum_groups;
  // Makes the same integers' digits, besides; null unless the path multiplies those. `y` points to
  // the row's first byte in its group (amx_format.hpp).
  using Split = void(const float* x, int num_blocks, std::byte* y);
  Split* split;

  // Of pages of one type.
  struct Lora {
    // z[i][0 .. 8) = x[rows[i]] A^T for one page of A (k, 8) and the rows listed; k is a multiple
    // of 8.
    void (*shrink)(const std::byte* page, int k, ConstRows x, const std::int32_t* rows,
                   int num_rows, Rows z);
    // y[rows[i]][begin .. end) += z[i] B^T for B (ranks, out_features) and the rows listed.
    void (*expand)(const std::byte* b, int ranks, int out_features, ConstRows z,
                   const std::int32_t* rows, int num_rows, int begin, int end, Rows y);
  };
  Lora lora_bf16;
  Lora lora_int8;

  // y[rows[r]][ids[i]] = w[i] . x[rows[r]] for w (count, width), width a multiple of 16: rows of
  // the head that an adapter has of its own.
  void (*multiply_own_rows)(const Bf16* w, int width, const std::int32_t* ids, int count,
                            ConstRows x, const std::int32_t* rows, int num_rows, Rows y);

  void (*rms_norm)(const float* x, const float* weight, float eps, int width, float* y);
  // `count` is a multiple of 16 in these.
  void (*add_scaled)(float* y, const float* x, float scale, int count);  // y += scale * x
  void (*scale)(float* y, float scale, int count);                       // y *= scale
  void (*softcap)(float* y, float cap, int count);                       // y = cap * tanh(y / cap)
  void (*silu_multiply)(float* gate, const float* up, int count);        // gate = silu(gate) * up
  void (*gelu_multiply)(float* gate, const float* up, int count);        // the form by tanh
  void (*widen_bf16)(const Bf16* source, int count, float* y);

  // Rotates a head's first 2 * half elements in place; cosine and sine are (half,).
  void (*rotate)(float* head, const float* cosine, const float* sine, int half);
  // Writes one head's key and value (head_dim,) of one position into its block.
  void (*store_kv)(const KvLayout& layout, const float* key, const float* value,
                   std::byte* head_block, int offset);
  // Attention over the whole context; or over the parts [first, last) of it, into records (parts
  // from the first that the window leaves; num_rows, group; layout.record_floats) that join_parts()
  // makes the same output of.
  void (*attend)(const KvLayout& layout, const AttendTask& task);
  void (*attend_parts)(const KvLayout& layout, const AttendTask& task, int first, int last,
                       float* records);
  void (*join_parts)(const KvLayout& layout, const AttendTask& task, const float* records);
};

// The entries in which AVX-512 with VNNI differs from AVX-512.
struct Int16Kernels {
  KernelTable::Multiply* multiply_nf4;
  KernelTable::Multiply* multiply_int8;
  KernelTable::CodesMultiply multiply_book16;
  KernelTable::CodesMultiply multiply_integers;
  KernelTable::Quantise* quantise;
  KernelTable::SumGroups* sum_groups;
};

// The entries in which AMX differs from AVX-512 with VNNI.
struct AmxKernels {
  KernelTable::Multiply* multiply_nf4;
  KernelTable::Multiply* multiply_int8;
  KernelTable::CodesMultiply multiply_book16;
  KernelTable::CodesMultiply multiply_integers;
  KernelTable::Split* split;
};

extern const KernelTable kPortableKernels;
extern const KernelTable kAvx2Kernels;       // defined in builds for x86-64
extern const KernelTable kAvx512Kernels;     // defined in builds for x86-64
extern const Int16Kernels kAvx512VnniInt16;  // defined in builds for x86-64
extern const AmxKernels kAmxKernels;         // defined in builds for x86-64

}  // namespace tessera
