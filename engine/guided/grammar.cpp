#include "engine/guided/grammar.hpp"

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <utility>

#include "engine/guided/grammar_regular.hpp"

namespace tessera::guided {
namespace {

using Kind = GrammarExpr::Kind;
using Symbol = GrammarSymbol;
using Body = std::vector<Symbol>;

// Symbols of all rules together, for each rule that is allowed.
constexpr std::size_t kSymbolsPerRule = 16;

class Lowering {
 public:
  Lowering(GrammarDraft draft, std::string_view source, RegexPool& pool, const GuidedLimits& limits)
      : draft_(std::move(draft)),
        pool_(pool),
        limits_(limits),
        findings_(source, limits.max_findings),
        merge_(draft_.ignored.empty()),
        regular_(draft_, pool, merge_) {}

  std::variant<Grammar, GuidedFindings> run();

 private:
  struct Rule {
    NonterminalId head;
    Body body;
  };

  void check_rules();
  void check_terminal(const GrammarRule& rule, std::uint32_t index);
  void lower_ignored();
  void lower_rules();
  void lower_alternatives(NonterminalId head, ExprId expr);
  void append(ExprId expr, Body& out);
  void append_sequence(const GrammarExpr& expr, Body& out);
  void append_repeat(const GrammarExpr& expr, Body& out);
  void append_lexeme(RegexId regex, std::size_t offset, Body& out);
  Symbol one_symbol(ExprId expr);
  Symbol rule_symbol(std::uint32_t rule);
  Symbol many(Symbol item);
  std::optional<LexemeId> some_text(RegexId regex, std::size_t offset);
  NonterminalId new_nonterminal() { return num_nonterminals_++; }
  void add_rule(NonterminalId head, Body body);
  void find_nullable();
  void check_productive();
  Grammar lay_out();
  void lay_out_rule(Grammar& grammar, const Rule& rule) const;

  GrammarDraft draft_;
  RegexPool& pool_;
  const GuidedLimits& limits_;
  GrammarFindings findings_;
  bool merge_;
  RegularParts regular_;

  std::vector<GrammarLexeme> lexemes_;
  std::map<RegexId, LexemeId> lexeme_index_;
  std::map<LexemeId, NonterminalId> optional_index_;
  std::vector<LexemeId> ignored_;
  std::map<std::uint32_t, NonterminalId> rule_nonterminals_;
  std::vector<std::uint32_t> todo_;  // rules that have a nonterminal but no productions yet
  std::map<Symbol, NonterminalId> many_;
  std::vector<Rule> rules_;
  std::vector<bool> nullable_;
  NonterminalId num_nonterminals_ = 0;
  std::size_t num_symbols_ = 0;
  bool too_large_ = false;
};

std::variant<Grammar, GuidedFindings> Lowering::run() {
  check_rules();
  if (!findings_.empty()) return findings_.take();
  const NonterminalId accept = new_nonterminal();
  add_rule(accept, {rule_symbol(draft_.start)});
  lower_ignored();
  lower_rules();
  if (findings_.empty()) check_productive();
  if (!findings_.empty()) return findings_.take();
  find_nullable();
  return lay_out();
}

void Lowering::check_rules() {
  for (std::uint32_t i = 0; i < draft_.rules.size(); ++i) {
    const GrammarRule& rule = draft_.rules[i];
    if (!rule.body) {
      findings_.add(rule.offset, rule.name, "'" + rule.name + "' is used but not defined.");
    } else if (rule.terminal) {
      check_terminal(rule, i);
    }
  }
}

void Lowering::check_terminal(const GrammarRule& rule, std::uint32_t index) {
  const auto regex = regular_.rule(index);
  if (!regex) {
    findings_.add(rule.offset, rule.name,
                  "Terminal '" + rule.name + "' uses itself, or a terminal that is not regular.");
  } else if (!pool_.alive(*regex)) {
    findings_.add(rule.offset, rule.name, "Terminal '" + rule.name + "' matches no text.");
  }
}

void Lowering::lower_ignored() {
  for (const std::uint32_t rule : draft_.ignored)
    if (const auto text = some_text(*regular_.rule(rule), draft_.rules[rule].offset))
      ignored_.push_back(*text);
  std::ranges::sort(ignored_);
  ignored_.erase(std::unique(ignored_.begin(), ignored_.end()), ignored_.end());
}

void Lowering::lower_rules() {
  while (!todo_.empty()) {
    const std::uint32_t rule = todo_.back();
    todo_.pop_back();
    lower_alternatives(rule_nonterminals_.at(rule), *draft_.rules[rule].body);
  }
}

// Alternatives that are written in place and regular are one lexeme together.
void Lowering::lower_alternatives(NonterminalId head, ExprId id) {
  const GrammarExpr& expr = draft_.exprs[id];
  Body body;
  if (expr.kind != Kind::kChoice || regular_.expr(id)) {
    append(id, body);
    add_rule(head, std::move(body));
    return;
  }
  std::vector<RegexId> texts;
  for (const ExprId part : expr.parts) {
    const auto regex = regular_.expr(part);
    if (!regex || regular_.has_reference(part)) {
      lower_alternatives(head, part);
    } else {
      texts.push_back(*regex);
    }
  }
  if (texts.empty()) return;
  append_lexeme(pool_.either(texts), expr.offset, body);
  add_rule(head, std::move(body));
}

void Lowering::append(ExprId id, Body& out) {
  const GrammarExpr& expr = draft_.exprs[id];
  if (const auto regex = regular_.expr(id)) {
    append_lexeme(*regex, expr.offset, out);
    return;
  }
  switch (expr.kind) {
    case Kind::kRegex:
      break;
    case Kind::kReference:
      out.push_back(rule_symbol(expr.index));
      break;
    case Kind::kDocument:
      lexemes_.push_back({.child = expr.index});
      out.push_back({Symbol::Kind::kLexeme, static_cast<LexemeId>(lexemes_.size() - 1)});
      break;
    case Kind::kSequence:
      append_sequence(expr, out);
      break;
    case Kind::kChoice: {
      const NonterminalId head = new_nonterminal();
      lower_alternatives(head, id);
      out.push_back({Symbol::Kind::kNonterminal, head});
      break;
    }
    case Kind::kRepeat:
      append_repeat(expr, out);
      break;
  }
}

// Neighbours that are written in place and regular are one lexeme.
void Lowering::append_sequence(const GrammarExpr& expr, Body& out) {
  std::vector<RegexId> run;
  const auto flush = [&] {
    if (!run.empty()) append_lexeme(pool_.concat(run), expr.offset, out);
    run.clear();
  };
  for (const ExprId part : expr.parts) {
    const auto regex = regular_.expr(part);
    if (merge_ && regex && !regular_.has_reference(part)) {
      run.push_back(*regex);
      continue;
    }
    flush();
    append(part, out);
  }
  flush();
}

void Lowering::append_repeat(const GrammarExpr& expr, Body& out) {
  const std::uint64_t copies = expr.max == RegexPool::kUnbounded ? expr.min : expr.max;
  if (num_symbols_ + copies > limits_.max_grammar_rules * kSymbolsPerRule) {
    if (!too_large_) findings_.add(expr.offset, "", "This repetition makes the grammar too large.");
    too_large_ = true;
    return;
  }
  if (expr.max == 0) return;
  const Symbol item = one_symbol(expr.parts[0]);
  out.insert(out.end(), expr.min, item);
  if (expr.max == RegexPool::kUnbounded) {
    out.push_back(many(item));
    return;
  }
  // At most n more: nothing, or one and at most n - 1 more.
  std::optional<Symbol> rest;
  for (std::uint32_t i = expr.min; i < expr.max; ++i) {
    const NonterminalId head = new_nonterminal();
    add_rule(head, {});
    add_rule(head, rest ? Body{item, *rest} : Body{item});
    rest = Symbol{Symbol::Kind::kNonterminal, head};
  }
  if (rest) out.push_back(*rest);
}

// Any number of `item`, by left recursion: rows of an Earley parser do not grow with it.
Symbol Lowering::many(Symbol item) {
  const auto [it, is_new] = many_.try_emplace(item, num_nonterminals_);
  const Symbol list = {Symbol::Kind::kNonterminal, it->second};
  if (is_new) {
    new_nonterminal();
    add_rule(list.index, {});
    add_rule(list.index, {list, item});
  }
  return list;
}

// A lexeme is never the empty text: where it could be, it is optional.
void Lowering::append_lexeme(RegexId regex, std::size_t offset, Body& out) {
  const auto text = some_text(regex, offset);
  if (!text) return;
  const Symbol symbol = {Symbol::Kind::kLexeme, *text};
  if (!pool_.nullable(regex)) {
    out.push_back(symbol);
    return;
  }
  const auto [it, is_new] = optional_index_.try_emplace(*text, num_nonterminals_);
  const NonterminalId head = it->second;
  if (is_new) {
    new_nonterminal();
    add_rule(head, {});
    add_rule(head, {symbol});
  }
  out.push_back({Symbol::Kind::kNonterminal, head});
}

// The lexeme of the texts of `regex` that are not empty; nullopt if the empty one is all there is.
std::optional<LexemeId> Lowering::some_text(RegexId regex, std::size_t offset) {
  const bool nullable = pool_.nullable(regex);
  if (nullable) {
    const std::array some = {pool_.any_code_point(), RegexPool::kAnything};
    const std::array both = {regex, pool_.concat(some)};
    regex = pool_.both(both);
  }
  const auto [it, is_new] =
      lexeme_index_.try_emplace(regex, static_cast<LexemeId>(lexemes_.size()));
  if (!is_new) return it->second;
  const bool alive = pool_.alive(regex);
  if (!alive && nullable) {
    lexeme_index_.erase(it);
    return std::nullopt;
  }
  if (!alive) findings_.add(offset, "", "This matches no text, whatever comes.");
  lexemes_.push_back({.regex = regex});
  return it->second;
}

Symbol Lowering::one_symbol(ExprId expr) {
  Body body;
  append(expr, body);
  if (body.size() == 1) return body[0];
  const NonterminalId head = new_nonterminal();
  add_rule(head, std::move(body));
  return {Symbol::Kind::kNonterminal, head};
}

Symbol Lowering::rule_symbol(std::uint32_t rule) {
  const auto [it, is_new] = rule_nonterminals_.try_emplace(rule, num_nonterminals_);
  if (is_new) {
    new_nonterminal();
    todo_.push_back(rule);
  }
  return {Symbol::Kind::kNonterminal, it->second};
}

void Lowering::add_rule(NonterminalId head, Body body) {
  num_symbols_ += body.size() + 1;
  if (num_symbols_ > limits_.max_grammar_rules * kSymbolsPerRule && !too_large_) {
    findings_.add(0, "", "The grammar has too many rules.");
    too_large_ = true;
  }
  if (!too_large_) rules_.push_back({head, std::move(body)});
}

// Each fixpoint below meets every occurrence of a nonterminal once.
template <class Rules, class IsKnown>
std::vector<bool> least_fixpoint(const Rules& rules, std::size_t num_nonterminals, IsKnown known) {
  std::vector<bool> holds(num_nonterminals);
  std::vector<std::vector<std::size_t>> users(num_nonterminals);
  std::vector<std::size_t> open(rules.size());
  std::vector<std::size_t> ready;
  for (std::size_t i = 0; i < rules.size(); ++i) {
    for (const Symbol symbol : rules[i].body) {
      if (known(symbol)) continue;
      ++open[i];
      if (symbol.kind == Symbol::Kind::kNonterminal) users[symbol.index].push_back(i);
    }
    if (open[i] == 0) ready.push_back(i);
  }
  while (!ready.empty()) {
    const NonterminalId head = rules[ready.back()].head;
    ready.pop_back();
    if (holds[head]) continue;
    holds[head] = true;
    for (const std::size_t user : users[head])
      if (--open[user] == 0) ready.push_back(user);
  }
  return holds;
}

void Lowering::check_productive() {
  const auto is_lexeme = [](Symbol symbol) { return symbol.kind == Symbol::Kind::kLexeme; };
  const auto productive = least_fixpoint(rules_, num_nonterminals_, is_lexeme);
  for (const auto& [rule, nonterminal] : rule_nonterminals_) {
    if (productive[nonterminal]) continue;
    const GrammarRule& written = draft_.rules[rule];
    findings_.add(written.offset, written.name,
                  "'" + written.name + "' derives no text: every alternative needs itself.");
  }
}

void Lowering::find_nullable() {
  nullable_ = least_fixpoint(rules_, num_nonterminals_, [](Symbol) { return false; });
}

Grammar Lowering::lay_out() {
  Grammar grammar;
  grammar.lexemes = std::move(lexemes_);
  grammar.ignored = std::move(ignored_);
  grammar.nonterminals.resize(num_nonterminals_);
  for (NonterminalId i = 0; i < num_nonterminals_; ++i)
    grammar.nonterminals[i].nullable = nullable_[i];
  for (const Rule& rule : rules_)
    if (!rule.body.empty()) lay_out_rule(grammar, rule);
  grammar.start = grammar.nonterminals[0].rules.at(0);
  grammar.children = std::move(draft_.children);
  return grammar;
}

void Lowering::lay_out_rule(Grammar& grammar, const Rule& rule) const {
  GrammarNonterminal& head = grammar.nonterminals[rule.head];
  const auto first = static_cast<Dot>(grammar.symbols.size());
  head.rules.push_back(first);
  bool leading = true;  // everything so far may be empty
  for (const Symbol symbol : rule.body) {
    if (leading) head.initial.push_back(static_cast<Dot>(grammar.symbols.size()));
    leading = leading && symbol.kind == Symbol::Kind::kNonterminal && nullable_[symbol.index];
    grammar.symbols.push_back(symbol);
  }
  grammar.symbols.push_back({Symbol::Kind::kEnd, rule.head});
}

}  // namespace

std::size_t Grammar::bytes() const {
  std::size_t total = lexemes.size() * sizeof(GrammarLexeme) + symbols.size() * sizeof(Symbol);
  for (const GrammarNonterminal& nonterminal : nonterminals) {
    total += sizeof(GrammarNonterminal);
    total += (nonterminal.rules.size() + nonterminal.initial.size()) * sizeof(Dot);
  }
  for (const auto& child : children) total += child->bytes();
  return total;
}

std::variant<Grammar, GuidedFindings> lower_grammar(GrammarDraft draft, std::string_view source,
                                                    RegexPool& pool, const GuidedLimits& limits) {
  return Lowering(std::move(draft), source, pool, limits).run();
}

}  // namespace tessera::guided
