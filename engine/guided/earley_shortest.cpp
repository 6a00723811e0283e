#include "engine/guided/earley_shortest.hpp"

#include <algorithm>
#include <functional>
#include <queue>
#include <unordered_set>
#include <utility>

namespace tessera::guided {
namespace {

using Kind = GrammarSymbol::Kind;
constexpr std::size_t kFirst = ~std::size_t{0} / 2;

// Longer than any text that could be meant; sums of it do not overflow.
constexpr std::uint64_t kLongest = std::uint64_t{1} << 40U;

}  // namespace

const std::string& EarleyShortest::text_of(LexemeId lexeme) {
  std::optional<std::string>& text = texts_[lexeme];
  if (!text) text = reader_.shortest_rest(reader_.start(lexeme));
  return *text;
}

EarleyShortest::Length EarleyShortest::length_of(GrammarSymbol symbol) const {
  return symbol.kind == Kind::kLexeme ? texts_[symbol.index]->size() : lengths_[symbol.index];
}

// What the symbols from `dot` to the end of the rule take.
EarleyShortest::Length EarleyShortest::measured(Dot dot) const {
  Length total = 0;
  for (; grammar_.symbols[dot].kind != Kind::kEnd; ++dot) {
    const Length length = length_of(grammar_.symbols[dot]);
    if (length == kNever) return kNever;
    total = std::min(total + length, kLongest);
  }
  return total;
}

// The shortest derivation of every nonterminal, the shorter ones first (Knuth 1977).
void EarleyShortest::measure() {
  if (measured_) return;
  texts_.resize(grammar_.lexemes.size());
  for (LexemeId i = 0; i < grammar_.lexemes.size(); ++i) text_of(i);
  lengths_.assign(grammar_.nonterminals.size(), kNever);
  best_.assign(grammar_.nonterminals.size(), 0);
  struct Found {
    Length length;
    NonterminalId head;
    Dot rule;
    bool operator>(const Found& other) const { return length > other.length; }
  };
  std::priority_queue<Found, std::vector<Found>, std::greater<>> queue;
  std::vector<std::vector<std::pair<NonterminalId, Dot>>> users(grammar_.nonterminals.size());
  const auto try_rule = [&](NonterminalId head, Dot rule) {
    fuel_.spend();
    const Length length = measured(rule);
    if (length != kNever) queue.push({length, head, rule});
  };
  for (NonterminalId head = 0; head < grammar_.nonterminals.size(); ++head) {
    if (grammar_.nonterminals[head].nullable) lengths_[head] = 0;
    for (const Dot rule : grammar_.nonterminals[head].rules)
      for (Dot dot = rule; grammar_.symbols[dot].kind != Kind::kEnd; ++dot)
        if (grammar_.symbols[dot].kind == Kind::kNonterminal)
          users[grammar_.symbols[dot].index].emplace_back(head, rule);
  }
  for (NonterminalId head = 0; head < grammar_.nonterminals.size(); ++head)
    for (const Dot rule : grammar_.nonterminals[head].rules) try_rule(head, rule);
  while (!queue.empty()) {
    const Found found = queue.top();
    queue.pop();
    if (lengths_[found.head] != kNever) continue;
    lengths_[found.head] = found.length;
    best_[found.head] = found.rule;
    for (const auto& [head, rule] : users[found.head])
      if (lengths_[head] == kNever) try_rule(head, rule);
  }
  measured_ = true;
}

void EarleyShortest::push(Step step) {
  fuel_.spend();
  const Length length = measured(step.dot);
  step.length = std::min(step.length + length, kLongest);
  steps_.push_back(step);
}

void EarleyShortest::begin(std::span<const Start> starts) {
  steps_.clear();
  for (std::size_t i = 0; i < starts.size(); ++i) {
    const auto [row, lexeme, text] = starts[i];
    for (const EarleyItem item : rows_.waiting(row, {Kind::kLexeme, lexeme}))
      push({text.size(), item.to, kFirst + i, item.dot + 1});
    if (!std::ranges::binary_search(grammar_.ignored, lexeme)) continue;
    if (rows_.accepting(row))
      push({text.size(), EarleyRows::kAccept, kFirst + i, grammar_.start + 1});
    for (const EarleyItem item : rows_.kernel(row))
      push({text.size(), item.to, kFirst + i, item.dot});
  }
}

// Dijkstra's search from the lexemes that can be ended to the end of the text.
std::string EarleyShortest::rest(std::span<const Start> starts) {
  measure();
  begin(starts);
  const auto longer = [this](std::size_t a, std::size_t b) {
    return steps_[a].length > steps_[b].length;
  };
  std::priority_queue<std::size_t, std::vector<std::size_t>, decltype(longer)> queue(longer);
  for (std::size_t i = 0; i < steps_.size(); ++i) queue.push(i);
  std::unordered_set<ReturnId> done;
  while (!queue.empty()) {
    const std::size_t at = queue.top();
    queue.pop();
    const Step step = steps_[at];
    if (step.to == EarleyRows::kAccept) return retrace(starts, at);
    if (!done.insert(step.to).second) continue;
    const EarleyReturn place = rows_.returns(step.to);
    for (const EarleyItem item :
         rows_.waiting(place.row, {Kind::kNonterminal, place.nonterminal})) {
      push({step.length, item.to, at, item.dot + 1});
      queue.push(steps_.size() - 1);
    }
  }
  return {};
}

std::string EarleyShortest::retrace(std::span<const Start> starts, std::size_t at) {
  std::vector<Dot> dots;
  for (; at < kFirst; at = steps_[at].before) dots.push_back(steps_[at].dot);
  std::string text = starts[at - kFirst].text;
  for (auto dot = dots.rbegin(); dot != dots.rend(); ++dot) write(*dot, text);
  return text;
}

// Appends the shortest text of the symbols from `dot` to the end of its rule.
void EarleyShortest::write(Dot dot, std::string& out) {
  std::vector<Dot> stack = {dot};
  while (!stack.empty()) {
    fuel_.spend();
    const GrammarSymbol symbol = grammar_.symbols[stack.back()];
    if (symbol.kind == Kind::kEnd) {
      stack.pop_back();
      continue;
    }
    ++stack.back();
    if (symbol.kind == Kind::kLexeme) {
      fuel_.spend(text_of(symbol.index).size());
      out += text_of(symbol.index);
    } else if (!grammar_.nonterminals[symbol.index].nullable) {
      stack.push_back(best_[symbol.index]);
    }
  }
}

}  // namespace tessera::guided
