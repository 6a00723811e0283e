// Searches over derivatives: is there a string, which is a shortest, how many are there.
#include <algorithm>
#include <queue>
#include <unordered_map>
#include <unordered_set>

#include "engine/guided/regex_terms.hpp"
#include "engine/text/utf8.hpp"

namespace tessera::guided {
namespace {

constexpr std::uint32_t kUnbounded = RegexPool::kUnbounded;

// What an intersection asks of lengths alone.
struct LengthQuestion {
  std::uint32_t min = 0;
  std::uint32_t max = kUnbounded;
  std::uint32_t refused_max = 0;  // no refused string is longer
  bool refused = false;
};

}  // namespace

// Whether an intersection has strings because all of it has long ones of any beginning and end.
bool RegexPool::Impl::meet_far_out(const RegexNode& both) const {
  const auto parts = children(both);
  return std::all_of(parts.begin(), parts.end(), [&](RegexId part) {
    const RegexNode& child = nodes[part];
    return child.has_kernel ||
           (child.kind == RegexKind::kComplement && nodes[child.a].max_length != kUnbounded);
  });
}

// From the facts of the terms, without a derivative. Terms share what is in them: each is looked at
// once, and of many the work is counted.
std::optional<bool> RegexPool::Impl::alive_at_once(RegexId of) {
  ++at_once_call;
  num_looked_at = 0;
  return part_alive_at_once(of);
}

std::optional<bool> RegexPool::Impl::part_alive_at_once(RegexId of) {
  const RegexNode& node = nodes[of];
  if (node.alive != RegexNode::Alive::kUnknown) return node.alive == RegexNode::Alive::kYes;
  if (node.positive || node.nullable) return true;
  switch (node.kind) {
    case RegexKind::kRepeat:
      return part_alive_at_once(node.a);
    case RegexKind::kComplement:  // of what is not everything
      if (nodes[node.a].max_length != kUnbounded) return true;
      return std::nullopt;
    case RegexKind::kBoth:
      return both_alive_at_once(node);
    case RegexKind::kConcat:
    case RegexKind::kEither:
      break;
    default:
      return std::nullopt;
  }
  constexpr std::uint32_t kFree = 64;  // terms
  if (at_once.size() <= of) at_once.resize(nodes.size());
  if (at_once[of].call == at_once_call) return at_once[of].alive;
  if (++num_looked_at > kFree) fuel.spend();
  const auto alive =
      node.kind == RegexKind::kConcat ? concat_alive_at_once(of) : either_alive_at_once(of);
  at_once[of] = {at_once_call, alive};
  return alive;
}

std::optional<bool> RegexPool::Impl::concat_alive_at_once(RegexId of) {
  bool unknown = false;
  RegexId at = of;
  for (; nodes[at].kind == RegexKind::kConcat; at = nodes[at].b) {
    const auto head = part_alive_at_once(nodes[at].a);
    if (head == false) return false;
    unknown = unknown || !head;
  }
  const auto tail = part_alive_at_once(at);
  if (tail == false) return false;
  return unknown || !tail ? std::nullopt : std::optional(true);
}

std::optional<bool> RegexPool::Impl::either_alive_at_once(RegexId of) {
  bool unknown = false;
  for (std::uint32_t i = 0; i < nodes[of].b; ++i) {
    const auto part = part_alive_at_once(lists[nodes[of].a + i]);
    if (part == true) return true;
    unknown = unknown || !part;
  }
  return unknown ? std::nullopt : std::optional(false);
}

std::optional<bool> RegexPool::Impl::both_alive_at_once(const RegexNode& node) {
  if (meet_far_out(node)) return true;
  LengthQuestion question;
  const RegexNode* dense = nullptr;
  for (std::uint32_t i = 0; i < node.b; ++i) {
    const RegexId part = lists[node.a + i];
    const RegexNode& child = nodes[part];
    if (is_length(part)) {
      question.min = std::max(question.min, child.min_length);
      question.max = std::min(question.max, child.max_length);
    } else if (child.kind == RegexKind::kComplement) {
      question.refused = true;
      question.refused_max = std::max(question.refused_max, nodes[child.a].max_length);
    } else if (child.dense && dense == nullptr) {
      dense = &child;
    } else {
      return std::nullopt;
    }
  }
  std::uint32_t min = question.min;
  std::uint32_t max = question.max;
  if (dense != nullptr) {
    min = std::max(min, dense->min_length);
    max = std::min(max, dense->max_length);
  }
  if (min > max) return false;
  if (!question.refused) return true;
  // A string that is longer than all that is refused.
  if (question.refused_max < max) return true;
  return std::nullopt;
}

// Best first by the length that a string through a term must have at least; among equals what has
// least left to do in all its parts together, then the deepest, so that a way that is open is
// followed to its end.
class RegexSearch {
 public:
  explicit RegexSearch(RegexPool::Impl& pool) : pool_(pool) {}

  // A term that `is_goal`, reachable from `from`; the first found is nearest.
  template <class IsGoal>
  bool run(RegexId from, const IsGoal& is_goal) {
    add(from, kNoParent, 0, 0);
    while (!open_.empty()) {
      const std::uint32_t at = open_.top().visit;
      open_.pop();
      if (is_goal(visits_[at].term)) {
        goal_ = at;
        return true;
      }
      expand(at);
    }
    return false;
  }

  // Every term that was met.
  template <class Do>
  void for_all(const Do& act) const {
    for (const Visit& visit : visits_) act(visit.term);
  }
  // The terms on the way from the start to the goal.
  std::vector<RegexId> way_terms() const {
    std::vector<RegexId> terms;
    for (std::uint32_t at = goal_; at != kNoParent; at = visits_[at].parent) {
      terms.push_back(visits_[at].term);
    }
    std::reverse(terms.begin(), terms.end());
    return terms;
  }
  // What was read on that way.
  std::string way_text() const {
    std::vector<char32_t> backwards;
    for (std::uint32_t at = goal_; visits_[at].parent != kNoParent; at = visits_[at].parent) {
      backwards.push_back(visits_[at].by);
    }
    std::string text;
    for (auto c = backwards.rbegin(); c != backwards.rend(); ++c) append_utf8(text, *c);
    return text;
  }

 private:
  static constexpr std::uint32_t kNoParent = ~std::uint32_t{0};
  struct Visit {
    RegexId term;
    std::uint32_t parent;
    std::uint32_t depth;
    char32_t by;
  };
  struct Open {
    std::uint64_t at_least;  // length of a string that goes through here
    std::uint64_t left;      // what is left to do
    std::uint32_t depth;
    std::uint32_t visit;
    bool operator<(const Open& other) const {  // the top is the largest
      if (at_least != other.at_least) return at_least > other.at_least;
      if (left != other.left) return left > other.left;
      return depth != other.depth ? depth < other.depth : visit > other.visit;
    }
  };

  void add(RegexId term, std::uint32_t parent, std::uint32_t depth, char32_t by) {
    if (pool_.alive_at_once(term) == false) return;
    const auto [known, added] = seen_.try_emplace(term, depth);
    if (!added && known->second <= depth) return;
    known->second = depth;
    visits_.push_back({term, parent, depth, by});
    open_.push({std::uint64_t{depth} + pool_[term].min_length, left_to_do(term), depth,
                static_cast<std::uint32_t>(visits_.size() - 1)});
  }

  // The parts' least lengths together. No bound, for one character may serve several.
  std::uint64_t left_to_do(RegexId term) const {
    const RegexNode& node = pool_[term];
    if (node.kind != RegexKind::kBoth) return 0;
    std::uint64_t left = 0;
    for (const RegexId part : pool_.children(node)) left += pool_[part].min_length;
    return left;
  }

  void expand(std::uint32_t at) {
    const Visit visit = visits_[at];
    const PartitionTable::Index partition = pool_.partition(visit.term);
    const std::uint32_t num_classes = pool_.partitions[partition].num_classes();
    pool_.fuel.spend(1 + num_classes);
    for (std::uint32_t i = 0; i < num_classes; ++i) {
      const char32_t by = pool_.partitions[partition].representative[i];
      add(pool_.derivative(visit.term, by), at, visit.depth + 1, by);
    }
  }

  RegexPool::Impl& pool_;
  std::vector<Visit> visits_;
  std::priority_queue<Open> open_;
  std::unordered_map<RegexId, std::uint32_t> seen_;  // depth of the nearest visit
  std::uint32_t goal_ = kNoParent;
};

bool RegexPool::Impl::alive(RegexId of) {
  if (const auto known = alive_at_once(of)) return *known;
  RegexSearch search(*this);
  const bool found =
      search.run(of, [&](RegexId term) { return alive_at_once(term).value_or(false); });
  if (found) {
    for (const RegexId term : search.way_terms()) nodes[term].alive = RegexNode::Alive::kYes;
  } else {
    search.for_all([&](RegexId term) { nodes[term].alive = RegexNode::Alive::kNo; });
  }
  return found;
}

std::optional<std::string> RegexPool::Impl::shortest(RegexId of) {
  RegexSearch search(*this);
  if (!search.run(of, [&](RegexId term) { return nodes[term].nullable; })) return std::nullopt;
  return search.way_text();
}

// Level by level: how many strings of each length lead to each term.
std::uint64_t RegexPool::Impl::count(RegexId of, std::uint64_t at_most) {
  std::unordered_map<RegexId, std::uint64_t> level;
  std::unordered_set<RegexId> met;
  const auto capped = [at_most](std::uint64_t a, std::uint64_t b) {
    return b > at_most - std::min(a, at_most) ? at_most : a + b;
  };
  if (alive(of)) level[of] = 1;
  std::uint64_t total = 0;
  for (std::size_t depth = 0; !level.empty(); ++depth) {
    std::uint64_t open = 0;
    for (const auto& [term, ways] : level) {
      met.insert(term);
      if (nodes[term].nullable) total = capped(total, ways);
      open = capped(open, ways);
    }
    // Every beginning has an end; a way longer than there are terms goes round in a circle.
    if (total >= at_most || open >= at_most || depth >= met.size()) return at_most;
    std::unordered_map<RegexId, std::uint64_t> next;
    for (const auto& [term, ways] : level) {
      const PartitionTable::Index of_term = partition(term);
      const std::vector<std::uint32_t>& sizes = partitions.members(of_term).sizes;
      fuel.spend(1 + sizes.size());
      for (std::size_t i = 0; i < sizes.size(); ++i) {
        const RegexId to = derivative(term, partitions[of_term].representative[i]);
        if (!alive(to)) continue;
        const std::uint64_t more = ways > at_most / sizes[i] ? at_most : ways * sizes[i];
        next[to] = capped(next[to], more);
      }
    }
    level = std::move(next);
  }
  return total;
}

}  // namespace tessera::guided
