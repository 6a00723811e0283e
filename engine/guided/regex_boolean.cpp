// Unions and intersections: what is equal by simple laws becomes one term, what another part makes
// needless goes.
#include <algorithm>
#include <tuple>

#include "engine/guided/regex_terms.hpp"

namespace tessera::guided {
namespace {

using Node = RegexNode;

constexpr std::uint32_t kUnbounded = RegexPool::kUnbounded;
constexpr std::size_t kMostForAbsorption = 12;  // parts that are compared pairwise

// Whether [a_min, a_max] and [b_min, b_max], with what lies between adjacent numbers, are one run.
bool touch(std::uint32_t a_min, std::uint32_t a_max, std::uint32_t b_min, std::uint32_t b_max) {
  if (a_min > b_min) return touch(b_min, b_max, a_min, a_max);
  return a_max == kUnbounded || b_min <= std::uint64_t{a_max} + 1;
}

void erase_value(std::vector<RegexId>& parts, RegexId value) {
  parts.erase(std::remove(parts.begin(), parts.end(), value), parts.end());
}

void sort_unique(std::vector<RegexId>& parts) {
  std::sort(parts.begin(), parts.end());
  parts.erase(std::unique(parts.begin(), parts.end()), parts.end());
}

bool is_subset(const CodePointSet& small, const CodePointSet& large) {
  const auto ranges = large.ranges();
  auto at = ranges.begin();
  for (const CodePointSet::Range& range : small.ranges()) {
    while (at != ranges.end() && at->end < range.end) ++at;
    if (at == ranges.end() || at->begin > range.begin) return false;
  }
  return true;
}

}  // namespace

// Puts the children of parts of the same kind in their place. False if that kind's zero is met.
bool RegexPool::Impl::flatten(RegexKind kind, std::vector<RegexId>& parts) const {
  const bool any = kind == RegexKind::kEither;
  const RegexId zero = any ? kAnything : kNothing;
  const RegexId one = any ? kNothing : kAnything;
  for (std::size_t i = 0, end = parts.size(); i < end; ++i) {
    if (parts[i] == zero) return false;
    if (nodes[parts[i]].kind != kind) continue;
    const auto inner = children(nodes[parts[i]]);
    parts[i] = one;
    parts.insert(parts.end(), inner.begin(), inner.end());
  }
  erase_value(parts, one);
  sort_unique(parts);
  for (const RegexId part : parts) {  // x and not x
    if (nodes[part].kind == RegexKind::kComplement &&
        std::binary_search(parts.begin(), parts.end(), nodes[part].a)) {
      return false;
    }
  }
  return true;
}

// All sets become one: their union, or their intersection.
void RegexPool::Impl::merge_sets(RegexKind kind, std::vector<RegexId>& parts) {
  const auto is_set = [&](RegexId id) { return nodes[id].kind == RegexKind::kSet; };
  if (std::count_if(parts.begin(), parts.end(), is_set) < 2) return;
  std::optional<CodePointSet> merged;
  for (const RegexId part : parts) {
    if (!is_set(part)) continue;
    if (!merged) {
      merged = set_of(nodes[part]);
    } else if (kind == RegexKind::kEither) {
      merged->add(set_of(nodes[part]));
    } else {
      merged = merged->intersection(set_of(nodes[part]));
    }
  }
  parts.erase(std::remove_if(parts.begin(), parts.end(), is_set), parts.end());
  parts.push_back(set(*merged));
}

// r{m,n} t | r{k,l} t is r{min,max} t where the counts leave no gap between them.
void RegexPool::Impl::merge_runs(std::vector<RegexId>& parts) {
  struct Run {
    RegexId body, tail;
    std::uint32_t min, max;
  };
  const auto run_of = [&](RegexId id) {
    const bool chain = nodes[id].kind == RegexKind::kConcat;
    const RegexId head = chain ? nodes[id].a : id;
    const RegexId tail = chain ? nodes[id].b : kEmpty;
    const Node& h = nodes[head];
    return h.kind == RegexKind::kRepeat ? Run{h.a, tail, h.b, h.c} : Run{head, tail, 1, 1};
  };
  bool counted = false;
  for (const RegexId part : parts) {
    const Node& node = nodes[part];
    const Node& head = node.kind == RegexKind::kConcat ? nodes[node.a] : node;
    counted = counted || head.kind == RegexKind::kRepeat;
  }
  if (!counted) return;
  for (bool again = true; again && parts.size() > 1;) {
    again = false;
    std::vector<std::pair<Run, RegexId>> runs;
    runs.reserve(parts.size());
    for (const RegexId part : parts) runs.emplace_back(run_of(part), part);
    std::sort(runs.begin(), runs.end(), [](const auto& x, const auto& y) {
      return std::tie(x.first.tail, x.first.body, x.first.min, x.second) <
             std::tie(y.first.tail, y.first.body, y.first.min, y.second);
    });
    std::vector<RegexId> out;
    for (std::size_t i = 0; i < runs.size();) {
      Run run = runs[i].first;
      std::size_t j = i + 1;
      while (j < runs.size() && runs[j].first.body == run.body && runs[j].first.tail == run.tail &&
             touch(run.min, run.max, runs[j].first.min, runs[j].first.max)) {
        run.max = std::max(run.max, runs[j].first.max);
        ++j;
      }
      // What stands behind the run may be a part itself: the run no times.
      const auto bare = run.tail == kEmpty || run.min > 1 || nodes[run.body].nullable
                            ? parts.end()
                            : std::lower_bound(parts.begin(), parts.end(), run.tail);
      if (j > i + 1) {
        out.push_back(concat(repeat(run.body, run.min, run.max), run.tail));
        again = true;
      } else if (bare != parts.end() && *bare == run.tail && run.min == 1) {
        out.push_back(concat(repeat(run.body, 0, run.max), run.tail));
        again = true;
      } else {
        out.push_back(runs[i].second);
      }
      i = j;
    }
    sort_unique(out);
    again = again && out != parts;
    parts = std::move(out);
  }
}

// Several sets of literals become one table, so that many alternatives cost one search.
void RegexPool::Impl::merge_literals(std::vector<RegexId>& parts) {
  const auto is_literals = [&](RegexId id) { return nodes[id].kind == RegexKind::kLiterals; };
  if (std::count_if(parts.begin(), parts.end(), is_literals) < 2) return;
  std::vector<std::string_view> strings;
  for (const RegexId part : parts) {
    if (!is_literals(part)) continue;
    const Node& node = nodes[part];
    for (std::uint32_t i = node.b; i < node.c; ++i) {
      strings.push_back((*tables[node.a])[i].substr(node.d));
    }
  }
  parts.erase(std::remove_if(parts.begin(), parts.end(), is_literals), parts.end());
  fuel.spend(strings.size() / 4);
  parts.push_back(any_of_literals(strings));
}

// Drops what another part makes needless.
void RegexPool::Impl::absorb(RegexKind kind, std::vector<RegexId>& parts) {
  if (parts.size() < 2 || parts.size() > kMostForAbsorption) return;
  const bool any = kind == RegexKind::kEither;
  comparisons_ = 0;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    for (std::size_t j = 0; j < parts.size(); ++j) {
      if (i == j || parts[i] == kEmpty) continue;
      const bool needless = any ? contains(parts[j], parts[i]) : contains(parts[i], parts[j]);
      if (!needless) continue;
      parts.erase(parts.begin() + static_cast<std::ptrdiff_t>(i));
      --i;
      break;
    }
  }
  constexpr std::uint64_t kComparisonsForAUnit = 8;
  fuel.spend(comparisons_ / kComparisonsForAUnit);
}

RegexId RegexPool::Impl::either(std::vector<RegexId> parts) {
  if (!flatten(RegexKind::kEither, parts)) return kAnything;
  if (parts.empty()) return kNothing;
  if (parts.size() == 1) return parts.front();
  fuel.spend(parts.size() / 8);
  merge_sets(RegexKind::kEither, parts);
  merge_literals(parts);
  sort_unique(parts);
  // The empty string is needless beside what has it already, and one r{0,n} with r{1,n}.
  if (parts.front() == kEmpty) {
    const auto nullable = [&](RegexId id) { return id != kEmpty && nodes[id].nullable; };
    if (std::any_of(parts.begin(), parts.end(), nullable)) {
      parts.erase(parts.begin());
    } else {
      const auto run = std::find_if(parts.begin() + 1, parts.end(), [&](RegexId id) {
        return nodes[id].kind == RegexKind::kRepeat && nodes[id].b == 1;
      });
      const auto one = std::find_if(parts.begin() + 1, parts.end(),
                                    [&](RegexId id) { return nodes[id].kind == RegexKind::kSet; });
      const auto which = run != parts.end() ? run : one;
      if (which != parts.end()) {
        const Node& node = nodes[*which];
        *which = node.kind == RegexKind::kRepeat ? repeat(node.a, 0, node.c) : repeat(*which, 0, 1);
        parts.erase(parts.begin());
        sort_unique(parts);
      }
    }
  }
  merge_runs(parts);
  absorb(RegexKind::kEither, parts);
  if (parts.size() == 1) return parts.front();
  if (std::find(parts.begin(), parts.end(), kAnything) != parts.end()) return kAnything;
  return make_either(parts);
}

RegexId RegexPool::Impl::make_either(std::span<const RegexId> parts) {
  Node node;
  node.kind = RegexKind::kEither;
  node.min_length = kUnbounded;
  node.opens_behind = true;
  bool dense = true;
  for (const RegexId part : parts) {
    const Node& child = nodes[part];
    node.opens_behind = node.opens_behind && child.opens_behind;
    node.has_kernel = node.has_kernel || child.has_kernel;
    node.nullable = node.nullable || child.nullable;
    node.positive = node.positive && child.positive;
    node.min_length = std::min(node.min_length, child.min_length);
    node.max_length = std::max(node.max_length, child.max_length);
    dense = dense && child.dense;
  }
  constexpr std::size_t kMostSorted = 64;
  if (dense && parts.size() <= kMostSorted) {
    std::vector<std::pair<std::uint32_t, std::uint32_t>> lengths;
    lengths.reserve(parts.size());
    for (const RegexId part : parts) {
      lengths.emplace_back(nodes[part].min_length, nodes[part].max_length);
    }
    std::sort(lengths.begin(), lengths.end());
    std::uint32_t reach = lengths.front().second;
    for (const auto& [min, max] : lengths) {
      dense = dense && touch(lengths.front().first, reach, min, max);
      reach = std::max(reach, max);
    }
    node.dense = dense;
  }
  return intern_list(node, parts);
}

RegexId RegexPool::Impl::both(std::vector<RegexId> parts) {
  if (!flatten(RegexKind::kBoth, parts)) return kNothing;
  if (parts.empty()) return kAnything;
  if (parts.size() == 1) return parts.front();
  fuel.spend(parts.size() / 8);
  if (parts.front() == kEmpty) {
    const bool all =
        std::all_of(parts.begin(), parts.end(), [&](RegexId id) { return nodes[id].nullable; });
    return all ? kEmpty : kNothing;
  }
  // Runs of sets become one run, complements the complement of one union.
  std::optional<CodePointSet> run_set;
  std::uint32_t run_min = 0;
  std::uint32_t run_max = kUnbounded;
  std::vector<RegexId> refused;
  std::vector<RegexId> others;
  for (const RegexId part : parts) {
    if (const auto run = as_set_run(part)) {
      run_set = run_set ? run_set->intersection(sets[run->set]) : sets[run->set];
      run_min = std::max(run_min, run->min);
      run_max = std::min(run_max, run->max);
    } else if (nodes[part].kind == RegexKind::kComplement) {
      refused.push_back(nodes[part].a);
    } else {
      others.push_back(part);
    }
  }
  if (run_set) others.push_back(repeat(set(*run_set), run_min, run_max));
  if (!refused.empty()) others.push_back(complement(either(std::move(refused))));
  parts = std::move(others);
  if (!flatten(RegexKind::kBoth, parts)) return kNothing;
  if (parts.empty()) return kAnything;
  if (parts.front() == kEmpty && parts.size() > 1) return both(std::move(parts));
  absorb(RegexKind::kBoth, parts);
  return parts.size() == 1 ? parts.front() : make_both(parts);
}

RegexId RegexPool::Impl::make_both(std::span<const RegexId> parts) {
  Node node;
  node.kind = RegexKind::kBoth;
  node.nullable = true;
  node.positive = false;
  node.max_length = kUnbounded;
  node.opens_behind = node.has_kernel = true;
  for (const RegexId part : parts) {
    const Node& child = nodes[part];
    node.opens_behind = node.opens_behind && child.opens_behind;
    node.has_kernel = node.has_kernel && child.has_kernel;
    node.nullable = node.nullable && child.nullable;
    node.min_length = std::max(node.min_length, child.min_length);
    node.max_length = std::min(node.max_length, child.max_length);
  }
  if (node.min_length > node.max_length) return kNothing;
  return intern_list(node, parts);
}

bool RegexPool::Impl::contains(RegexId large, RegexId small, int depth) {
  ++comparisons_;
  if (large == small || small == kNothing || large == kAnything) return true;
  const Node l = nodes[large];
  const Node s = nodes[small];
  if (l.min_length > s.min_length && s.dense) return false;
  if (s.nullable && !l.nullable) return false;
  if (small == kEmpty) return l.nullable;
  const auto large_run = as_set_run(large);
  if (large_run && large_run->set == nodes[kAnySet].a) {
    return large_run->min <= s.min_length && s.max_length <= large_run->max;
  }
  if (depth == 0) return false;
  if (s.kind == RegexKind::kEither) {
    if (s.b > kMostForAbsorption) return false;
    for (std::uint32_t i = 0; i < s.b; ++i) {
      if (!contains(large, lists[s.a + i], depth - 1)) return false;
    }
    return true;
  }
  if (l.kind == RegexKind::kEither) {
    if (l.b > kMostForAbsorption) return false;
    for (std::uint32_t i = 0; i < l.b; ++i) {
      if (contains(lists[l.a + i], small, depth - 1)) return true;
    }
    return false;
  }
  if (l.kind == RegexKind::kBoth) {
    for (std::uint32_t i = 0; i < l.b; ++i) {
      if (!contains(lists[l.a + i], small, depth - 1)) return false;
    }
    return true;
  }
  if (s.kind == RegexKind::kBoth) {
    for (std::uint32_t i = 0; i < s.b; ++i) {
      if (contains(large, lists[s.a + i], depth - 1)) return true;
    }
    return false;
  }
  if (l.kind == RegexKind::kComplement && s.kind == RegexKind::kComplement) {
    return contains(s.a, l.a, depth - 1);
  }
  if (l.kind == RegexKind::kSet && s.kind == RegexKind::kSet) {
    return is_subset(set_of(s), set_of(l));
  }
  if (l.kind == RegexKind::kRepeat) {
    const bool counted = s.kind == RegexKind::kRepeat;
    const std::uint32_t min = counted ? s.b : 1;
    const std::uint32_t max = counted ? s.c : 1;
    if (l.b <= min && max <= l.c && contains(l.a, counted ? s.a : small, depth - 1)) return true;
  }
  if (l.kind == RegexKind::kConcat && s.kind == RegexKind::kConcat) {
    if (contains(l.a, s.a, depth - 1) && contains_rest(l.b, s.b, depth - 1)) return true;
  }
  if (l.kind == RegexKind::kConcat && nodes[l.a].nullable) return contains(l.b, small, depth - 1);
  return false;
}

// Link by link, as far as it pays.
bool RegexPool::Impl::contains_rest(RegexId large, RegexId small, int depth) {
  constexpr int kMostLinks = 8;
  for (int i = 0; i < kMostLinks && large != small; ++i) {
    const Node& l = nodes[large];
    const Node& s = nodes[small];
    if (l.kind != RegexKind::kConcat || s.kind != RegexKind::kConcat) {
      return contains(large, small, depth);
    }
    if (!contains(l.a, s.a, depth)) return false;
    large = nodes[large].b;
    small = nodes[small].b;
  }
  return large == small;
}

}  // namespace tessera::guided
