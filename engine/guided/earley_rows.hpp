// earley_rows.hpp — what a grammar may go on with after some lexemes: Earley's sets, interned.
//
// A row is a set of items: a dotted rule, and where to return when it is complete: a nonterminal
// that a row was waiting for (Earley 1970; returns rather than positions, as in a graph-structured
// stack, Tomita 1985). Nothing in a row says how much text lies behind it. So rows with the same
// items are one row, a list is a loop, and everything that is derived from a row (its lexemes, its
// successors, its masks) is worked out once.
//
// - A rule that is complete is worked off when its last lexeme ends and is not kept.
// - Nullable symbols are skipped when the dot reaches them (Aycock and Horspool 2002).
// - If all that a row waits for with a nonterminal B is the end of A, B returns where A does (the
//   effect of Leo 1991): right recursion takes no more rows than left recursion.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "engine/guided/fuel.hpp"
#include "engine/guided/grammar.hpp"
#include "engine/guided/hash_index.hpp"

namespace tessera::guided {

using RowId = std::uint32_t;
using ReturnId = std::uint32_t;

struct EarleyItem {
  Dot dot;
  ReturnId to;

  bool operator==(const EarleyItem&) const = default;
  auto operator<=>(const EarleyItem&) const = default;
};

// Where a complete nonterminal returns to: the items of `row` with the dot before it.
struct EarleyReturn {
  RowId row;
  NonterminalId nonterminal;
};

// Not thread-safe. The grammar and the fuel outlive it. Spends fuel for every item it looks at;
// more than max_earley_items in a row are FuelExhausted.
class EarleyRows {
 public:
  static constexpr RowId kNone = 0;
  static constexpr ReturnId kAccept = 0;  // the start symbol is complete: the text may end

  // Lexemes that end at one place, and the row in which they began.
  struct Ended {
    RowId row;
    std::span<const LexemeId> lexemes;
  };

  EarleyRows(const Grammar& grammar, Fuel& fuel, const GuidedLimits& limits);

  RowId start() const { return start_; }
  RowId after(std::span<const Ended> ended);
  bool accepting(RowId row) const { return rows_[row].accepting; }
  std::span<const LexemeId> lexemes(RowId row);  // legal here, sorted; the ignored ones too
  std::span<const EarleyItem> kernel(RowId row) const { return rows_[row].kernel; }
  // The items of a row with the dot before `symbol`.
  std::span<const EarleyItem> waiting(RowId row, GrammarSymbol symbol);
  EarleyReturn returns(ReturnId id) const { return returns_[id]; }
  std::size_t bytes() const;

 private:
  struct Row {
    std::vector<EarleyItem> kernel;  // sorted
    bool accepting = false;
    bool closed = false;            // what follows is worked out
    std::vector<EarleyItem> items;  // with what the kernel predicts; sorted by the next symbol
    std::vector<LexemeId> lexemes;
  };
  // What a row predicts, while it is being closed.
  struct Prediction {
    NonterminalId nonterminal;
    bool only_tails = true;  // whatever waits for it ends with it
    bool several = false;    // and they return to different places
    ReturnId to = kNowhere;
  };
  static constexpr ReturnId kNowhere = ~ReturnId{0};

  GrammarSymbol next(EarleyItem item) const { return grammar_.symbols[item.dot]; }
  void close(RowId row);
  std::vector<Prediction> predict(const Row& row);
  void meet(std::vector<Prediction>& found, Dot dot);
  void choose_returns(RowId row, std::vector<Prediction>& found);
  void add_waiter(Prediction& prediction, Dot dot, ReturnId to);
  void advance(EarleyItem item);
  void complete(ReturnId to);
  RowId intern(std::vector<EarleyItem> kernel, bool accepting);
  void check_size(std::size_t items) const;

  const Grammar& grammar_;
  Fuel& fuel_;
  std::size_t max_items_;
  std::vector<Row> rows_;  // [0]: none
  std::vector<EarleyReturn> returns_;
  HashIndex index_;
  RowId start_ = kNone;
  std::size_t item_bytes_ = 0;

  // Of the row being made.
  std::vector<EarleyItem> kernel_;
  std::vector<ReturnId> completed_;
  std::vector<ReturnId> to_complete_;
  bool accepting_ = false;
  std::vector<std::uint32_t> prediction_of_;  // by nonterminal: place in `found`, plus 1
  bool closing_ = false;
};

}  // namespace tessera::guided
