// segmented_lora.hpp — the adapters of a CPU backend, and their part in a step's projections.
//
// A projection with adapters is y = out_scale * (W x + B (A x)) + bias. The modules that read the
// same x (q, k and v; gate and up) shrink together: one run of the pool computes z = A x for all of
// them. Then, in the run that computes W x, each thread adds B z to the columns it has just
// computed, scales and shifts them, with no further barrier. A page is read from memory once for
// all the rows that share the adapter.
//
// A mix is a sum of B z over its terms, each z times the term's weight, added in their order.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "kernels/backend.hpp"
#include "kernels/cpu/aligned_buffer.hpp"
#include "kernels/cpu/kernel_table.hpp"
#include "kernels/cpu/lora_plan.hpp"
#include "kernels/cpu/thread_pool.hpp"
#include "kernels/lora.hpp"

namespace tessera {

// A module of an adapter: one of a layer's seven, one of an expert's three, or the head.
struct LoraSite {
  int layer = 0;
  Linear linear = Linear::kQ;
  bool is_head = false;
  int expert = -1;
};

// The adapters that were added, by slot.
class LoraAdapters {
 public:
  explicit LoraAdapters(int max_rank);

  AdapterSlot add(const LoraView& adapter);
  void remove(AdapterSlot slot);

  const LoraView& view(AdapterSlot slot) const { return held(slot).view; }
  const LoraModule& module_at(AdapterSlot slot, const LoraSite& site) const;
  int max_rank() const { return max_rank_; }  // a multiple of eight

  // The adapters of a sequence's rows, from its lora_start on. Valid until add() or remove().
  RowTerms terms_of(const StepInput& input, std::size_t seq) const;

 private:
  struct Held {
    LoraView view;
    MixTerm alone;  // itself, as the only term
  };
  const Held& held(AdapterSlot slot) const { return *adapters_[static_cast<std::size_t>(slot)]; }

  int max_rank_;
  std::vector<std::optional<Held>> adapters_;
};

// Deals tasks out to threads in turn. Every thread counts all tasks alike and does its own.
class Turns {
 public:
  Turns(int thread, int num_threads) : thread_(thread), num_threads_(num_threads) {}
  bool is_mine() { return task_++ % num_threads_ == thread_; }

 private:
  int task_ = 0;
  int thread_;
  int num_threads_;
};

// What rows with adapters come to between the two products: z (entries of the plans, sites,
// max_rank).
class LowRankRows {
 public:
  // Of plans of `max_rows` rows together.
  LowRankRows(int max_rows, int max_sites, const LoraAdapters& adapters,
              const KernelTable& kernels);

  // z = weight * A x at each of the sites, for the rows of the plan that have an adapter there.
  // Every thread calls it with turns of its own.
  void shrink(const LoraPlan& plan, std::span<const LoraSite> sites, int in_features, ConstRows x,
              Turns& turns);

  // y[.., columns) = out_scale * (y + B z) + bias at sites[site_index] of the last shrink. Called
  // by several threads at once, each with columns of its own.
  void expand(const LoraPlan& plan, const LoraSite& site, int site_index, int out_features,
              Range columns, Rows y) const;

  Rows at_site(int site_index) { return {z_.data() + offset(site_index), stride_}; }

 private:
  ConstRows at_site(int site_index) const { return {z_.data() + offset(site_index), stride_}; }
  std::size_t offset(int site_index) const {
    return static_cast<std::size_t>(site_index * adapters_.max_rank());
  }
  void expand_term(const LoraPlan& plan, int term, const LoraSite& site, int site_index,
                   int out_features, Range columns, Rows y) const;

  // Some entries of a plan: one adapter's.
  struct Entries {
    std::span<const std::int32_t> rows;
    std::span<const float> weights;
    std::size_t first;  // of z
  };
  static Entries entries_of(const LoraPlan& plan, const LoraPlan::Segment& segment);
  void shrink_module(PageType type, const LoraModule& module, int in_features, ConstRows x,
                     const Entries& entries, Rows z, Turns& turns) const;

  const LoraAdapters& adapters_;
  const KernelTable& kernels_;
  std::size_t stride_;
  AlignedBuffer<float> z_;
};

// The rows of a step, at the modules that all rows go through.
class SegmentedLora {
 public:
  SegmentedLora(const ModelSpec& spec, int max_rows, int max_seqs, const LoraAdapters& adapters,
                const KernelTable& kernels);

  // Groups the rows of the next shrinks and expands by their adapters.
  void plan(std::span<const RowTerms> rows) { plan_.build(rows); }

  // At most three sites. Does not run the pool if no row has an adapter at all.
  void shrink(std::span<const LoraSite> sites, int in_features, ConstRows x, ThreadPool& pool);
  void expand(const LoraSite& site, int site_index, int out_features, Range columns, Rows y) const {
    low_rank_.expand(plan_, site, site_index, out_features, columns, y);
  }

  // The row of the embedding that the adapters have instead of the base's, or null.
  const Bf16* own_embedding(RowTerms terms, TokenId token) const;
  // y = out_scale * (y + B (column `token` of A)) + bias for a row of the embedding. Called by
  // several threads at once, each with rows of its own.
  void change_embedding(RowTerms terms, TokenId token, int row, Rows y);

  // Of the logits in `columns`, makes those anew for which the planned rows' adapters have rows of
  // the head of their own. Called by several threads at once, each with columns of its own.
  void replace_logits(Range columns, ConstRows x, Rows logits) const;

 private:
  static constexpr int kMaxSites = 3;

  const LoraAdapters& adapters_;
  const KernelTable& kernels_;
  int vocab_size_;
  int hidden_;
  LoraPlan plan_;
  LowRankRows low_rank_;
};

}  // namespace tessera
