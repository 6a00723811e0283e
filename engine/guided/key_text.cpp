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
  nodes_.intern(std::array<std::uint32_t, kNumWords>{});  // kDead
}

KeyText::PlaceId KeyText::add_place(Place place) {
  places_.push_back(std::make_unique<Place>(std::move(place)));
  return static_cast<PlaceId>(places_.size() - 1);
}

KeyText::State KeyText::start(PlaceId id) {
  const Place& place = *places_[id];
  const std::uint32_t num_names = place.names->num_names();
  const TextDfa::State other = place.others == RegexPool::kNothing
                                   ? TextDfa::kDead
                                   : dfa_.start(place.others, languages(*place.names));
  if (num_names == 0 && place.seen.empty()) return off(other);
  return make(id, 0, num_names, 0, other, num_names > 0 ? place.names->name(0) : place.seen[0]);
}

// Of the classes of names, where there are several: their verdicts tell which class a name is in.
std::vector<RegexId> KeyText::languages(const NameSpace& names) {
  std::vector<RegexId> languages;
  if (names.free()) return languages;
  for (const NameClass& one : names.classes()) languages.push_back(one.language);
  return languages;
}

KeyText::State KeyText::off(TextDfa::State other) {
  if (other == TextDfa::kDead) return kDead;
  return nodes_.intern(std::array<std::uint32_t, kNumWords>{0, 0, 0, 0, other, 0});
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

KeyText::State KeyText::make(PlaceId id, KeyIndex low, KeyIndex high, std::uint32_t depth,
                             TextDfa::State other, NameId example) {
  const Place& place = *places_[id];
  if (!any_allowed(place, low, high)) {
    if (other == TextDfa::kDead) return kDead;
    if (!place.names->free() && !other_alive(place, text(example).substr(0, depth))) return kDead;
  }
  return nodes_.intern(std::array<std::uint32_t, kNumWords>{id, low, high, depth, other, example});
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

KeyText::State KeyText::step(State state, char32_t code_point) {
  const Node at = node(state);
  const TextDfa::State other =
      at[kOther] == TextDfa::kDead ? TextDfa::kDead : dfa_.step(at[kOther], code_point);
  if (at[kPlace] == 0) return off(other);
  const Place& here = place(at);
  std::string next;
  append_utf8(next, code_point);
  const std::uint32_t depth = at[kDepth];
  KeyIndex low = at[kLow];
  KeyIndex high = at[kHigh];
  // Names with a common prefix are sorted by what follows it.
  const auto follows = [&](KeyIndex index) {
    return known_text(here, index).substr(depth, next.size());
  };
  const auto first = [&](auto&& below) {
    KeyIndex from = low;
    KeyIndex to = high;
    while (from < to) {
      const KeyIndex middle = from + (to - from) / 2;
      if (below(follows(middle))) {
        from = middle + 1;
      } else {
        to = middle;
      }
    }
    return from;
  };
  const KeyIndex new_low = first([&](std::string_view rest) { return rest < next; });
  high = first([&](std::string_view rest) { return rest <= next; });
  low = new_low;
  NameId example = low < high ? here.names->name(low) : kNoName;
  const std::string_view prefix = text(at[kExample]).substr(0, depth);
  for (std::size_t i = 0; example == kNoName && i < here.seen.size(); ++i) {
    const std::string_view seen = text(here.seen[i]);
    if (seen.starts_with(prefix) && seen.substr(depth).starts_with(next)) example = here.seen[i];
  }
  if (example == kNoName) return off(other);
  return make(at[kPlace], low, high, depth + static_cast<std::uint32_t>(next.size()), other,
              example);
}

CodePointSet KeyText::followed(Node at) const {
  const Place& here = place(at);
  const std::uint32_t depth = at[kDepth];
  CodePointSet set;
  const auto add = [&](std::string_view name) {
    if (name.size() <= depth) return;
    const char32_t code_point = first_code_point(name.substr(depth));
    set.add(code_point, code_point + 1);
  };
  for (KeyIndex index = at[kLow]; index < at[kHigh]; ++index) add(known_text(here, index));
  const std::string_view prefix = text(at[kExample]).substr(0, depth);
  for (const NameId name : here.seen) {
    if (text(name).starts_with(prefix)) add(text(name));
  }
  return set;
}

bool KeyText::any_step(State state, char32_t begin, char32_t end) {
  const Node at = node(state);
  if (at[kPlace] == 0) return at[kOther] != TextDfa::kDead && dfa_.any_step(at[kOther], begin, end);
  char32_t from = begin;
  const CodePointSet names = followed(at);
  for (const CodePointSet::Range& range : names.ranges()) {
    for (char32_t code_point = std::max(range.begin, begin); code_point < std::min(range.end, end);
         ++code_point) {
      if (step(state, code_point) != kDead) return true;
      if (from < code_point && at[kOther] != TextDfa::kDead &&
          dfa_.any_step(at[kOther], from, code_point)) {
        return true;
      }
      from = code_point + 1;
    }
  }
  return from < end && at[kOther] != TextDfa::kDead && dfa_.any_step(at[kOther], from, end);
}

KeyIndex KeyText::known(PlaceId id, State state) const {
  const Node at = node(state);
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
  const Node at = node(state);
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
  const Node at = node(state);
  if (at[kOther] == TextDfa::kDead) return {};
  const TextLoop loop = dfa_.loop(at[kOther]);
  if (loop.set == 0) return {};
  if (at[kPlace] == 0) {
    const CodePointSet* const set = keep(dfa_.loop_set(loop.set).intersection(raw));
    const CodePointSet* const same =
        loop.same == 0 ? nullptr : keep(dfa_.loop_set(loop.same).intersection(raw));
    return {set, loop.remaining, same};
  }
  if (!place(at).names->free()) return {};
  const CodePointSet*& same = same_[state];
  if (same == nullptr) same = keep(followed(at).complement().intersection(raw));
  return {&raw, RegexPool::kUnbounded, same};
}

std::string KeyText::shortest_rest(State state) {
  const Node at = node(state);
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
  std::size_t total = nodes_.bytes() + same_.size() * 48;
  for (const auto& place : places_) {
    total += sizeof(Place) + (place->allowed.size() + place->seen.size()) * sizeof(std::uint32_t);
  }
  return total;
}

}  // namespace tessera::guided
