#include "engine/guided/object_search.hpp"

#include <algorithm>

namespace tessera::guided {
namespace {

constexpr int kHopelessDepth = 3;

}  // namespace

ObjectSearch::ObjectSearch(Satisfier& satisfier, Obligations& obligations, const ObjectPlace& where)
    : satisfier_(satisfier),
      obligations_(obligations),
      names_(*where.names),
      used_(where.used.begin(), where.used.end()),
      seen_(where.seen.begin(), where.seen.end()),
      room_(where.room) {
  used_.resize(names_.num_words());
}

bool ObjectSearch::available(KeyIndex key) const {
  return key >= names_.num_names() ? key < names_.num_keys() : !has_bit(used_, key);
}

// What is not met yet: names that must come first, then anything, counts last.
Literal ObjectSearch::unsettled(Literal owed) const {
  const FormulaPool& formulas = obligations_.formulas();
  Literal found = kHolds;
  Literal count = kHolds;
  obligations_.formulas().fuel().spend(formulas.conjuncts(owed).size() / 32);
  for (const Literal part : formulas.conjuncts(owed)) {
    if (formulas.at_end(part)) continue;
    if (formulas.op(part) == Op::kHas) return part;
    (formulas.op(part) == Op::kNumProperties ? count : found) = part;
  }
  return found != kHolds ? found : count;
}

bool ObjectSearch::solve(Literal owed) {
  const Deeper deeper(depth_);
  const FormulaPool& formulas = obligations_.formulas();
  const std::size_t plan_size = plan_.size();
  // What has only one way to be settled needs no recursion.
  while (!formulas.at_end(owed)) {
    if (owed == kFails) break;
    obligations_.formulas().fuel().spend();
    const Literal part = unsettled(owed);
    if (formulas.op(part) != Op::kHas) {
      if (try_candidates(owed, part)) return true;
      break;
    }
    const KeyIndex key = names_.find(formulas.a(part));
    if (key >= names_.num_names() || !available(key)) break;
    const Literal stepped = obligations_.step_member(owed, names_.key(key));
    const Satisfier::Parts parts = satisfier_.split(stepped);
    if (formulas.asks_next(parts.rest)) {
      if (take(owed, kHolds, key)) return true;
      break;
    }
    if (parts.rest == kFails || !satisfier_.place(parts.must, room_)) break;
    height_ = std::max(height_, satisfier_.height(parts.must));
    take_key(key);
    plan_.push_back({names_.name(key), parts.must});
    owed = parts.rest;
  }
  if (owed != kFails && formulas.at_end(owed)) {
    rest_ = owed;
    return true;
  }
  forget_from(plan_size);
  return false;
}

void ObjectSearch::take_key(KeyIndex key) {
  used_[key / 32] |= 1U << (key % 32);
  ++num_taken_;
}

void ObjectSearch::forget_from(std::size_t plan_size) {
  // What those members had settled may change again.
  if (plan_.size() > plan_size) settled_.clear();
  for (std::size_t i = plan_size; i < plan_.size(); ++i) {
    const KeyIndex key = names_.find(plan_[i].name);
    if (key < names_.num_names()) {
      used_[key / 32] &= ~(1U << (key % 32));
    } else {
      std::erase(seen_, plan_[i].name);
    }
  }
  plan_.resize(plan_size);
}

bool ObjectSearch::failed_before(Literal owed) {
  std::vector<std::uint32_t> words(used_);
  words.insert(words.end(), seen_.begin(), seen_.end());
  words.push_back(owed);
  const std::uint32_t size = tried_.size();
  return tried_.intern(words) < size;
}

std::vector<KeyIndex> ObjectSearch::candidates(Literal part) {
  FormulaPool& formulas = obligations_.formulas();
  std::vector<KeyIndex> keys;
  std::vector<KeyIndex> less_likely;
  bool any_name = false;
  std::unordered_set<std::uint32_t> visited;
  std::vector<Literal> stack{part};
  while (!stack.empty()) {
    const Literal literal = stack.back();
    stack.pop_back();
    if (literal <= kFails || !visited.insert(literal >> 1U).second) continue;
    formulas.fuel().spend();
    if (formulas.composite(literal)) {
      const auto children = formulas.children(literal);
      stack.insert(stack.end(), children.begin(), children.end());
    } else if (formulas.op(literal) == Op::kHas) {
      keys.push_back(names_.find(formulas.a(literal)));
    } else if (formulas.op(literal) == Op::kShape && !formulas.any_name_changes(literal)) {
      for (const auto& [name, child] : obligations_.graph()[formulas.a(literal)].properties) {
        less_likely.push_back(names_.find(obligations_.name_id(name)));
      }
    } else {
      any_name = true;
    }
  }
  std::ranges::sort(keys);
  keys.erase(std::unique(keys.begin(), keys.end()), keys.end());
  const std::vector<KeyIndex> named(keys);
  const auto is_new = [&](KeyIndex key) { return !std::ranges::binary_search(named, key); };
  if (any_name) {
    for (std::uint32_t rank = 0; rank < names_.num_names(); ++rank) {
      if (is_new(names_.at_rank(rank))) keys.push_back(names_.at_rank(rank));
    }
    for (KeyIndex key = names_.num_names(); key < names_.num_keys(); ++key) keys.push_back(key);
    return keys;
  }
  std::erase_if(less_likely,
                [&](KeyIndex key) { return key >= names_.num_names() || !is_new(key); });
  std::ranges::sort(less_likely, {}, [&](KeyIndex key) { return names_.rank(key); });
  less_likely.erase(std::unique(less_likely.begin(), less_likely.end()), less_likely.end());
  keys.insert(keys.end(), less_likely.begin(), less_likely.end());
  return keys;
}

// Whether no member that may still come can settle it. Of true it is certain.
bool ObjectSearch::hopeless(Literal part, int depth) {
  const FormulaPool& formulas = obligations_.formulas();
  if (part <= kFails || formulas.at_end(part)) return part == kFails;
  if (!formulas.composite(part)) return atom_settled(part);
  if (formulas.op(part) == Op::kOne || depth == 0) return settled(part);
  const auto children = formulas.children(part);
  obligations_.formulas().fuel().spend(children.size() / 4);
  if (!negated(part)) {
    return std::ranges::any_of(children, [&](Literal child) { return hopeless(child, depth - 1); });
  }
  return std::ranges::all_of(children,
                             [&](Literal child) { return hopeless(negate(child), depth - 1); });
}

// Whether no member that may still come changes anything in it.
bool ObjectSearch::settled(Literal part) {
  const FormulaPool& formulas = obligations_.formulas();
  if (part <= kFails) return true;
  if (!formulas.composite(part)) return atom_settled(part);
  const auto known = settled_.find(part & ~1U);
  if (known != settled_.end() && known->second == num_taken_) return false;
  if (known != settled_.end() && known->second == kSettled) return true;
  obligations_.formulas().fuel().spend();
  const auto children = formulas.children(part);
  const bool all = std::ranges::all_of(children, [&](Literal child) { return settled(child); });
  settled_[part & ~1U] = all ? kSettled : num_taken_;
  return all;
}

bool ObjectSearch::atom_settled(Literal atom) const {
  const FormulaPool& formulas = obligations_.formulas();
  if (formulas.op(atom) == Op::kHas) {
    const KeyIndex key = names_.find(formulas.a(atom));
    return key >= names_.num_names() || !available(key);
  }
  if (formulas.op(atom) != Op::kShape || formulas.any_name_changes(atom)) return false;
  const auto& properties = obligations_.graph()[formulas.a(atom)].properties;
  return std::ranges::none_of(properties, [&](const auto& property) {
    const KeyIndex key = names_.find(obligations_.name_id(property.first));
    return key < names_.num_names() && available(key);
  });
}

// Which of an "or" or "exactly one of" is worth trying: most are known to fail without a search.
std::vector<std::size_t> ObjectSearch::hopeful_alternatives(Literal part) {
  const FormulaPool& formulas = obligations_.formulas();
  const std::size_t count = satisfier_.num_alternatives(part);
  const auto children = formulas.children(part);
  const bool one = formulas.op(part) == Op::kOne;
  std::vector<std::size_t> hopeful;
  std::vector<std::size_t> must_hold;
  for (std::size_t i = 0; one && !negated(part) && i < count && must_hold.size() < 2; ++i) {
    if (hopeless(negate(children[i]), kHopelessDepth)) must_hold.push_back(i);
  }
  if (must_hold.size() > 1) return {};
  for (std::size_t i = 0; i < count; ++i) {
    if (one && negated(part)) {
      hopeful.push_back(i);
    } else if (!must_hold.empty() && i != must_hold.front()) {
      continue;
    } else if (!hopeless(negate_if(children[i], !one), kHopelessDepth)) {
      hopeful.push_back(i);
    }
  }
  return hopeful;
}

bool ObjectSearch::try_candidates(Literal owed, Literal part) {
  if (failed_before(owed)) return false;
  if (satisfier_.num_alternatives(part) > 0) {
    for (const std::size_t i : hopeful_alternatives(part)) {
      const Literal one = satisfier_.alternative(part, i);
      if (solve(replaced(obligations_.formulas(), owed, part, one))) return true;
    }
    return false;
  }
  FormulaPool& formulas = obligations_.formulas();
  const bool counts = formulas.op(part) == Op::kNumProperties;
  const Literal others = counts ? owed : replaced(formulas, owed, part, kHolds);
  for (const KeyIndex key : candidates(part)) {
    if (!available(key)) continue;
    formulas.fuel().spend();
    const Literal value = counts ? kHolds : settling_value(part, key);
    if (value != kFails && take(others, value, key)) return true;
  }
  return false;
}

// What a member's value must be for it to settle `part`; kFails if it cannot.
Literal ObjectSearch::settling_value(Literal part, KeyIndex key) {
  const FormulaPool& formulas = obligations_.formulas();
  const Literal stepped = obligations_.step_member(part, names_.key(key));
  if (stepped == part) return kFails;
  if (!formulas.asks_next(stepped)) return stepped == kHolds ? kHolds : kFails;
  // "Not all of the others, or not this one": the second of them.
  for (const Literal child : formulas.children(stepped)) {
    if (formulas.op(child) == Op::kNext) return negate_if(formulas.a(child), !negated(child));
  }
  return kFails;
}

bool ObjectSearch::take(Literal owed, Literal value, KeyIndex key) {
  const Literal stepped = obligations_.step_member(owed, names_.key(key));
  if (stepped == kFails) return false;
  const NameId name = key < names_.num_names() ? names_.name(key) : fresh_name(key);
  return name != kNoName && take_value(stepped, value, name, key);
}

bool ObjectSearch::take_value(Literal stepped, Literal must, NameId name, KeyIndex key) {
  const Deeper deeper(depth_);
  FormulaPool& formulas = obligations_.formulas();
  formulas.fuel().spend();
  Satisfier::Parts parts = satisfier_.split(stepped);
  must = formulas.both(must, parts.must);
  parts.rest = satisfier_.propagate(parts.rest, must, room_);
  if (must == kFails || parts.rest == kFails) return false;
  if (!satisfier_.place(must, room_)) return false;
  if (formulas.asks_next(parts.rest)) {
    // Most often whatever the verdicts are will do.
    if (take_value(satisfier_.bound(parts.rest, false), must, name, key)) return true;
    if (satisfier_.bound(parts.rest, true) == kFails) return false;
    return std::ranges::any_of(satisfier_.branches(parts.rest, must), [&](const auto& branch) {
      return take_value(branch.rest, formulas.both(must, branch.next), name, key);
    });
  }
  const std::size_t plan_size = plan_.size();
  const std::uint32_t height = height_;
  height_ = std::max(height_, satisfier_.height(must));
  plan_.push_back({name, must});
  if (key < names_.num_names()) {
    take_key(key);
  } else {
    seen_.push_back(name);
  }
  if (solve(parts.rest)) return true;
  height_ = height;
  forget_from(plan_size);
  return false;
}

// A name of the class that has not come yet.
NameId ObjectSearch::fresh_name(KeyIndex key) {
  RegexPool& regexes = obligations_.regexes();
  const NameClass& one = names_.classes()[key - names_.num_names()];
  if (names_.free()) {
    for (std::uint32_t i = 0;; ++i) {
      const NameId name = obligations_.name_id(i == 0 ? "" : "k" + std::to_string(i));
      if (names_.find(name) == names_.num_names() &&
          std::ranges::find(seen_, name) == seen_.end()) {
        return name;
      }
      obligations_.formulas().fuel().spend();
    }
  }
  std::vector<std::string_view> texts;
  for (const NameId name : seen_) texts.push_back(obligations_.name(name));
  const RegexId fresh =
      regexes.both(std::array{one.language, regexes.complement(regexes.any_of_literals(texts))});
  const std::optional<std::string> name = regexes.shortest(fresh);
  return name ? obligations_.name_id(*name) : kNoName;
}

}  // namespace tessera::guided
