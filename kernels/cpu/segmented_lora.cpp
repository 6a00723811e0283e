#include "kernels/cpu/segmented_lora.hpp"

#include <algorithm>
#include <cassert>

#include "kernels/bf16.hpp"

namespace tessera {
namespace {

// Rows of a segment that one task of a shrink takes: enough to share a page, few enough to spread a
// long prompt over all threads.
constexpr int kRowsPerTask = 32;

// Columns that a step with mixes expands at a time: an adapter that is the first term of one mix
// and the second of another is met twice, and then its part of B is still in the second cache.
constexpr int kMixColumns = 512;

const KernelTable::Lora& lora_kernels(const KernelTable& kernels, PageType type) {
  return type == PageType::kInt8 ? kernels.lora_int8 : kernels.lora_bf16;
}

float element(const std::byte* page, PageType type, std::ptrdiff_t at) {
  if (type == PageType::kInt8) return static_cast<float>(std::to_integer<std::int8_t>(page[at]));
  return bf16_to_float(reinterpret_cast<const Bf16*>(page)[at]);
}

template <class Visit>
void for_each_module(const LoraView& adapter, const Visit& visit) {
  for (const LoraModule& module : {adapter.embed, adapter.head}) visit(module);
  for (const LoraLayer& layer : adapter.layers) {
    for (const LoraModule& module : layer.linears) visit(module);
    for (const auto& expert : layer.experts) {
      for (const LoraModule& module : expert) visit(module);
    }
  }
}

[[maybe_unused]] int largest_rank(const LoraView& adapter) {
  int largest = 0;
  for_each_module(adapter,
                  [&](const LoraModule& module) { largest = std::max(largest, module.rank); });
  return largest;
}

[[maybe_unused]] bool has_pairs_alone(const LoraView& adapter) {
  bool alone = adapter.embed_rows.ids.empty() && adapter.head_rows.ids.empty();
  for_each_module(adapter, [&](const LoraModule& module) {
    alone = alone && module.out_scale == nullptr && module.bias == nullptr;
  });
  return alone;
}

int padded_rank(const LoraModule& module) {
  return pages_of_rank(module.rank) * kRanksPerPage;
}

std::size_t index_of_expert_linear(Linear linear) {
  return static_cast<std::size_t>(linear) - static_cast<std::size_t>(kExpertLinears[0]);
}

// z *= weight, row by row; and its eight ranks by their scales, if there are any.
void weigh(std::span<const float> weights, const float* scales, Rows z) {
  for (std::size_t i = 0; i < weights.size(); ++i) {
    float* row = z.data + i * z.stride;
    for (int rank = 0; scales != nullptr && rank < kRanksPerPage; ++rank) row[rank] *= scales[rank];
    for (int rank = 0; weights[i] != 1.0F && rank < kRanksPerPage; ++rank) row[rank] *= weights[i];
  }
}

// y = out_scale * y + bias
void scale_and_shift(const LoraModule& module, std::span<const std::int32_t> rows, Range columns,
                     Rows y) {
  for (const std::int32_t row : rows) {
    float* y_row = y.data + static_cast<std::size_t>(row) * y.stride;
    for (int n = columns.begin; module.out_scale != nullptr && n < columns.end; ++n) {
      y_row[n] *= module.out_scale[n];
    }
    for (int n = columns.begin; module.bias != nullptr && n < columns.end; ++n) {
      y_row[n] += module.bias[n];
    }
  }
}

// The overrides whose ids are in the range, as indices.
Range indices_of(const RowOverrides& overrides, Range ids) {
  const auto index_of = [&](TokenId id) {
    const auto at = std::lower_bound(overrides.ids.begin(), overrides.ids.end(), id);
    return static_cast<int>(at - overrides.ids.begin());
  };
  return {index_of(ids.begin), index_of(ids.end)};
}

const Bf16* own_row(const RowOverrides& overrides, int index, int hidden) {
  return reinterpret_cast<const Bf16*>(overrides.rows) +
         static_cast<std::ptrdiff_t>(index) * hidden;
}

}  // namespace

// --- adapters -------------------------------------------------------------------------------

LoraAdapters::LoraAdapters(int max_rank) : max_rank_(pages_of_rank(max_rank) * kRanksPerPage) {}

AdapterSlot LoraAdapters::add(const LoraView& adapter) {
  assert(adapter.type == PageType::kBf16 || adapter.type == PageType::kInt8);
  assert(largest_rank(adapter) <= max_rank_);
  auto free = std::find_if(adapters_.begin(), adapters_.end(),
                           [](const auto& held) { return !held.has_value(); });
  if (free == adapters_.end()) free = adapters_.emplace(free);
  const auto slot = static_cast<AdapterSlot>(free - adapters_.begin());
  *free = Held{adapter, {.slot = slot, .weight = 1.0F}};
  return slot;
}

void LoraAdapters::remove(AdapterSlot slot) {
  adapters_[static_cast<std::size_t>(slot)].reset();
}

const LoraModule& LoraAdapters::module_at(AdapterSlot slot, const LoraSite& site) const {
  static const LoraModule kAbsent;
  const LoraView& adapter = view(slot);
  if (site.is_head) return adapter.head;
  const LoraLayer& layer = adapter.layers[static_cast<std::size_t>(site.layer)];
  if (site.expert < 0) return layer[static_cast<std::size_t>(site.linear)];
  if (layer.experts.empty()) return kAbsent;
  return layer.experts[static_cast<std::size_t>(site.expert)][index_of_expert_linear(site.linear)];
}

RowTerms LoraAdapters::terms_of(const StepInput& input, std::size_t seq) const {
  if (!input.mixes.empty() && input.mix_indptr[seq] < input.mix_indptr[seq + 1]) {
    const auto first = static_cast<std::size_t>(input.mix_indptr[seq]);
    const auto last = static_cast<std::size_t>(input.mix_indptr[seq + 1]);
    const RowTerms terms = input.mixes.subspan(first, last - first);
    assert(std::all_of(terms.begin(), terms.end(),
                       [&](const MixTerm& term) { return has_pairs_alone(view(term.slot)); }));
    return terms;
  }
  const AdapterSlot slot = input.slots[seq];
  if (slot == kNoAdapter) return {};
  return {&held(slot).alone, 1};
}

// --- the two products -----------------------------------------------------------------------

LowRankRows::LowRankRows(int max_rows, int max_sites, const LoraAdapters& adapters,
                         const KernelTable& kernels)
    : adapters_(adapters),
      kernels_(kernels),
      stride_(static_cast<std::size_t>(max_sites * adapters.max_rank())),
      z_(static_cast<std::size_t>(max_rows) * kMaxMixTerms * stride_) {}

LowRankRows::Entries LowRankRows::entries_of(const LoraPlan& plan,
                                             const LoraPlan::Segment& segment) {
  return {plan.rows(segment), plan.weights(segment),
          static_cast<std::size_t>(plan.first_entry() + segment.begin())};
}

// A task is one page for some of a segment's rows.
void LowRankRows::shrink_module(PageType type, const LoraModule& module, int in_features,
                                ConstRows x, const Entries& entries, Rows z, Turns& turns) const {
  const std::size_t page_bytes =
      static_cast<std::size_t>(in_features) * kRanksPerPage * element_bytes(type);
  const std::size_t num_rows = entries.rows.size();
  for (int page = 0; page < pages_of_rank(module.rank); ++page) {
    for (std::size_t first = 0; first < num_rows; first += kRowsPerTask) {
      if (!turns.is_mine()) continue;
      const std::size_t count = std::min<std::size_t>(kRowsPerTask, num_rows - first);
      const Rows z_page{z.data + (entries.first + first) * z.stride + page * kRanksPerPage,
                        z.stride};
      lora_kernels(kernels_, type)
          .shrink(module.a + static_cast<std::size_t>(page) * page_bytes, in_features, x,
                  &entries.rows[first], static_cast<int>(count), z_page);
      const float* scales =
          type == PageType::kInt8 ? module.scales + page * kRanksPerPage : nullptr;
      weigh(entries.weights.subspan(first, count), scales, z_page);
    }
  }
}

void LowRankRows::shrink(const LoraPlan& plan, std::span<const LoraSite> sites, int in_features,
                         ConstRows x, Turns& turns) {
  for (const LoraPlan::Segment& segment : plan.segments()) {
    const Entries entries = entries_of(plan, segment);
    for (std::size_t i = 0; i < sites.size(); ++i) {
      shrink_module(adapters_.view(segment.slot).type, adapters_.module_at(segment.slot, sites[i]),
                    in_features, x, entries, at_site(static_cast<int>(i)), turns);
    }
  }
}

void LowRankRows::expand(const LoraPlan& plan, const LoraSite& site, int site_index,
                         int out_features, Range columns, Rows y) const {
  const int together = plan.num_terms() > 1 ? kMixColumns : columns.end - columns.begin;
  for (int begin = columns.begin; begin < columns.end; begin += together) {
    const Range part{begin, std::min(begin + together, columns.end)};
    for (int term = 0; term < plan.num_terms(); ++term) {
      expand_term(plan, term, site, site_index, out_features, part, y);
    }
  }
}

void LowRankRows::expand_term(const LoraPlan& plan, int term, const LoraSite& site, int site_index,
                              int out_features, Range columns, Rows y) const {
  const ConstRows z = at_site(site_index);
  for (const LoraPlan::Segment& segment : plan.segments()) {
    const LoraModule& module = adapters_.module_at(segment.slot, site);
    const Entries entries = entries_of(plan, segment.of_term(term));
    if (!module || entries.rows.empty()) continue;
    if (module.rank > 0) {
      lora_kernels(kernels_, adapters_.view(segment.slot).type)
          .expand(module.b, padded_rank(module), out_features,
                  {z.data + entries.first * z.stride, z.stride}, entries.rows.data(),
                  static_cast<int>(entries.rows.size()), columns.begin, columns.end, y);
    }
    scale_and_shift(module, entries.rows, columns, y);
  }
}

// --- a step's rows --------------------------------------------------------------------------

SegmentedLora::SegmentedLora(const ModelSpec& spec, int max_rows, int max_seqs,
                             const LoraAdapters& adapters, const KernelTable& kernels)
    : adapters_(adapters),
      kernels_(kernels),
      vocab_size_(spec.vocab_size),
      hidden_(spec.hidden),
      plan_(max_rows, max_seqs),
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

const Bf16* SegmentedLora::own_embedding(RowTerms terms, TokenId token) const {
  for (const MixTerm& term : terms) {
    const RowOverrides& own = adapters_.view(term.slot).embed_rows;
    const Range at = indices_of(own, {token, token + 1});
    if (at.begin < at.end) return own_row(own, at.begin, hidden_);
  }
  return nullptr;
}

void SegmentedLora::change_embedding(RowTerms terms, TokenId token, int row, Rows y) {
  const Rows z = low_rank_.at_site(0);
  float* z_row = z.data + static_cast<std::size_t>(row) * z.stride;
  const std::int32_t rows[] = {row};
  for (const MixTerm& term : terms) {
    const LoraModule& module = adapters_.view(term.slot).embed;
    const PageType type = adapters_.view(term.slot).type;
    const int ranks = padded_rank(module);
    for (int rank = 0; rank < ranks; ++rank) {
      const auto page = static_cast<std::ptrdiff_t>(rank / kRanksPerPage);
      const auto at = (page * vocab_size_ + token) * kRanksPerPage + rank % kRanksPerPage;
      z_row[rank] = term.weight * element(module.a, type, at);
      if (type == PageType::kInt8) z_row[rank] *= module.scales[rank];
    }
    if (ranks > 0) {
      lora_kernels(kernels_, type)
          .expand(module.b, ranks, hidden_, {z_row, z.stride}, rows, 1, 0, hidden_, y);
    }
    scale_and_shift(module, rows, {0, hidden_}, y);
  }
}

void SegmentedLora::replace_logits(Range columns, ConstRows x, Rows logits) const {
  for (const LoraPlan::Segment& segment : plan_.segments()) {
    const RowOverrides& own = adapters_.view(segment.slot).head_rows;
    const Range at = indices_of(own, columns);
    if (at.begin == at.end) continue;
    const auto rows = plan_.rows(segment);
    kernels_.multiply_own_rows(own_row(own, at.begin, hidden_), hidden_, own.ids.data() + at.begin,
                               at.end - at.begin, x, rows.data(), static_cast<int>(rows.size()),
                               logits);
  }
}

}  // namespace tessera
