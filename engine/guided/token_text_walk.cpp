#include "engine/guided/token_text_walk.hpp"

#include <algorithm>

namespace tessera::guided {

TextStates& TextStates::of_thread() {
  thread_local TextStates states;
  return states;
}

void TextStates::read(TextDfa& automaton, State state, const CodePointTrie& tokens) {
  const std::span<const CodePointTrie::Node> nodes = tokens.nodes();
  const std::span<const char32_t> symbols = tokens.symbols();
  num_tables_ = 0;
  at_.resize(nodes.size());
  at_[0] = state;
  for (std::size_t i = 1; i < nodes.size(); ++i) {
    const State parent = at_[nodes[i].parent];
    if (parent == TextDfa::kDead) {
      at_[i] = TextDfa::kDead;
      continue;
    }
    const std::uint32_t symbol = nodes[i].symbol;
    const char32_t code_point = symbols[symbol];
    if (code_point < Partition::kAsciiEnd) {
      at_[i] = automaton.step(parent, code_point);
    } else {
      at_[i] = automaton.step_class(parent, class_of(automaton.classes(parent), symbol, tokens));
    }
  }
}

// Beyond ASCII.
std::uint32_t TextStates::class_of(const Partition& partition, std::uint32_t symbol,
                                   const CodePointTrie& tokens) {
  if (partition.beyond.size() == 1) return partition.beyond.front().of;
  for (std::size_t i = 0; i < num_tables_; ++i) {
    if (tables_[i].of == &partition) return tables_[i].classes[symbol];
  }
  if (num_tables_ == kMostTables) return partition.class_beyond(tokens.symbols()[symbol]);
  Classes& table = tables_[num_tables_++];
  make_table(table, partition, tokens);
  return table.classes[symbol];
}

void TextStates::make_table(Classes& table, const Partition& partition,
                            const CodePointTrie& tokens) {
  const std::span<const char32_t> symbols = tokens.symbols();
  table.of = &partition;
  table.classes.resize(symbols.size());
  auto span = partition.beyond.begin();
  for (std::size_t i = 0; i < symbols.size(); ++i) {
    if (symbols[i] < Partition::kAsciiEnd) continue;
    while (span + 1 != partition.beyond.end() && (span + 1)->begin <= symbols[i]) ++span;
    table.classes[i] = span->of;
  }
}

void TextStates::set_alive(const CodePointTrie& tokens, TokenMask& mask) const {
  const std::span<const TokenId> ids = tokens.ids();
  const std::span<const std::uint32_t> nodes = tokens.nodes_of_ids();
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (at_[nodes[i]] != TextDfa::kDead) mask.set(ids[i]);
  }
}

}  // namespace tessera::guided
