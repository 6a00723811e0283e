#include "engine/guided/key_text.hpp"

#include <algorithm>

#include "engine/text/utf8.hpp"

namespace tessera::guided {
namespace {

// `utf8` begins with a whole code point.
char32_t first_code_point(std::string_view utf8) {
  const Utf8Step step = utf8_step(utf8);
  return step.code_point;
}

std::uint32_t utf8_length(char32_t code_point) {
  return code_point < 0x80 ? 1 : code_point < 0x800 ? 2 : code_point < 0x10000 ? 3 : 4;
}

RegexId derive(RegexPool& regexes, RegexId language, std::string_view prefix) {
  while (!prefix.empty()) {
    const Utf8Step step = utf8_step(prefix);
    language = regexes.derivative(language, step.code_point);
    prefix.remove_prefix(step.bytes);
  }
  return language;
}

}  // namespace

KeyText::KeyText(Obligations& obligations, TextDfa& dfa) : obligations_(obligations), dfa_(dfa) {
  places_.push_back(std::make_unique<Place>());
  intern({});  // kDead
}

KeyText::PlaceId KeyText::add_place(Place place) {
  places_.push_back(std::make_unique<Place>(std::move(place)));
  return static_cast<PlaceId>(places_.size() - 1);
}

KeyText::State KeyText::start(PlaceId id) {
  const Place& place = *places_[id];
  const NameSpace& names = *place.names;
  const auto begin = [&](RegexId language, bool loose) {
    return language == RegexPool::kNothing ? TextDfa::kDead
                                           : dfa_.start(language, languages(names, loose));
  };
  const TextDfa::State other = begin(place.others, false);
  if (names.num_names() == 0 && place.seen.empty()) return off(other);
  const TextDfa::State loose = names.free() ? other : begin(place.loose, true);
  const NameId example = names.num_names() > 0 ? names.name(0) : place.seen[0];
  return make({id, 0, names.num_names(), 0, other, loose, example}, &roots_[&names]);
}

// Of the classes of names, where there are several: their verdicts tell which class a name is in.
std::vector<RegexId> KeyText::languages(const NameSpace& names, bool loose) {
  std::vector<RegexId> languages;
  if (names.free()) return languages;
  for (std::size_t i = 0; i < names.classes().size(); ++i) {
    languages.push_back(loose ? names.loose_class(i) : names.classes()[i].language);
  }
  return languages;
}

KeyText::State KeyText::make_off(TextDfa::State other) {
  if (off_.size() <= other) off_.resize(other + 1, kUnknown);
  return off_[other] = intern({0, 0, 0, 0, other, 0, 0});
}

KeyText::State KeyText::intern(const Node& node) {
  std::uint64_t hash = mix(node[kPlace], pair_key(node[kLow], node[kHigh]));
  hash =
      mix(mix(hash, pair_key(node[kDepth], node[kOther])), pair_key(node[kLoose], node[kExample]));
  const State found = index_.find(hash, [&](State state) { return nodes_[state] == node; });
  if (found != HashIndex::kNone) return found;
  const auto state = static_cast<State>(nodes_.size());
  nodes_.push_back(node);
  index_.insert(hash, state);
  return state;
}

bool KeyText::any_allowed(const Place& place, KeyIndex low, KeyIndex high) const {
  for (KeyIndex index = low; index < high;) {
    const std::uint32_t word = place.allowed[index / 32] >> (index % 32);
    const std::uint32_t left = 32 - index % 32;
    if (word != 0 && index + static_cast<std::uint32_t>(std::countr_zero(word)) < high) return true;
    index += left;
  }
  return false;
}

KeyText::State KeyText::make(const Node& node, Branch* led) {
  const Place& place = *places_[node[kPlace]];
  if (!any_allowed(place, node[kLow], node[kHigh])) {
    if (node[kOther] == TextDfa::kDead) return kDead;
    const std::string_view prefix = text(node[kExample]).substr(0, node[kDepth]);
    if (!place.names->free() && !other_alive(place, prefix)) return kDead;
  }
  const State state = intern(node);
  if (led_to_.size() <= state) led_to_.resize(state + 1, nullptr);
  led_to_[state] = led;
  return state;
}

// Whether another name that has not come yet begins so.
bool KeyText::other_alive(const Place& place, std::string_view prefix) const {
  RegexPool& regexes = obligations_.regexes();
  std::vector<std::string_view> rests;
  for (const NameId name : place.seen) {
    if (text(name).starts_with(prefix)) rests.push_back(text(name).substr(prefix.size()));
  }
  if (rests.empty()) return true;
  const RegexId language = derive(regexes, place.others, prefix);
  return regexes.alive(
      regexes.both(std::array{language, regexes.complement(regexes.any_of_literals(rests))}));
}

// Where names follow.
KeyText::State KeyText::step_followed(State state, char32_t code_point) {
  const Row row = this->row(state);
  const std::size_t branch = first_branch(*row.branches, code_point);
  if (branch < row.branches->of.size() && row.branches->of[branch].code_point == code_point) {
    return follow(state, row, branch);
  }
  return off(step_other(node(state)[kOther], code_point));
}

std::size_t KeyText::first_branch(const Branches& branches, char32_t code_point) {
  const auto first = std::ranges::lower_bound(branches.of, code_point, {}, &Branch::code_point);
  return static_cast<std::size_t>(first - branches.of.begin());
}

KeyText::State KeyText::follow(State state, Row row, std::size_t branch) {
  if (next_[row.first + branch] != kUnknown) return next_[row.first + branch];
  const Node at = node(state);
  Branch& to = row.branches->of[branch];
  const Place& here = place(at);
  const std::uint32_t depth = at[kDepth] + utf8_length(to.code_point);
  NameId example = to.low < to.high ? here.names->name(to.low) : kNoName;
  for (std::size_t i = 0; example == kNoName; ++i) {
    const std::string_view seen = text(here.seen[i]);
    const std::string_view prefix = text(at[kExample]).substr(0, at[kDepth]);
    if (!seen.starts_with(prefix) || seen.size() < depth) continue;
    if (first_code_point(seen.substr(at[kDepth])) == to.code_point) example = here.seen[i];
  }
  return next_[row.first + branch] =
             make({at[kPlace], to.low, to.high, depth, step_other(at[kOther], to.code_point),
                   step_other(at[kLoose], to.code_point), example},
                  &to);
}

KeyText::Row KeyText::row(State state) {
  if (row_index_.size() <= state) row_index_.resize(nodes_.size(), kNoRow);
  if (row_index_[state] != kNoRow) return rows_[row_index_[state]];
  const Row row{branches(state), static_cast<std::uint32_t>(next_.size())};
  next_.resize(next_.size() + row.branches->of.size(), kUnknown);
  row_index_[state] = static_cast<std::uint32_t>(rows_.size());
  rows_.push_back(row);
  return row;
}

KeyText::Branches* KeyText::branches(State state) {
  const Node& at = node(state);
  if (!place(at).seen.empty()) return keep_branches(find_branches(at));
  Branch& led = *led_to_[state];
  if (led.below == nullptr) led.below = keep_branches(find_branches(at));
  return led.below;
}

KeyText::Branches* KeyText::keep_branches(Branches made) {
  branches_.push_back(std::move(made));
  branch_bytes_ += sizeof(Branches) + branches_.back().of.size() * sizeof(Branch);
  return &branches_.back();
}

// Names with a common prefix are sorted by what follows it.
KeyText::Branches KeyText::find_branches(const Node& at) const {
  const Place& here = place(at);
  const std::uint32_t depth = at[kDepth];
  Branches branches;
  for (KeyIndex index = at[kLow]; index < at[kHigh]; ++index) {
    const std::string_view name = known_text(here, index);
    if (name.size() <= depth) continue;
    const char32_t code_point = first_code_point(name.substr(depth));
    if (branches.of.empty() || branches.of.back().code_point != code_point) {
      branches.of.push_back({code_point, index, index});
    }
    branches.of.back().high = index + 1;
  }
  if (!here.seen.empty()) add_seen(at, branches.of);
  branches.apart.add('"');
  branches.apart.add('\\');
  for (const Branch& branch : branches.of) {
    std::string utf8;
    append_utf8(utf8, branch.code_point);
    branches.apart.add(static_cast<std::uint8_t>(utf8.front()));
  }
  return branches;
}

void KeyText::add_seen(const Node& at, std::vector<Branch>& branches) const {
  const std::uint32_t depth = at[kDepth];
  const std::string_view prefix = text(at[kExample]).substr(0, depth);
  std::vector<char32_t> others;
  for (const NameId name : place(at).seen) {
    if (!text(name).starts_with(prefix) || text(name).size() <= depth) continue;
    others.push_back(first_code_point(text(name).substr(depth)));
  }
  std::ranges::sort(others);
  others.erase(std::unique(others.begin(), others.end()), others.end());
  const auto known = [&](char32_t c) {
    return std::ranges::any_of(branches,
                               [c](const Branch& branch) { return branch.code_point == c; });
  };
  std::erase_if(others, known);
  for (const char32_t c : others) branches.push_back({c, 0, 0});
  std::ranges::sort(branches, {}, &Branch::code_point);
}

bool KeyText::any_step(State state, char32_t begin, char32_t end) {
  const Node at = node(state);  // a copy: states are made below
  const TextDfa::State other = at[kOther];
  const auto any_other = [&](char32_t from, char32_t to) {
    return from < to && other != TextDfa::kDead && dfa_.any_step(other, from, to);
  };
  if (at[kPlace] == 0) return any_other(begin, end);
  char32_t from = begin;
  const Row row = this->row(state);
  for (std::size_t i = first_branch(*row.branches, begin); i < row.branches->of.size(); ++i) {
    const char32_t code_point = row.branches->of[i].code_point;
    if (code_point >= end) break;
    if (any_other(from, code_point) || follow(state, row, i) != kDead) return true;
    from = code_point + 1;
  }
  return any_other(from, end);
}

KeyIndex KeyText::known(PlaceId id, State state) const {
  const Node& at = node(state);
  const Place& here = *places_[id];
  if (at[kPlace] != 0 && at[kLow] < at[kHigh] && known_text(here, at[kLow]).size() == at[kDepth]) {
    return at[kLow];
  }
  const NameSpace& names = *here.names;
  if (names.free() || at[kOther] == TextDfa::kDead) return names.num_names();
  std::uint32_t of = 0;
  while (of < names.classes().size() && !dfa_.matches(at[kOther], of)) ++of;
  return names.num_names() + of;
}

bool KeyText::accepts(State state) const {
  const Node& at = node(state);
  const bool other = at[kOther] != TextDfa::kDead && dfa_.accepts(at[kOther]);
  if (at[kPlace] == 0) return other;
  const Place& here = place(at);
  const KeyIndex index = known(at[kPlace], state);
  if (index < here.names->num_names()) return has_bit(here.allowed, index);
  const std::string_view read = text(at[kExample]).substr(0, at[kDepth]);
  return other && std::ranges::none_of(here.seen, [&](NameId name) { return text(name) == read; });
}

const CodePointSet* KeyText::keep(CodePointSet set) {
  for (const auto& kept : sets_) {
    if (*kept == set) return kept.get();
  }
  sets_.push_back(std::make_unique<CodePointSet>(std::move(set)));
  return sets_.back().get();
}

// Where any name may come, any text goes on; but only that which no known name begins with is one
// state.
ByteLoop KeyText::loop(State state, const CodePointSet& raw) {
  if (!others(state) || !place(node(state)).names->free()) return {};
  const CodePointSet*& same = same_[state];
  if (same == nullptr) {
    CodePointSet names;
    for (const Branch& branch : row(state).branches->of) {
      names.add(branch.code_point, branch.code_point + 1);
    }
    same = keep(names.complement().intersection(raw));
  }
  return {&raw, RegexPool::kUnbounded, same};
}

std::string KeyText::shortest_rest(State state) {
  const Node& at = node(state);
  if (accepts(state)) return {};
  if (at[kPlace] == 0) return dfa_.shortest_rest(at[kOther]);
  const Place& here = place(at);
  std::string best;
  bool found = false;
  for (KeyIndex index = at[kLow]; index < at[kHigh]; ++index) {
    const std::string_view rest = known_text(here, index).substr(at[kDepth]);
    if (!has_bit(here.allowed, index) || (found && rest.size() >= best.size())) continue;
    best = rest;
    found = true;
  }
  if (found) return best;
  RegexPool& regexes = obligations_.regexes();
  const std::string_view prefix = text(at[kExample]).substr(0, at[kDepth]);
  const RegexId language = derive(regexes, here.others, prefix);
  std::vector<std::string_view> taken;
  for (const NameId name : here.seen) {
    if (text(name).starts_with(prefix)) taken.push_back(text(name).substr(prefix.size()));
  }
  for (KeyIndex index = at[kLow]; index < at[kHigh]; ++index) {
    taken.push_back(known_text(here, index).substr(at[kDepth]));
  }
  const RegexId fresh =
      regexes.both(std::array{language, regexes.complement(regexes.any_of_literals(taken))});
  return regexes.shortest(fresh).value_or("");
}

std::size_t KeyText::bytes() const {
  const std::size_t words = off_.capacity() + row_index_.capacity() + next_.capacity();
  std::size_t total = nodes_.capacity() * sizeof(Node) + index_.bytes() + same_.size() * 48 +
                      branch_bytes_ + rows_.capacity() * sizeof(Row) +
                      words * sizeof(std::uint32_t) + led_to_.capacity() * sizeof(Branch*);
  for (const auto& place : places_) {
    total += sizeof(Place) + (place->allowed.size() + place->seen.size()) * sizeof(std::uint32_t);
  }
  return total;
}

}  // namespace tessera::guided
