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

enum class PageType : std::uint8_t { kF32, kBf16 };
constexpr std::size_t element_bytes(PageType type) {
  return type == PageType::kF32 ? 4 : 2;
}

// One module's pages; host memory that outlives the view. rank 0: the adapter leaves it alone.
struct LoraModule {
  int rank = 0;
  const std::byte* a = nullptr;  // (pages, in_features, 8)
  const std::byte* b = nullptr;  // (pages, 8, out_features)

  explicit operator bool() const { return rank > 0; }
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
  std::vector<LoraLayer> layers;  // (num_layers,)
  LoraModule embed;
  LoraModule head;
};

// Where a backend keeps an adapter it was given; kNoAdapter means the base alone.
using AdapterSlot = std::int32_t;
inline constexpr AdapterSlot kNoAdapter = -1;

}  // namespace tessera
