// lora.hpp — LoRA adapters as kernels see them: pages of eight ranks.
//
//   y = W x + B (A x)        with the scale (alpha / r or alpha / sqrt(r)) folded into B
//
// Rank r of a module is stored in ceil(r / 8) pages; a page holds eight ranks of A and of B. Ranks
// are exact up to the page: the unused ranks of the last page are zero, an absent module has no
// page, and nothing is padded to another adapter's rank. Layout of one module, P pages:
//
//   a   (P, in_features, 8)    a[p][k][j] = A[8p + j][k]
//   b   (P, 8, out_features)   b[p][j][n] = scale * B[n][8p + j]
//
// Pages of 8 bits (PageType::kInt8, made by lora_int8.hpp) lie likewise, with a scale for each
// rank, of A's and of B's integers together, because a rank's part in y is a product of the two:
//
//   scales  (P * 8,) fp32      B (A x) = sum over ranks r of scales[r] * b[r] * (a[r] . x)
//
// For the embedding, in_features is the vocabulary and a token's x is one-hot, so A x is row k of
// every page; out_features is hidden. For the head, x is the final hidden state (after the norm).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/model_spec.hpp"

namespace tessera {

inline constexpr int kRanksPerPage = 8;
constexpr int pages_of_rank(int rank) {
  return (rank + kRanksPerPage - 1) / kRanksPerPage;
}

enum class PageType : std::uint8_t { kF32, kBf16, kInt8 };
constexpr std::size_t element_bytes(PageType type) {
  return type == PageType::kF32 ? 4 : type == PageType::kBf16 ? 2 : 1;
}
// What RowOverrides are kept in beside pages of that type.
constexpr PageType row_type(PageType type) {
  return type == PageType::kInt8 ? PageType::kBf16 : type;
}

// One module's pages; host memory that outlives the view. With all that an adapter may change:
//
//   y = out_scale * (W x + B (A x)) + b_W + bias        b_W: the base's own bias
struct LoraModule {
  int rank = 0;                      // may be 0 beside an out_scale or a bias
  const std::byte* a = nullptr;      // (pages, in_features, 8)
  const std::byte* b = nullptr;      // (pages, 8, out_features)
  const float* scales = nullptr;     // (pages * 8,) of kInt8 alone
  const float* out_scale = nullptr;  // (out_features,) of DoRA; null: 1
  const float* bias = nullptr;       // (out_features,); null: 0

  // Whether the adapter changes the module at all.
  explicit operator bool() const { return rank > 0 || out_scale != nullptr || bias != nullptr; }
};

// Rows of the embedding, or of the head, that an adapter has of its own. They replace the base's
// before anything else is added; ids ascend.
struct RowOverrides {
  std::span<const TokenId> ids = {};
  const std::byte* rows = nullptr;  // (ids, hidden) in row_type() of the view's page type
};

// One layer's modules. Where the layer has experts, gate, up and down are each expert's own.
struct LoraLayer {
  std::array<LoraModule, kNumLinears> linears;
  std::vector<std::array<LoraModule, kNumExpertLinears>> experts;  // (num_experts,) or empty

  LoraModule& operator[](std::size_t linear) { return linears[linear]; }
  const LoraModule& operator[](std::size_t linear) const { return linears[linear]; }
};

// A whole adapter. The memory belongs to whoever packed it (adapters/packed_adapter.hpp).
struct LoraView {
  PageType type = PageType::kBf16;
  bool is_pinned = false;  // the memory is a backend's own (Backend::pinned_memory)
  std::vector<LoraLayer> layers;  // (num_layers,)
  LoraModule embed;
  LoraModule head;
  RowOverrides embed_rows;
  RowOverrides head_rows;
};

// Where a backend keeps an adapter it was given; kNoAdapter means the base alone.
using AdapterSlot = std::int32_t;
inline constexpr AdapterSlot kNoAdapter = -1;

// One of the adapters that a sequence mixes: y = W x + sum of weight * B (A x), which is exactly
// the adapter whose ranks are those of all terms one behind the other. Only of adapters that have
// pairs alone: no out_scale, bias or rows.
inline constexpr int kMaxMixTerms = 4;
struct MixTerm {
  AdapterSlot slot = kNoAdapter;
  float weight = 1.0F;
};

}  // namespace tessera
