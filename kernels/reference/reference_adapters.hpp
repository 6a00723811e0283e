// reference_adapters.hpp — what adapters do to the rows of a step, as plain loops.
//
// A row is changed by its sequence's adapter, or by all those that the sequence mixes, from the
// position on at which they start; any row before is the base's.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "kernels/backend.hpp"
#include "kernels/reference/reference_math.hpp"

namespace tessera::reference {

class ReferenceAdapters {
 public:
  explicit ReferenceAdapters(int max_rank);

  AdapterSlot add(const LoraView& adapter);
  void remove(AdapterSlot slot);

  void begin(const StepInput& input) { input_ = input; }

  // y = out_scale * (y + sum of weight * B (A x)) + bias for a row of sequence `seq`, where
  // find(view) is the module of an adapter, or null.
  template <class Find>
  void change(int row, int seq, const Find& find, ConstRow x, Row y);
  // The same of the embedding, where x is one-hot.
  void change_embedding(int row, int seq, TokenId token, int vocab_size, Row y);

  // y = the adapter's own row of the embedding, if it has one for the token.
  void replace_embedding(int row, int seq, TokenId token, Row y) const;
  // logits[id] = row . x for the adapter's own rows of the head.
  void replace_logits(int row, int seq, ConstRow x, Row logits) const;

 private:
  struct Held {
    LoraView view;
    MixTerm alone;  // itself, as the only term
  };

  // None for a row of the base.
  std::span<const MixTerm> terms(int row, int seq) const;
  const LoraView& view(const MixTerm& term) const { return at(term.slot)->view; }
  const std::optional<Held>& at(AdapterSlot slot) const {
    return adapters_[static_cast<std::size_t>(slot)];
  }
  std::span<float> low_rank(const LoraModule& module) {
    return std::span(low_rank_).first(static_cast<std::size_t>(module.rank));
  }
  void expand(const LoraWeights& lora, const LoraModule& module, float weight, Row y);

  std::vector<std::optional<Held>> adapters_;
  std::vector<float> low_rank_;  // (max_rank,)
  StepInput input_;
};

template <class Find>
void ReferenceAdapters::change(int row, int seq, const Find& find, ConstRow x, Row y) {
  for (const MixTerm& term : terms(row, seq)) {
    const LoraModule* module = find(view(term));
    if (module == nullptr) continue;
    const LoraWeights lora(*module, view(term).type, static_cast<int>(x.size()),
                           static_cast<int>(y.size()));
    lora.shrink(x, low_rank(*module));
    expand(lora, *module, term.weight, y);
  }
}

}  // namespace tessera::reference
