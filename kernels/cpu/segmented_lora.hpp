// segmented_lora.hpp — the adapters of a CPU backend, and their part in a step's projections.
//
// A projection with adapters is y = W x + B (A x). The modules that read the same x (q, k and v;
// gate and up) shrink together: one run of the pool computes z = A x for all of them. Then, in the
// run that computes W x, each thread adds B z to the columns it has just computed, with no further
// barrier. A page is read from memory once for all the rows that share the adapter.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "kernels/cpu/aligned_buffer.hpp"
#include "kernels/cpu/kernel_table.hpp"
#include "kernels/cpu/lora_plan.hpp"
#include "kernels/cpu/thread_pool.hpp"
#include "kernels/lora.hpp"

namespace tessera {

// A module of an adapter: one of a layer's seven, or the head.
struct LoraSite {
  int layer = 0;
  Linear linear = Linear::kQ;
  bool is_head = false;
};

class SegmentedLora {
 public:
  SegmentedLora(const ModelSpec& spec, int max_rows, int max_rank, const KernelTable& kernels);

  AdapterSlot add(const LoraView& adapter);
  void remove(AdapterSlot slot);

  // Groups the rows of the next shrinks and expands by their adapters.
  void plan(std::span<const AdapterSlot> slots) { plan_.build(slots); }

  // z = A x at each of the sites (at most three), for the rows that have an adapter there. Does not
  // run the pool if none has an adapter at all.
  void shrink(std::span<const LoraSite> sites, int in_features, ConstRows x, ThreadPool& pool);

  // y[.., columns) += B z at sites[site_index] of the last shrink. Called by several threads at
  // once, each with columns of its own.
  void expand(const LoraSite& site, int site_index, int out_features, Range columns, Rows y) const;

  // y += B (column `token` of A) for a row of the embedding that has an adapter. Called by several
  // threads at once, each with rows of its own.
  void add_embedding(AdapterSlot slot, TokenId token, int row, Rows y);

 private:
  static constexpr int kMaxSites = 3;

  class Turns;

  const LoraModule& module_at(AdapterSlot slot, const LoraSite& site) const;
  void shrink_module(const LoraModule& module, int in_features, ConstRows x,
                     std::span<const std::int32_t> rows, Rows z, Turns& turns) const;
  Rows low_rank(int site_index);
  ConstRows low_rank(int site_index) const;
  std::size_t low_rank_stride() const { return static_cast<std::size_t>(kMaxSites * max_rank_); }

  const KernelTable& kernels_;
  int vocab_size_;
  int hidden_;
  int max_rank_;  // a multiple of eight
  std::vector<std::optional<LoraView>> adapters_;
  LoraPlan plan_;
  AlignedBuffer<float> z_;  // (max_rows, kMaxSites, max_rank)
};

}  // namespace tessera
