#include "kernels/cpu/segmented_lora.hpp"

#include <algorithm>
#include <cassert>

#include "kernels/bf16.hpp"

namespace tessera {
namespace {

// Rows of a segment that one task of a shrink takes: enough to share a page, few enough to spread a
// long prompt over all threads.
constexpr int kRowsPerTask = 32;

const Bf16* elements(const std::byte* page) {
  return reinterpret_cast<const Bf16*>(page);
}

[[maybe_unused]] int largest_rank(const LoraView& adapter) {
  int largest = std::max(adapter.embed.rank, adapter.head.rank);
  for (const LoraLayer& layer : adapter.layers) {
    for (const LoraModule& module : layer.linears) largest = std::max(largest, module.rank);
    for (const auto& expert : layer.experts) {
      for (const LoraModule& module : expert) largest = std::max(largest, module.rank);
    }
  }
  return largest;
}

int padded_rank(const LoraModule& module) {
  return pages_of_rank(module.rank) * kRanksPerPage;
}

std::size_t index_of_expert_linear(Linear linear) {
  return static_cast<std::size_t>(linear) - static_cast<std::size_t>(kExpertLinears[0]);
}

}  // namespace

// --- adapters -------------------------------------------------------------------------------

LoraAdapters::LoraAdapters(int max_rank) : max_rank_(pages_of_rank(max_rank) * kRanksPerPage) {}

AdapterSlot LoraAdapters::add(const LoraView& adapter) {
  assert(adapter.type == PageType::kBf16);
  assert(largest_rank(adapter) <= max_rank_);
  auto free = std::find(adapters_.begin(), adapters_.end(), std::nullopt);
  if (free == adapters_.end()) free = adapters_.emplace(free);
  *free = adapter;
  return static_cast<AdapterSlot>(free - adapters_.begin());
}

void LoraAdapters::remove(AdapterSlot slot) {
  adapters_[static_cast<std::size_t>(slot)].reset();
}

const LoraModule& LoraAdapters::module_at(AdapterSlot slot, const LoraSite& site) const {
  static const LoraModule kAbsent;
  const LoraView& adapter = *adapters_[static_cast<std::size_t>(slot)];
  if (site.is_head) return adapter.head;
  const LoraLayer& layer = adapter.layers[static_cast<std::size_t>(site.layer)];
  if (site.expert < 0) return layer[static_cast<std::size_t>(site.linear)];
  if (layer.experts.empty()) return kAbsent;
  return layer.experts[static_cast<std::size_t>(site.expert)][index_of_expert_linear(site.linear)];
}

const LoraModule& LoraAdapters::embedding(AdapterSlot slot) const {
  return adapters_[static_cast<std::size_t>(slot)]->embed;
}

// --- the two products -----------------------------------------------------------------------

LowRankRows::LowRankRows(int max_rows, int max_sites, const LoraAdapters& adapters,
                         const KernelTable& kernels)
    : adapters_(adapters),
      kernels_(kernels),
      stride_(static_cast<std::size_t>(max_sites * adapters.max_rank())),
      z_(static_cast<std::size_t>(max_rows) * stride_) {}

// A task is one page for some of a segment's rows.
void LowRankRows::shrink_module(const LoraModule& module, int in_features, ConstRows x,
                                std::span<const std::int32_t> rows, Rows z, Turns& turns) const {
  const auto page_elements = static_cast<std::ptrdiff_t>(in_features) * kRanksPerPage;
  for (int page = 0; page < pages_of_rank(module.rank); ++page) {
    for (std::size_t first = 0; first < rows.size(); first += kRowsPerTask) {
      if (!turns.is_mine()) continue;
      const std::size_t count = std::min<std::size_t>(kRowsPerTask, rows.size() - first);
      kernels_.lora_shrink(elements(module.a) + page * page_elements, in_features, x, &rows[first],
                           static_cast<int>(count), {z.data + page * kRanksPerPage, z.stride});
    }
  }
}

void LowRankRows::shrink(const LoraPlan& plan, std::span<const LoraSite> sites, int in_features,
                         ConstRows x, Turns& turns) {
  for (const LoraPlan::Segment& segment : plan.segments()) {
    for (std::size_t i = 0; i < sites.size(); ++i) {
      shrink_module(adapters_.module_at(segment.slot, sites[i]), in_features, x, plan.rows(segment),
                    at_site(static_cast<int>(i)), turns);
    }
  }
}

void LowRankRows::expand(const LoraPlan& plan, const LoraSite& site, int site_index,
                         int out_features, Range columns, Rows y) const {
  for (const LoraPlan::Segment& segment : plan.segments()) {
    const LoraModule& module = adapters_.module_at(segment.slot, site);
    if (!module) continue;
    const auto rows = plan.rows(segment);
    kernels_.lora_expand(elements(module.b), padded_rank(module), out_features, at_site(site_index),
                         rows.data(), static_cast<int>(rows.size()), columns.begin, columns.end, y);
  }
}

// --- a step's rows --------------------------------------------------------------------------

SegmentedLora::SegmentedLora(const ModelSpec& spec, int max_rows, const LoraAdapters& adapters,
                             const KernelTable& kernels)
    : adapters_(adapters),
      kernels_(kernels),
      vocab_size_(spec.vocab_size),
      hidden_(spec.hidden),
      plan_(max_rows),
      low_rank_(max_rows, kMaxSites, adapters, kernels) {}

void SegmentedLora::shrink(std::span<const LoraSite> sites, int in_features, ConstRows x,
                           ThreadPool& pool) {
  assert(sites.size() <= kMaxSites);
  if (plan_.empty()) return;
  pool.run([&](int thread) {
    Turns turns(thread, pool.num_threads());
    low_rank_.shrink(plan_, sites, in_features, x, turns);
  });
}

void SegmentedLora::add_embedding(AdapterSlot slot, TokenId token, int row, Rows y) {
  const LoraModule& module = adapters_.embedding(slot);
  if (!module) return;
  const Rows z = low_rank_.at_site(0);
  float* z_row = z.data + static_cast<std::size_t>(row) * z.stride;
  for (int rank = 0; rank < padded_rank(module); ++rank) {
    const auto page = static_cast<std::ptrdiff_t>(rank / kRanksPerPage);
    const auto at = (page * vocab_size_ + token) * kRanksPerPage + rank % kRanksPerPage;
    z_row[rank] = bf16_to_float(elements(module.a)[at]);
  }
  const std::int32_t rows[] = {row};
  kernels_.lora_expand(elements(module.b), padded_rank(module), hidden_, {z.data, z.stride}, rows,
                       1, 0, hidden_, y);
}

}  // namespace tessera
