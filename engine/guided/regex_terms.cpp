#include "engine/guided/regex_terms.hpp"

#include <algorithm>
#include <map>

#include "engine/text/utf8.hpp"

namespace tessera::guided {
namespace {

using Pool = RegexPool;
using Node = RegexNode;

constexpr std::uint32_t kUnbounded = RegexPool::kUnbounded;
constexpr std::uint64_t kLargestCount = kUnbounded - 1;
constexpr std::size_t kLongestChain = 64;  // of a literal that is spelled as sets

// A length that is too large to count is none: bounds stay bounds.
struct Length {
  std::uint32_t value;
  bool exact = true;
};
Length lower(std::uint64_t length) {
  return length > kLargestCount ? Length{static_cast<std::uint32_t>(kLargestCount), false}
                                : Length{static_cast<std::uint32_t>(length)};
}
Length upper(std::uint64_t length) {
  return length > kLargestCount ? Length{kUnbounded, false}
                                : Length{static_cast<std::uint32_t>(length)};
}
Length sum_upper(std::uint32_t a, std::uint32_t b) {
  if (a == kUnbounded || b == kUnbounded) return {kUnbounded};
  return upper(std::uint64_t{a} + b);
}
Length product_upper(std::uint32_t a, std::uint32_t b) {
  if (a == 0 || b == 0) return {0};
  if (a == kUnbounded || b == kUnbounded) return {kUnbounded};
  return upper(std::uint64_t{a} * b);
}

// Whether the lengths k * [min, max] for k from `from` to `to` leave no gap.
bool gapless(std::uint32_t min, std::uint32_t max, std::uint32_t from, std::uint32_t to) {
  if (from == to) return true;
  if (max == kUnbounded) return from > 0 || min <= 1;
  return (std::uint64_t{from} + 1) * min <= std::uint64_t{from} * max + 1;
}

void erase_value(std::vector<RegexId>& parts, RegexId value) {
  parts.erase(std::remove(parts.begin(), parts.end(), value), parts.end());
}

std::uint64_t hash_of(const Node& node) {
  std::uint64_t hash = mix(static_cast<std::uint64_t>(node.kind), node.a);
  hash = mix(hash, (std::uint64_t{node.b} << 32U) | node.c);
  return mix(hash, node.d);
}

CodePointSet without_surrogates(const CodePointSet& set) {
  CodePointSet out;
  for (const CodePointSet::Range& range : set.ranges()) {
    out.add(range.begin, std::min(range.end, std::max(range.begin, kSurrogateBegin)));
    out.add(std::max(range.begin, kSurrogateEnd), range.end);
  }
  return out;
}

std::uint64_t hash_of(const CodePointSet& set) {
  std::uint64_t hash = 3;
  for (const CodePointSet::Range& range : set.ranges()) {
    hash = mix(hash, (std::uint64_t{range.begin} << 32U) | range.end);
  }
  return hash;
}

}  // namespace

RegexPool::Impl::Impl(Fuel& tank, const GuidedLimits& limit) : fuel(tank), limits(limit) {
  Node nothing;
  nothing.min_length = kUnbounded;
  nothing.alive = Node::Alive::kNo;
  append(nothing, hash_of(nothing));
  Node empty;
  empty.kind = RegexKind::kEmpty;
  empty.nullable = empty.dense = true;
  append(empty, hash_of(empty));
  Node anything;
  anything.kind = RegexKind::kRepeat;
  anything.nullable = anything.dense = true;
  anything.opens_behind = anything.has_kernel = true;
  anything.a = kAnySet;
  anything.c = anything.max_length = kUnbounded;
  append(anything, hash_of(anything));
  CodePointSet all;
  all.add(0, kCodePointEnd);
  set(all);
}

RegexId RegexPool::Impl::append(Node node, std::uint64_t hash) {
  if ((nodes.size() & 0xFFU) == 0xFFU && bytes() > limits.max_constraint_bytes) {
    throw FuelExhausted{};
  }
  nodes.push_back(node);
  const auto id = static_cast<RegexId>(nodes.size() - 1);
  index_.insert(hash, id);
  return id;
}

RegexId RegexPool::Impl::intern(Node node) {
  const std::uint64_t hash = hash_of(node);
  const RegexId found = index_.find(hash, [&](RegexId id) { return nodes[id].same_content(node); });
  return found != HashIndex::kNone ? found : append(node, hash);
}

RegexId RegexPool::Impl::intern_list(Node node, std::span<const RegexId> parts) {
  std::uint64_t hash = static_cast<std::uint64_t>(node.kind);
  for (const RegexId part : parts) hash = mix(hash, part);
  const RegexId found = index_.find(hash, [&](RegexId id) {
    if (nodes[id].kind != node.kind) return false;
    const auto other = children(nodes[id]);
    return std::equal(parts.begin(), parts.end(), other.begin(), other.end());
  });
  if (found != HashIndex::kNone) return found;
  node.a = static_cast<std::uint32_t>(lists.size());
  node.b = static_cast<std::uint32_t>(parts.size());
  lists.insert(lists.end(), parts.begin(), parts.end());
  return append(node, hash);
}

std::uint32_t RegexPool::Impl::intern_set(const CodePointSet& of) {
  const std::uint64_t hash = hash_of(of);
  const std::uint32_t found = set_index_.find(hash, [&](std::uint32_t i) { return sets[i] == of; });
  if (found != HashIndex::kNone) return found;
  sets.push_back(of);
  heap_bytes_ += sizeof(CodePointSet) + of.ranges().size_bytes();
  const auto index = static_cast<std::uint32_t>(sets.size() - 1);
  set_index_.insert(hash, index);
  return index;
}

RegexId RegexPool::Impl::set(const CodePointSet& of) {
  const CodePointSet scalars = without_surrogates(of);
  if (scalars.empty()) return kNothing;
  Node node;
  node.kind = RegexKind::kSet;
  node.dense = true;
  node.a = intern_set(scalars);
  node.min_length = node.max_length = 1;
  return intern(node);
}

RegexId RegexPool::Impl::literal(std::string_view utf8) {
  if (utf8.size() > kLongestChain) return any_of_literals({&utf8, 1});
  std::array<char32_t, kLongestChain> points{};
  std::size_t size = 0;
  while (!utf8.empty()) {
    const Utf8Step step = utf8_step(utf8);
    points[size++] = step.code_point;
    utf8.remove_prefix(step.bytes);
  }
  RegexId term = kEmpty;
  while (size > 0) {
    const char32_t c = points[--size];
    RegexId one = c < ascii_sets_.size() ? ascii_sets_[c] : 0;
    if (one == 0) one = set(CodePointSet(c));
    if (c < ascii_sets_.size()) ascii_sets_[c] = one;
    term = concat(one, term);
  }
  return term;
}

RegexId RegexPool::Impl::any_of_literals(std::span<const std::string_view> strings) {
  std::vector<std::string_view> sorted(strings.begin(), strings.end());
  if (!std::is_sorted(sorted.begin(), sorted.end())) std::sort(sorted.begin(), sorted.end());
  sorted.erase(std::unique(sorted.begin(), sorted.end()), sorted.end());
  if (sorted.empty()) return kNothing;
  if (sorted.size() == 1 && sorted[0].size() <= kLongestChain) return literal(sorted[0]);
  auto table = std::make_unique<LiteralTable>(sorted);
  fuel.spend(sorted.size() / 4 + table->bytes() / 256);
  heap_bytes_ += table->bytes();
  tables.push_back(std::move(table));
  const auto index = static_cast<std::uint32_t>(tables.size() - 1);
  return literals_at(index, tables[index]->start());
}

RegexId RegexPool::Impl::literals_at(std::uint32_t index, LiteralTable::State state) {
  if (state.dead()) return kNothing;
  const LiteralTable& table = *tables[index];
  const bool nullable = table.accepting(state);
  if (state.end == state.begin + 1 && nullable) return kEmpty;
  if (state.end == state.begin + 1 && table[state.begin].size() - state.depth <= kLongestChain) {
    return literal(table[state.begin].substr(state.depth));
  }
  Node node;
  node.kind = RegexKind::kLiterals;
  node.nullable = nullable;
  node.a = index;
  node.b = state.begin;
  node.c = state.end;
  node.d = state.depth;
  node.min_length = nullable ? 0 : 1;
  // Bytes are no fewer than code points; looking at all of many strings would cost each step.
  std::size_t longest = 0;
  constexpr std::uint32_t kMostLookedAt = 16;
  if (state.end - state.begin <= kMostLookedAt) {
    for (std::uint32_t i = state.begin; i < state.end; ++i) {
      longest = std::max(longest, table[i].size() - state.depth);
    }
  } else {
    longest = limits.max_enum_bytes;
  }
  node.max_length = upper(longest).value;
  return intern(node);
}

RegexId RegexPool::Impl::add_automaton(std::shared_ptr<const Automaton> automaton) {
  const std::uint64_t start = automaton->start();
  const auto known = std::find(automata.begin(), automata.end(), automaton);
  const auto index = static_cast<std::uint32_t>(known - automata.begin());
  if (known == automata.end()) automata.push_back(std::move(automaton));
  return automaton_at(index, start);
}

RegexId RegexPool::Impl::automaton_at(std::uint32_t index, std::uint64_t state) {
  if (state == Automaton::kDead) return kNothing;
  Node node;
  node.kind = RegexKind::kAutomaton;
  node.a = index;
  node.b = static_cast<std::uint32_t>(state >> 32U);
  node.c = static_cast<std::uint32_t>(state);
  node.nullable = automata[index]->accepting(state);
  node.min_length = node.nullable ? 0 : automata[index]->least_length(state);
  node.max_length = kUnbounded;
  return intern(node);
}

RegexId RegexPool::Impl::concat(RegexId head, RegexId tail) {
  if (head == kNothing || tail == kNothing) return kNothing;
  if (head == kEmpty) return tail;
  if (tail == kEmpty) return head;
  if (nodes[head].kind == RegexKind::kConcat) {
    std::vector<RegexId> heads;
    for (; nodes[head].kind == RegexKind::kConcat; head = nodes[head].b) {
      heads.push_back(nodes[head].a);
    }
    tail = concat(head, tail);
    while (!heads.empty()) {
      tail = concat(heads.back(), tail);
      heads.pop_back();
    }
    return tail;
  }
  // r{m,n} r{k,l} is r{m+k,n+l}; r alone is r{1,1}, but rr stays as it is.
  const RegexId next = nodes[tail].kind == RegexKind::kConcat ? nodes[tail].a : tail;
  const RegexId rest = next == tail ? kEmpty : nodes[tail].b;
  const auto counted = [&](RegexId id) { return nodes[id].kind == RegexKind::kRepeat; };
  const RegexId body = counted(head) ? nodes[head].a : head;
  const RegexId next_body = counted(next) ? nodes[next].a : next;
  if (body == next_body && (counted(head) || counted(next))) {
    const auto min = [&](RegexId id) { return counted(id) ? nodes[id].b : 1; };
    const auto max = [&](RegexId id) { return counted(id) ? nodes[id].c : 1; };
    const Length low = lower(std::uint64_t{min(head)} + min(next));
    const Length high = sum_upper(max(head), max(next));
    if (low.exact && high.exact) return concat(repeat(body, low.value, high.value), rest);
  }
  const Node& h = nodes[head];
  const Node& t = nodes[tail];
  Node node;
  node.kind = RegexKind::kConcat;
  node.a = head;
  node.b = tail;
  node.nullable = h.nullable && t.nullable;
  node.positive = h.positive && t.positive;
  const Length low = lower(std::uint64_t{h.min_length} + t.min_length);
  const Length high = sum_upper(h.max_length, t.max_length);
  node.dense = h.dense && t.dense && low.exact && high.exact;
  node.opens_behind = t.opens_behind;
  node.has_kernel = head == kAnything && t.opens_behind && t.positive;
  node.min_length = low.value;
  node.max_length = high.value;
  return intern(node);
}

RegexId RegexPool::Impl::repeat(RegexId of, std::uint32_t min, std::uint32_t max) {
  if (min > max) return kNothing;
  if (max == 0 || of == kEmpty) return kEmpty;
  if (of == kNothing) return min == 0 ? kEmpty : kNothing;
  if (nodes[of].nullable) min = 0;
  if (nodes[of].nullable && nodes[of].kind == RegexKind::kEither) {
    const auto parts = children(nodes[of]);
    std::vector<RegexId> others(parts.begin(), parts.end());
    erase_value(others, kEmpty);
    if (others.size() < parts.size()) return repeat(either(std::move(others)), 0, max);
  }
  if (min == 1 && max == 1) return of;
  if (max == 1 && nodes[of].nullable) return of;
  const Node body = nodes[of];
  if (body.kind == RegexKind::kRepeat && gapless(body.b, body.c, min, max)) {
    const Length low = lower(std::uint64_t{body.b} * min);
    const Length high = product_upper(body.c, max);
    if (low.exact && high.exact) return repeat(body.a, low.value, high.value);
  }
  Node node;
  node.kind = RegexKind::kRepeat;
  node.a = of;
  node.b = min;
  node.c = max;
  node.nullable = min == 0;
  node.positive = body.positive;
  const Length low = lower(std::uint64_t{body.min_length} * min);
  const Length high = product_upper(body.max_length, max);
  node.dense =
      body.dense && low.exact && high.exact && gapless(body.min_length, body.max_length, min, max);
  node.opens_behind = node.has_kernel = of == kAnySet && max == kUnbounded;
  node.min_length = low.value;
  node.max_length = high.value;
  return intern(node);
}

RegexId RegexPool::Impl::make_fixpoint(bool nullable) {
  equations.push_back(kNothing);
  Node node;
  node.kind = RegexKind::kFixpoint;
  node.a = static_cast<std::uint32_t>(equations.size() - 1);
  node.nullable = nullable;
  node.positive = false;
  node.min_length = nullable ? 0 : 1;
  node.max_length = kUnbounded;
  return intern(node);
}

void RegexPool::Impl::define_fixpoint(RegexId fixpoint, RegexId body) {
  equations[nodes[fixpoint].a] = body;
}

std::optional<RegexPool::Impl::SetRun> RegexPool::Impl::as_set_run(RegexId of) const {
  const Node& node = nodes[of];
  if (node.kind == RegexKind::kSet) return SetRun{node.a, 1, 1};
  if (node.kind != RegexKind::kRepeat || nodes[node.a].kind != RegexKind::kSet) return {};
  return SetRun{nodes[node.a].a, node.b, node.c};
}

bool RegexPool::Impl::is_length(RegexId of) const {
  const auto run = as_set_run(of);
  return (run && run->set == nodes[kAnySet].a) || of == kEmpty;
}

RegexId RegexPool::Impl::complement(RegexId of) {
  if (of == kNothing) return kAnything;
  if (of == kAnything) return kNothing;
  if (nodes[of].kind == RegexKind::kComplement) return nodes[of].a;
  if (is_length(of)) {
    const auto [min, max] =
        of == kEmpty ? std::pair{0U, 0U} : std::pair{as_set_run(of)->min, as_set_run(of)->max};
    const RegexId shorter = min == 0 ? kNothing : repeat(kAnySet, 0, min - 1);
    const RegexId longer = max >= kLargestCount ? kNothing : repeat(kAnySet, max + 1, kUnbounded);
    return either(shorter, longer);
  }
  Node node;
  node.kind = RegexKind::kComplement;
  node.a = of;
  node.nullable = !nodes[of].nullable;
  node.positive = false;
  node.min_length = node.nullable ? 0 : 1;
  node.max_length = kUnbounded;
  return intern(node);
}

std::size_t RegexPool::Impl::bytes() const {
  return nodes.capacity() * sizeof(Node) + at_once.capacity() * sizeof(AtOnce) +
         lists.capacity() * sizeof(RegexId) + index_.bytes() + set_index_.bytes() + heap_bytes_ +
         partitions.bytes() + memo_.capacity() * sizeof(Memo);
}

}  // namespace tessera::guided
