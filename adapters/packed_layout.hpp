// packed_layout.hpp — where the parts of a packed adapter lie in its bytes.
//
// A layout is a function of what the adapter has (modules, their ranks, whether each has an output
// scale or a bias, how many rows it replaces) and of the base's shapes; offsets are computed and
// never read from anywhere. So a packed file names parts and no places, and one that was tampered
// with can be wrong about values but never point outside of its bytes.
//
// In the order of the adapter's modules, each part on a 64-byte boundary:
//
//   a           (pages, in_features, 8)   kernels/lora.hpp
//   b           (pages, 8, out_features)
//   scales      (pages * 8,) fp32         of pages of 8 bits
//   out_scale   (out_features,) fp32      if there is one
//   bias        (out_features,) fp32      if there is one
//
// then, of the embedding and of the head, ids (rows,) and rows (rows, hidden).
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "adapters/adapter.hpp"
#include "kernels/lora.hpp"

namespace tessera {

struct PackedModule {
  ModuleKind kind = ModuleKind::kLinear;
  int layer = 0;
  Linear linear = Linear::kQ;
  int expert = -1;
  LinearShape shape = {};
  int rank = 0;
  bool has_out_scale = false;
  bool has_bias = false;
  // Byte offsets; meaningless for a part that is not there.
  std::size_t a = 0;
  std::size_t b = 0;
  std::size_t scales = 0;
  std::size_t out_scale = 0;
  std::size_t bias = 0;
};

struct PackedRows {
  std::size_t count = 0;
  std::size_t ids = 0;   // byte offset of (count,) TokenId
  std::size_t rows = 0;  // byte offset of (count, hidden) in row_type()
};

struct PackedLayout {
  PageType type = PageType::kBf16;
  int num_layers = 0;   // of the base
  int num_experts = 0;  // of the base
  int hidden = 0;       // of the base; 0 if no rows are replaced
  std::vector<PackedModule> modules = {};
  PackedRows embed_rows = {};
  PackedRows head_rows = {};
  std::vector<TokenId> invocation = {};  // Adapter::invocation
  std::size_t bytes = 0;                 // of all parts; a multiple of 64

  int max_rank() const;
  // Adapter::is_plain().
  bool is_plain() const;
};

// Sets the offsets and `bytes` from everything else.
void place_parts(PackedLayout& layout);

// The layout of `adapter` in pages of `type`.
PackedLayout layout_of(const Adapter& adapter, PageType type);

// What kernels read, for parts that lie at `data`.
LoraView view_of(const PackedLayout& layout, const std::byte* data);

}  // namespace tessera
