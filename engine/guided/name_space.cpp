#include "engine/guided/name_space.hpp"

#include <algorithm>
#include <unordered_set>

namespace tessera::guided {
namespace {

// The patterns of every atom of a formula, each node once.
class PatternCollector {
 public:
  PatternCollector(Obligations& obligations, std::vector<RegexId>& out)
      : obligations_(obligations), out_(out) {}

  void add(Literal formula) {
    std::vector<Literal> stack{formula};
    while (!stack.empty()) {
      const Literal literal = stack.back();
      stack.pop_back();
      if (!seen_.insert(literal >> 1U).second) continue;
      FormulaPool& formulas = obligations_.formulas();
      if (formulas.composite(literal)) {
        const auto children = formulas.children(literal);
        stack.insert(stack.end(), children.begin(), children.end());
      } else if (literal > kFails) {
        obligations_.add_patterns(literal & ~1U, out_);
      }
    }
  }

 private:
  Obligations& obligations_;
  std::vector<RegexId>& out_;
  std::unordered_set<std::uint32_t> seen_;
};

}  // namespace

NameSpace::NameSpace(Obligations& obligations, std::span<const Literal> places,
                     std::span<const Literal> objects)
    : obligations_(obligations) {
  number_names(obligations.known_names(places));
  make_classes(objects);
}

void NameSpace::number_names(const Obligations::KnownNames& known) {
  names_ = known.declared;
  num_declared_ = static_cast<std::uint32_t>(known.declared.size());
  names_.insert(names_.end(), known.others.begin(), known.others.end());
  std::vector<KeyIndex> order(names_.size());  // by text, of ranks
  for (KeyIndex i = 0; i < order.size(); ++i) order[i] = i;
  std::ranges::sort(
      order, {}, [&](KeyIndex rank) { return std::string_view(obligations_.name(names_[rank])); });
  by_rank_.resize(order.size());
  std::vector<NameId> sorted;
  for (KeyIndex i = 0; i < order.size(); ++i) {
    sorted.push_back(names_[order[i]]);
    ranks_.push_back(order[i]);
    by_rank_[order[i]] = i;
    index_.emplace(sorted.back(), i);
  }
  names_ = std::move(sorted);
}

void NameSpace::make_classes(std::span<const Literal> objects) {
  PatternCollector collector(obligations_, patterns_);
  for (const Literal object : objects) collector.add(object);
  std::ranges::sort(patterns_);
  patterns_.erase(std::unique(patterns_.begin(), patterns_.end()), patterns_.end());
  std::erase(patterns_, RegexPool::kAnything);
  std::erase(patterns_, RegexPool::kNothing);
  classes_.push_back({});
  loose_.push_back(RegexPool::kAnything);
  if (patterns_.empty()) return;
  std::vector<std::string_view> texts;
  for (const NameId name : names_) texts.push_back(obligations_.name(name));
  unknown_ = obligations_.regexes().complement(obligations_.regexes().any_of_literals(texts));
  classes_[0].language = unknown_;
  for (const RegexId pattern : patterns_) split(pattern);
}

void NameSpace::split(RegexId pattern) {
  RegexPool& regexes = obligations_.regexes();
  std::vector<NameClass> split;
  std::vector<RegexId> loose;
  for (std::size_t i = 0; i < classes_.size(); ++i) {
    const NameClass& one = classes_[i];
    const RegexId inside = regexes.both(std::array{one.language, pattern});
    const RegexId outside = regexes.both(std::array{one.language, regexes.complement(pattern)});
    if (regexes.alive(inside)) {
      split.push_back({inside, one.patterns});
      split.back().patterns.push_back(pattern);
      loose.push_back(regexes.both(std::array{loose_[i], pattern}));
    }
    if (!regexes.alive(outside)) continue;
    split.push_back({outside, one.patterns});
    loose.push_back(regexes.both(std::array{loose_[i], regexes.complement(pattern)}));
  }
  classes_ = std::move(split);
  loose_ = std::move(loose);
}

KeyIndex NameSpace::find(NameId name) const {
  const auto at = index_.find(name);
  return at == index_.end() ? num_names() : at->second;
}

KeyIndex NameSpace::class_of(NameId name) const {
  std::vector<RegexId> in;
  for (const RegexId pattern : patterns_) {
    if (obligations_.matches(pattern, {name, nullptr})) in.push_back(pattern);
  }
  for (std::size_t i = 0; i < classes_.size(); ++i) {
    if (classes_[i].patterns == in) return num_names() + static_cast<KeyIndex>(i);
  }
  return num_keys();
}

std::size_t NameSpace::bytes() const {
  constexpr std::size_t kPerName = 64;
  return sizeof(*this) + names_.size() * kPerName + classes_.size() * sizeof(NameClass);
}

}  // namespace tessera::guided
