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
  for (const auto& layer : adapter.layers) {
    for (const LoraModule& module : layer) largest = std::max(largest, module.rank);
  }
  return largest;
}

int padded_rank(const LoraModule& module) {
  return pages_of_rank(module.rank) * kRanksPerPage;
}

}  // namespace

SegmentedLora::SegmentedLora(const ModelSpec& spec, int max_rows, int max_rank,
                             const KernelTable& kernels)
    : kernels_(kernels),
      vocab_size_(spec.vocab_size),
      hidden_(spec.hidden),
      max_rank_(pages_of_rank(max_rank) * kRanksPerPage),
      plan_(max_rows),
      z_(static_cast<std::size_t>(max_rows) * static_cast<std::size_t>(kMaxSites * max_rank_)) {}

AdapterSlot SegmentedLora::add(const LoraView& adapter) {
  assert(adapter.type == PageType::kBf16);
  assert(largest_rank(adapter) <= max_rank_);
  auto free = std::find(adapters_.begin(), adapters_.end(), std::nullopt);
  if (free == adapters_.end()) free = adapters_.emplace(free);
  *free = adapter;
  return static_cast<AdapterSlot>(free - adapters_.begin());
}

void SegmentedLora::remove(AdapterSlot slot) {
  adapters_[static_cast<std::size_t>(slot)].reset();
}

const LoraModule& SegmentedLora::module_at(AdapterSlot slot, const LoraSite& site) const {
  const LoraView& adapter = *adapters_[static_cast<std::size_t>(slot)];
  if (site.is_head) return adapter.head;
  return adapter
      .layers[static_cast<std::size_t>(site.layer)][static_cast<std::size_t>(site.linear)];
}

Rows SegmentedLora::low_rank(int site_index) {
  return {z_.data() + site_index * max_rank_, low_rank_stride()};
}

ConstRows SegmentedLora::low_rank(int site_index) const {
  return {z_.data() + site_index * max_rank_, low_rank_stride()};
}

// Deals tasks out to threads in turn. Every thread counts all tasks alike and does its own.
class SegmentedLora::Turns {
 public:
  Turns(int thread, int num_threads) : thread_(thread), num_threads_(num_threads) {}
  bool is_mine() { return task_++ % num_threads_ == thread_; }

 private:
  int task_ = 0;
  int thread_;
  int num_threads_;
};

// A task is one page for some of a segment's rows.
void SegmentedLora::shrink_module(const LoraModule& module, int in_features, ConstRows x,
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

void SegmentedLora::shrink(std::span<const LoraSite> sites, int in_features, ConstRows x,
                           ThreadPool& pool) {
  assert(sites.size() <= kMaxSites);
  if (plan_.empty()) return;
  pool.run([&](int thread) {
    Turns turns(thread, pool.num_threads());
    for (const LoraPlan::Segment& segment : plan_.segments()) {
      for (std::size_t i = 0; i < sites.size(); ++i) {
        shrink_module(module_at(segment.slot, sites[i]), in_features, x, plan_.rows(segment),
                      low_rank(static_cast<int>(i)), turns);
      }
    }
  });
}

void SegmentedLora::expand(const LoraSite& site, int site_index, int out_features, Range columns,
                           Rows y) const {
  for (const LoraPlan::Segment& segment : plan_.segments()) {
    const LoraModule& module = module_at(segment.slot, site);
    if (!module) continue;
    const auto rows = plan_.rows(segment);
    kernels_.lora_expand(elements(module.b), padded_rank(module), out_features,
                         low_rank(site_index), rows.data(), static_cast<int>(rows.size()),
                         columns.begin, columns.end, y);
  }
}

void SegmentedLora::add_embedding(AdapterSlot slot, TokenId token, int row, Rows y) {
  const LoraModule& module = adapters_[static_cast<std::size_t>(slot)]->embed;
  if (!module) return;
  const Rows z = low_rank(0);
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
