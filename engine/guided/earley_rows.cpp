#include "engine/guided/earley_rows.hpp"

#include <algorithm>
#include <utility>

namespace tessera::guided {
namespace {

using Kind = GrammarSymbol::Kind;

template <class T>
void sort_unique(std::vector<T>& values) {
  std::ranges::sort(values);
  values.erase(std::unique(values.begin(), values.end()), values.end());
}

}  // namespace

EarleyRows::EarleyRows(const Grammar& grammar, Fuel& fuel, const GuidedLimits& limits)
    : grammar_(grammar),
      fuel_(fuel),
      max_items_(static_cast<std::size_t>(limits.max_earley_items)),
      rows_(1),
      returns_(1),
      prediction_of_(grammar.nonterminals.size()) {
  const GrammarSymbol symbol = grammar.symbols[grammar.start];
  const bool empty =
      symbol.kind == Kind::kNonterminal && grammar.nonterminals[symbol.index].nullable;
  start_ = intern({{grammar.start, kAccept}}, empty);
}

RowId EarleyRows::after(std::span<const Ended> ended) {
  kernel_.clear();
  completed_.clear();
  to_complete_.clear();  // something may be left of a row for which the fuel did not last
  accepting_ = false;
  for (const Ended& end : ended) {
    for (const LexemeId lexeme : end.lexemes) {
      if (std::ranges::binary_search(grammar_.ignored, lexeme)) {
        const Row& row = rows_[end.row];
        kernel_.insert(kernel_.end(), row.kernel.begin(), row.kernel.end());
        accepting_ = accepting_ || row.accepting;
      }
      for (const EarleyItem item : waiting(end.row, {Kind::kLexeme, lexeme})) advance(item);
    }
  }
  while (!to_complete_.empty()) {
    const ReturnId to = to_complete_.back();
    to_complete_.pop_back();
    const EarleyReturn place = returns_[to];
    for (const EarleyItem item : waiting(place.row, {Kind::kNonterminal, place.nonterminal}))
      advance(item);
  }
  sort_unique(kernel_);
  return intern(kernel_, accepting_);
}

// Moves the dot over one symbol, and over the nullable ones behind it.
void EarleyRows::advance(EarleyItem item) {
  for (++item.dot;; ++item.dot) {
    fuel_.spend();
    const GrammarSymbol symbol = next(item);
    if (symbol.kind == Kind::kEnd) return complete(item.to);
    if (kernel_.size() == max_items_) {  // an ambiguous grammar comes to the same in many ways
      sort_unique(kernel_);
      check_size(2 * kernel_.size());
    }
    kernel_.push_back(item);
    if (symbol.kind != Kind::kNonterminal || !grammar_.nonterminals[symbol.index].nullable) return;
  }
}

void EarleyRows::complete(ReturnId to) {
  if (to == kAccept) {
    accepting_ = true;
    return;
  }
  const auto at = std::ranges::lower_bound(completed_, to);
  if (at != completed_.end() && *at == to) return;
  completed_.insert(at, to);
  to_complete_.push_back(to);
}

RowId EarleyRows::intern(std::vector<EarleyItem> kernel, bool accepting) {
  std::uint64_t hash = accepting ? 1 : 0;
  for (const EarleyItem item : kernel) hash = mix(mix(hash, item.dot), item.to);
  const std::uint32_t known = index_.find(hash, [&](std::uint32_t i) {
    return rows_[i].accepting == accepting && rows_[i].kernel == kernel;
  });
  if (known != HashIndex::kNone) return known;
  item_bytes_ += kernel.size() * sizeof(EarleyItem);
  Row& row = rows_.emplace_back();
  row.kernel = std::move(kernel);
  row.accepting = accepting;
  const auto id = static_cast<RowId>(rows_.size() - 1);
  index_.insert(hash, id);
  return id;
}

std::span<const LexemeId> EarleyRows::lexemes(RowId row) {
  close(row);
  return rows_[row].lexemes;
}

std::span<const EarleyItem> EarleyRows::waiting(RowId row, GrammarSymbol symbol) {
  close(row);
  const std::vector<EarleyItem>& items = rows_[row].items;
  const auto next_of = [this](EarleyItem item) { return next(item); };
  const auto begin = std::ranges::lower_bound(items, symbol, {}, next_of);
  const auto end = std::ranges::upper_bound(begin, items.end(), symbol, {}, next_of);
  return {begin, end};
}

void EarleyRows::close(RowId id) {
  if (rows_[id].closed) return;
  if (closing_) std::ranges::fill(prediction_of_, 0);  // the fuel did not last for the row before
  closing_ = true;
  std::vector<Prediction> found = predict(rows_[id]);
  choose_returns(id, found);
  Row& row = rows_[id];
  row.items = row.kernel;
  for (const Prediction& prediction : found) {
    prediction_of_[prediction.nonterminal] = 0;
    for (const Dot dot : grammar_.nonterminals[prediction.nonterminal].initial)
      row.items.push_back({dot, prediction.to});
    check_size(row.items.size());
  }
  fuel_.spend(row.items.size());
  std::ranges::sort(row.items, [this](EarleyItem a, EarleyItem b) {
    const GrammarSymbol first = next(a);
    const GrammarSymbol second = next(b);
    return first != second ? first < second : a < b;
  });
  row.items.erase(std::unique(row.items.begin(), row.items.end()), row.items.end());
  row.lexemes = grammar_.ignored;
  for (const EarleyItem item : row.items)
    if (next(item).kind == Kind::kLexeme) row.lexemes.push_back(next(item).index);
  sort_unique(row.lexemes);
  item_bytes_ += row.items.size() * sizeof(EarleyItem) + row.lexemes.size() * sizeof(LexemeId);
  row.closed = true;
  closing_ = false;
}

// All nonterminals that may begin here, each after one that it was met in.
std::vector<EarleyRows::Prediction> EarleyRows::predict(const Row& row) {
  std::vector<Prediction> found;
  for (const EarleyItem item : row.kernel) meet(found, item.dot);
  for (std::size_t i = 0; i < found.size(); ++i)
    for (const Dot dot : grammar_.nonterminals[found[i].nonterminal].initial) meet(found, dot);
  return found;
}

void EarleyRows::meet(std::vector<Prediction>& found, Dot dot) {
  fuel_.spend();
  const GrammarSymbol symbol = grammar_.symbols[dot];
  if (symbol.kind != Kind::kNonterminal || prediction_of_[symbol.index] != 0) return;
  found.push_back({.nonterminal = symbol.index});
  prediction_of_[symbol.index] = static_cast<std::uint32_t>(found.size());
}

void EarleyRows::choose_returns(RowId id, std::vector<Prediction>& found) {
  const auto prediction_before = [&](Dot dot) -> Prediction* {
    const GrammarSymbol symbol = grammar_.symbols[dot];
    if (symbol.kind != Kind::kNonterminal) return nullptr;
    return &found[prediction_of_[symbol.index] - 1];
  };
  for (const EarleyItem item : rows_[id].kernel)
    if (Prediction* waited_for = prediction_before(item.dot))
      add_waiter(*waited_for, item.dot, item.to);
  // A rule that waits for a nonterminal whose own return is not chosen yet keeps that one from
  // passing on: two orders of the same row are one order, so this is still the same for equal rows.
  for (std::size_t i = 0; i < found.size(); ++i)
    for (const Dot dot : grammar_.nonterminals[found[i].nonterminal].initial)
      if (Prediction* waited_for = prediction_before(dot))
        if (waited_for <= &found[i]) waited_for->only_tails = false;
  for (Prediction& prediction : found) {
    if (!prediction.only_tails || prediction.several || prediction.to == kNowhere) {
      returns_.push_back({id, prediction.nonterminal});
      prediction.to = static_cast<ReturnId>(returns_.size() - 1);
    }
    for (const Dot dot : grammar_.nonterminals[prediction.nonterminal].initial) {
      Prediction* waited_for = prediction_before(dot);
      if (waited_for != nullptr && waited_for > &prediction)
        add_waiter(*waited_for, dot, prediction.to);
    }
  }
}

void EarleyRows::add_waiter(Prediction& prediction, Dot dot, ReturnId to) {
  if (grammar_.symbols[dot + 1].kind != Kind::kEnd) {
    prediction.only_tails = false;
  } else if (prediction.to == kNowhere) {
    prediction.to = to;
  } else if (prediction.to != to) {
    prediction.several = true;
  }
}

void EarleyRows::check_size(std::size_t items) const {
  if (items > max_items_) throw FuelExhausted{};
}

std::size_t EarleyRows::bytes() const {
  return rows_.capacity() * sizeof(Row) + returns_.capacity() * sizeof(EarleyReturn) +
         index_.bytes() + item_bytes_;
}

}  // namespace tessera::guided
