#include "kernels/reference/reference_adapters.hpp"

#include <algorithm>

namespace tessera::reference {
namespace {

// Its own row for the token, as an index into RowOverrides::rows; -1: none.
std::ptrdiff_t index_of(const RowOverrides& overrides, TokenId token) {
  const auto found = std::find(overrides.ids.begin(), overrides.ids.end(), token);
  return found == overrides.ids.end() ? -1 : found - overrides.ids.begin();
}

}  // namespace

ReferenceAdapters::ReferenceAdapters(int max_rank)
    : low_rank_(static_cast<std::size_t>(max_rank)) {}

AdapterSlot ReferenceAdapters::add(const LoraView& adapter) {
  auto free = std::find_if(adapters_.begin(), adapters_.end(),
                           [](const auto& held) { return !held.has_value(); });
  if (free == adapters_.end()) free = adapters_.emplace(free);
  const auto slot = static_cast<AdapterSlot>(free - adapters_.begin());
  *free = Held{adapter, {.slot = slot, .weight = 1.0F}};
  return slot;
}

void ReferenceAdapters::remove(AdapterSlot slot) {
  adapters_[static_cast<std::size_t>(slot)].reset();
}

std::span<const MixTerm> ReferenceAdapters::terms(int row, int seq) const {
  const auto sequence = static_cast<std::size_t>(seq);
  const std::int32_t position = input_.positions[static_cast<std::size_t>(row)];
  if (!input_.lora_start.empty() && position < input_.lora_start[sequence]) return {};
  if (!input_.mixes.empty()) {
    const auto first = static_cast<std::size_t>(input_.mix_indptr[sequence]);
    const auto last = static_cast<std::size_t>(input_.mix_indptr[sequence + 1]);
    if (first < last) return input_.mixes.subspan(first, last - first);
  }
  const AdapterSlot slot = input_.slots[sequence];
  if (slot == kNoAdapter) return {};
  return {&at(slot)->alone, 1};
}

void ReferenceAdapters::expand(const LoraWeights& lora, const LoraModule& module, float weight,
                               Row y) {
  const std::span<float> z = low_rank(module);
  scale_by(z, weight);
  lora.expand(z, y);
  for (std::size_t n = 0; module.out_scale != nullptr && n < y.size(); ++n) {
    y[n] *= module.out_scale[n];
  }
  for (std::size_t n = 0; module.bias != nullptr && n < y.size(); ++n) y[n] += module.bias[n];
}

void ReferenceAdapters::change_embedding(int row, int seq, TokenId token, int vocab_size, Row y) {
  for (const MixTerm& term : terms(row, seq)) {
    const LoraModule& module = view(term).embed;
    const LoraWeights lora(module, view(term).type, vocab_size, static_cast<int>(y.size()));
    const std::span<float> z = low_rank(module);
    for (std::size_t r = 0; r < z.size(); ++r) z[r] = lora.a(r, static_cast<std::size_t>(token));
    expand(lora, module, term.weight, y);
  }
}

void ReferenceAdapters::replace_embedding(int row, int seq, TokenId token, Row y) const {
  for (const MixTerm& term : terms(row, seq)) {
    const RowOverrides& overrides = view(term).embed_rows;
    const std::ptrdiff_t index = index_of(overrides, token);
    if (index < 0) continue;
    const std::size_t first = static_cast<std::size_t>(index) * y.size();
    for (std::size_t k = 0; k < y.size(); ++k) {
      y[k] = element(overrides.rows, row_type(view(term).type), first + k);
    }
  }
}

void ReferenceAdapters::replace_logits(int row, int seq, ConstRow x, Row logits) const {
  for (const MixTerm& term : terms(row, seq)) {
    const RowOverrides& overrides = view(term).head_rows;
    for (std::size_t i = 0; i < overrides.ids.size(); ++i) {
      double sum = 0.0;
      for (std::size_t k = 0; k < x.size(); ++k) {
        const float weight = element(overrides.rows, row_type(view(term).type), i * x.size() + k);
        sum += static_cast<double>(weight) * static_cast<double>(x[k]);
      }
      logits[static_cast<std::size_t>(overrides.ids[i])] = static_cast<float>(sum);
    }
  }
}

}  // namespace tessera::reference
