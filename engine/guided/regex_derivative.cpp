// Derivatives: what may follow once a code point has been read; and which code points are alike.
#include <algorithm>

#include "engine/guided/regex_terms.hpp"

namespace tessera::guided {
namespace {

constexpr std::size_t kFirstMemo = 256;
constexpr std::size_t kMostMemo = std::size_t{1} << 15U;

}  // namespace

// (x | y) t is x t | y t: flat unions meet equal terms sooner.
RegexId RegexPool::Impl::concat_over(RegexId head, RegexId tail) {
  if (nodes[head].kind != RegexKind::kEither || tail == kEmpty) return concat(head, tail);
  const auto alternatives = children(nodes[head]);
  std::vector<RegexId> parts(alternatives.begin(), alternatives.end());
  fuel.spend(parts.size() / 4);
  for (RegexId& part : parts) part = concat(part, tail);
  return either(std::move(parts));
}

// Of a concatenation: of its first part, and of each later one that can come first.
RegexId RegexPool::Impl::derive_chain(RegexId of, char32_t code_point) {
  std::vector<RegexId> parts;
  for (;;) {
    const RegexNode node = nodes[of];
    if (node.kind != RegexKind::kConcat) {
      parts.push_back(derive(of, code_point));
      break;
    }
    const RegexId head = derive(node.a, code_point);
    if (head != kNothing) parts.push_back(concat_over(head, node.b));
    if (!nodes[node.a].nullable) break;
    of = node.b;
  }
  return parts.size() == 1 ? parts.front() : either(std::move(parts));
}

RegexId RegexPool::Impl::derive_uncached(RegexId of, char32_t code_point) {
  fuel.spend();
  const RegexNode node = nodes[of];
  switch (node.kind) {
    case RegexKind::kConcat:
      return derive_chain(of, code_point);
    case RegexKind::kRepeat: {
      const RegexId head = derive(node.a, code_point);
      if (head == kNothing) return kNothing;
      return concat_over(head, repeat(node.a, node.b == 0 ? 0 : node.b - 1,
                                      node.c == kUnbounded ? kUnbounded : node.c - 1));
    }
    case RegexKind::kEither: {
      std::vector<RegexId> parts;
      for (std::uint32_t i = 0; i < node.b; ++i) {
        const RegexId part = derive(lists[node.a + i], code_point);
        if (part != kNothing) parts.push_back(part);
      }
      return either(std::move(parts));
    }
    case RegexKind::kBoth: {
      std::vector<RegexId> parts(node.b);
      for (std::uint32_t i = 0; i < node.b; ++i) {
        parts[i] = derive(lists[node.a + i], code_point);
        if (parts[i] == kNothing) return kNothing;
      }
      return both(std::move(parts));
    }
    case RegexKind::kComplement:
      return complement(derive(node.a, code_point));
    case RegexKind::kFixpoint:
      return derive(equations[node.a], code_point);
    default:
      return kNothing;
  }
}

RegexId RegexPool::Impl::derive(RegexId of, char32_t code_point) {
  const RegexNode& node = nodes[of];
  switch (node.kind) {
    case RegexKind::kNothing:
    case RegexKind::kEmpty:
      return kNothing;
    case RegexKind::kSet:
      return set_of(node).contains(code_point) ? kEmpty : kNothing;
    case RegexKind::kLiterals:
      return literals_at(node.a, tables[node.a]->step({node.b, node.c, node.d}, code_point));
    case RegexKind::kAutomaton: {
      if (code_point >= Partition::kAsciiEnd) return kNothing;
      const std::uint64_t state = (std::uint64_t{node.b} << 32U) | node.c;
      return automaton_at(node.a, automata[node.a]->step(state, code_point));
    }
    case RegexKind::kConcat:
      if (!nodes[node.a].nullable && nodes[node.a].kind == RegexKind::kSet) {
        return set_of(nodes[node.a]).contains(code_point) ? node.b : kNothing;
      }
      break;
    case RegexKind::kRepeat:
      if (nodes[node.a].kind == RegexKind::kSet) return derive_uncached(of, code_point);
      break;
    default:
      break;
  }
  const std::uint32_t code_point_class = partitions[partition(of)].class_of(code_point);
  if (memo_.empty()) memo_.resize(kFirstMemo);
  const std::uint64_t hash = mix(mix(5, of), code_point_class);
  const Memo& known = memo_[hash & (memo_.size() - 1)];
  if (known.of == of && known.code_point_class == code_point_class) return known.result;
  const RegexId result = derive_uncached(of, code_point);
  if (++memo_misses_ > memo_.size() && memo_.size() < kMostMemo) {
    memo_.assign(4 * memo_.size(), {});
    memo_misses_ = 0;
  }
  memo_[hash & (memo_.size() - 1)] = {of, code_point_class, result};
  return result;
}

RegexId RegexPool::Impl::derivative(RegexId of, char32_t code_point) {
  if (code_point >= kCodePointEnd || is_surrogate(code_point)) return kNothing;
  return derive(of, code_point);
}

PartitionTable::Index RegexPool::Impl::automaton_partition(const RegexNode& node) {
  static constexpr auto kAscii = [] {
    std::array<char, Partition::kAsciiEnd> all{};
    for (std::size_t i = 0; i < all.size(); ++i) all[i] = static_cast<char>(i);
    return all;
  }();
  const Automaton& automaton = *automata[node.a];
  const std::string_view known = automaton.alphabet();
  const std::string_view alphabet =
      known.empty() ? std::string_view(kAscii.data(), kAscii.size()) : known;
  fuel.spend(alphabet.size() / 4);
  std::array<std::uint32_t, Partition::kAsciiEnd> labels{};
  const std::uint64_t state = (std::uint64_t{node.b} << 32U) | node.c;
  std::vector<std::uint64_t> targets{Automaton::kDead};
  for (const char c : alphabet) {
    const std::uint64_t target = automaton.step(state, static_cast<unsigned char>(c));
    const auto found = std::find(targets.begin(), targets.end(), target);
    labels[static_cast<unsigned char>(c)] = static_cast<std::uint32_t>(found - targets.begin());
    if (found == targets.end()) targets.push_back(target);
  }
  return partitions.of_labels(labels, 0);
}

// Of a term whose parts' partitions are known.
PartitionTable::Index RegexPool::Impl::own_partition(const RegexNode& node) {
  switch (node.kind) {
    case RegexKind::kSet:
      return partitions.of_set(set_of(node));
    case RegexKind::kLiterals:
      return partitions.of_points(tables[node.a]->next_points({node.b, node.c, node.d}));
    case RegexKind::kAutomaton:
      return automaton_partition(node);
    case RegexKind::kEither:
    case RegexKind::kBoth: {
      PartitionTable::Index product = PartitionTable::kWhole;
      fuel.spend(node.b / 2);
      for (std::uint32_t i = 0; i < node.b; ++i) {
        product = partitions.product(product, partition(lists[node.a + i]));
      }
      return product;
    }
    case RegexKind::kRepeat:
    case RegexKind::kComplement:
      return partition(node.a);
    case RegexKind::kFixpoint:
      return partition(equations[node.a]);
    default:
      return PartitionTable::kWhole;
  }
}

PartitionTable::Index RegexPool::Impl::partition(RegexId of) {
  constexpr PartitionTable::Index kUnknown = ~PartitionTable::Index{0};
  if (nodes[of].partition != kUnknown) return nodes[of].partition;
  // Down a concatenation as far as its parts can be empty, then back.
  std::vector<RegexId> links;
  RegexId at = of;
  while (nodes[at].kind == RegexKind::kConcat && nodes[at].partition == kUnknown) {
    links.push_back(at);
    at = nodes[nodes[at].a].nullable ? nodes[at].b : nodes[at].a;
  }
  if (nodes[at].partition == kUnknown) {
    const PartitionTable::Index own = own_partition(RegexNode(nodes[at]));
    nodes[at].partition = own;
  }
  PartitionTable::Index rest = nodes[at].partition;
  for (; !links.empty(); links.pop_back()) {
    const RegexId head = nodes[links.back()].a;
    if (nodes[head].nullable) rest = partitions.product(partition(head), rest);
    nodes[links.back()].partition = rest;
  }
  return rest;
}

}  // namespace tessera::guided
