#include "engine/guided/grammar_regular.hpp"

#include <algorithm>
#include <array>

namespace tessera::guided {
namespace {

using Kind = GrammarExpr::Kind;
constexpr std::uint32_t kNoRule = ~std::uint32_t{0};

}  // namespace

RegularParts::RegularParts(const GrammarDraft& draft, RegexPool& pool, bool merge)
    : draft_(draft),
      pool_(pool),
      merge_(merge),
      rules_(draft.rules.size()),
      exprs_(draft.exprs.size()) {
  resolve_all();
}

std::optional<RegexId> RegularParts::expr(ExprId id) {
  const GrammarExpr& expr = draft_.exprs[id];
  if (expr.kind == Kind::kRegex) return expr.regex;
  if (expr.kind == Kind::kReference) return rules_[expr.index];
  if (!merge_) return std::nullopt;
  if (!exprs_[id]) {
    const auto found = linear(id, kNoRule, End::kRight);
    exprs_[id] = found ? std::optional(found->without) : std::nullopt;
  }
  return *exprs_[id];
}

bool RegularParts::has_reference(ExprId id) const {
  const GrammarExpr& expr = draft_.exprs[id];
  if (expr.kind == Kind::kReference) return true;
  return std::ranges::any_of(expr.parts, [&](ExprId part) { return has_reference(part); });
}

// Distinct rules that an expression uses.
std::vector<std::uint32_t> RegularParts::uses(ExprId id) const {
  std::vector<std::uint32_t> rules;
  std::vector<ExprId> todo = {id};
  while (!todo.empty()) {
    const GrammarExpr& expr = draft_.exprs[todo.back()];
    todo.pop_back();
    if (expr.kind == Kind::kReference) rules.push_back(expr.index);
    todo.insert(todo.end(), expr.parts.begin(), expr.parts.end());
  }
  std::ranges::sort(rules);
  rules.erase(std::unique(rules.begin(), rules.end()), rules.end());
  return rules;
}

// Rules whose uses are all known come first (Kahn 1962), so that no chain of rules is too long.
void RegularParts::resolve_all() {
  const std::size_t num_rules = draft_.rules.size();
  std::vector<std::vector<std::uint32_t>> users(num_rules);
  std::vector<std::size_t> unknown(num_rules);
  std::vector<std::uint32_t> ready;
  for (std::uint32_t rule = 0; rule < num_rules; ++rule) {
    const GrammarRule& written = draft_.rules[rule];
    if (!written.body || (!merge_ && !written.terminal)) continue;
    for (const std::uint32_t used : uses(*written.body)) {
      if (used == rule) continue;
      users[used].push_back(rule);
      ++unknown[rule];
    }
    if (unknown[rule] == 0) ready.push_back(rule);
  }
  while (!ready.empty()) {
    const std::uint32_t rule = ready.back();
    ready.pop_back();
    rules_[rule] = resolve(rule);
    if (!rules_[rule]) continue;
    for (const std::uint32_t user : users[rule])
      if (--unknown[user] == 0) ready.push_back(user);
  }
}

std::optional<RegexId> RegularParts::resolve(std::uint32_t rule) {
  const GrammarRule& written = draft_.rules[rule];
  if (const auto right = linear(*written.body, rule, End::kRight)) {
    if (written.terminal && right->with != RegexPool::kNothing) return std::nullopt;
    const RegexId again = pool_.repeat(right->with, 0, RegexPool::kUnbounded);
    return join(right->without, again, End::kLeft);
  }
  const auto left = linear(*written.body, rule, End::kLeft);
  if (!left || written.terminal) return std::nullopt;
  const RegexId again = pool_.repeat(left->with, 0, RegexPool::kUnbounded);
  return join(left->without, again, End::kRight);
}

// `second` behind `first`, or before it if the rule itself stands on the left.
RegexId RegularParts::join(RegexId first, RegexId second, End end) {
  const std::array parts =
      end == End::kRight ? std::array{first, second} : std::array{second, first};
  return pool_.concat(parts);
}

std::optional<RegularParts::Linear> RegularParts::linear(ExprId id, std::uint32_t self, End end) {
  const GrammarExpr& expr = draft_.exprs[id];
  switch (expr.kind) {
    case Kind::kRegex:
      return Linear{.without = expr.regex};
    case Kind::kReference:
      if (expr.index == self) return Linear{.with = RegexPool::kEmpty};
      if (!rules_[expr.index]) return std::nullopt;
      return Linear{.without = *rules_[expr.index]};
    case Kind::kDocument:
      return std::nullopt;
    case Kind::kSequence:
      return linear_sequence(expr, self, end);
    case Kind::kChoice:
      return linear_choice(expr, self, end);
    case Kind::kRepeat:
      return linear_repeat(expr, self, end);
  }
  return std::nullopt;
}

// Only the last part (the first, from the left) may use the rule itself.
std::optional<RegularParts::Linear> RegularParts::linear_sequence(const GrammarExpr& expr,
                                                                  std::uint32_t self, End end) {
  std::vector<ExprId> parts = expr.parts;
  if (end == End::kLeft) std::ranges::reverse(parts);
  std::vector<RegexId> plain;
  Linear last = {.without = RegexPool::kEmpty};
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const auto part = linear(parts[i], self, end);
    if (!part) return std::nullopt;
    if (i + 1 == parts.size()) {
      last = *part;
    } else if (part->with != RegexPool::kNothing) {
      return std::nullopt;
    } else {
      plain.push_back(part->without);
    }
  }
  if (end == End::kLeft) std::ranges::reverse(plain);
  const RegexId before = pool_.concat(plain);
  return Linear{.with = join(before, last.with, end), .without = join(before, last.without, end)};
}

std::optional<RegularParts::Linear> RegularParts::linear_choice(const GrammarExpr& expr,
                                                                std::uint32_t self, End end) {
  std::vector<RegexId> with;
  std::vector<RegexId> without;
  for (const ExprId id : expr.parts) {
    const auto part = linear(id, self, end);
    if (!part) return std::nullopt;
    with.push_back(part->with);
    without.push_back(part->without);
  }
  return Linear{.with = pool_.either(with), .without = pool_.either(without)};
}

std::optional<RegularParts::Linear> RegularParts::linear_repeat(const GrammarExpr& expr,
                                                                std::uint32_t self, End end) {
  const auto part = linear(expr.parts[0], self, end);
  if (!part) return std::nullopt;
  if (part->with == RegexPool::kNothing)
    return Linear{.without = pool_.repeat(part->without, expr.min, expr.max)};
  if (expr.max != 1) return std::nullopt;
  const std::array optional = {part->without, RegexPool::kEmpty};
  return Linear{.with = part->with,
                .without = expr.min == 0 ? pool_.either(optional) : part->without};
}

}  // namespace tessera::guided
