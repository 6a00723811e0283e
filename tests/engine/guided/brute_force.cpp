#include "tests/engine/guided/brute_force.hpp"

#include <algorithm>
#include <cctype>
#include <utility>

namespace tessera::guided {
namespace {

// A whole number of thousandths: what PlainValidator computes with.
bool is_number(const std::string& text) {
  const std::size_t point = text.find('.');
  if (point != std::string::npos && text.size() - point > 4) return false;
  const auto partial = read_partial(text);
  return partial && partial->kind == Partial::Kind::kNumber &&
         std::isdigit(static_cast<unsigned char>(text.back())) != 0;
}

Value object_of(const Partial& partial) {
  Value object = Value::object();
  for (std::size_t i = 0; i < partial.items.size(); ++i) {
    object[partial.names[i]] = partial.items[i];
  }
  return object;
}

}  // namespace

bool BruteForce::whole(std::string_view text) {
  const auto partial = read_partial(text);
  if (!partial || (ordered_ && !in_order(*partial, root_places()))) return false;
  if (partial->kind == Partial::Kind::kWhole) return profile(kRoot, partial->value) != 0;
  return partial->kind == Partial::Kind::kNumber && is_number(partial->text) &&
         profile(kRoot, Value::parse(partial->text)) != 0;
}

bool BruteForce::live(std::string_view text) {
  const auto partial = read_partial(text);
  if (!partial || (ordered_ && !in_order(*partial, root_places()))) return false;
  if (partial->kind == Partial::Kind::kWhole) return profile(kRoot, partial->value) != 0;
  return endings(*partial, kRoot, root_places()).contains(1);
}

// At the root there is one question, and one yes answers it.
bool BruteForce::settled(const Choices& choices, Role role) const {
  return role == kRoot && choices.contains(1);
}

const BruteForce::Choices& BruteForce::endings(const Partial& partial, Role role,
                                               const Schemas& places) {
  const std::string key = state_key(partial, role, places);
  const auto found = endings_.find(key);
  if (found != endings_.end()) return found->second;
  Choices choices = find_endings(partial, role, places);
  return endings_.emplace(key, std::move(choices)).first->second;
}

// Of two texts with one key the same completions are possible.
std::string BruteForce::state_key(const Partial& partial, Role role, const Schemas& places) {
  // Names must not be equal, and strings under uniqueItems.
  const bool similar = !unique_ && partial.kind == Partial::Kind::kString;
  std::string key = std::to_string(role) + "/" + std::to_string(static_cast<int>(partial.kind)) +
                    "/" + std::to_string(static_cast<int>(partial.place)) + "/" + partial.text +
                    "/" +
                    to_utf8(similar ? interchangeable(partial.string.text) : partial.string.text);
  for (const auto& [low, high] : partial.string.pending) {
    key += "~" + std::to_string(low) + "-" + std::to_string(high);
  }
  const Role below = partial.kind == Partial::Kind::kArray ? kItem : kMember;
  for (const std::string& name : partial.names) key += "\n" + name;
  for (std::size_t i = 0; i < partial.items.size(); ++i) {
    const Value& item = partial.items[i];
    const Profile mask = below == kMember ? reach(partial.names[i]) : ~Profile{0};
    key += "\t" + (unique_ ? key_of(item) : std::to_string(profile(below, item) & mask));
  }
  if (partial.kind == Partial::Kind::kObject && ordered_) {
    for (const std::string& name : declared(places)) key += "<" + name;
  }
  if (partial.child == nullptr) return key;
  const bool array = partial.kind == Partial::Kind::kArray;
  const Schemas inner = !ordered_ ? Schemas{}
                        : array   ? places_of(places, partial.items.size())
                                  : places_of(places, partial.names.back());
  const Profile mask = below == kMember ? reach(partial.names.back()) : ~Profile{0};
  std::set<std::string> parts;
  for (const auto& [profile, values] : endings(*partial.child, below, inner)) {
    if (!unique_) parts.insert(std::to_string(profile & mask));
    for (std::size_t i = 0; unique_ && i < values.size(); ++i) parts.insert(key_of(values[i]));
  }
  for (const std::string& part : parts) key += "?" + part;
  return key;
}

BruteForce::Choices BruteForce::find_endings(const Partial& partial, Role role,
                                             const Schemas& places) {
  Choices choices;
  switch (partial.kind) {
    case Partial::Kind::kNothing:
      return pool_[role];
    case Partial::Kind::kWhole:
    case Partial::Kind::kWord:
      add(choices, role, partial.value);
      break;
    case Partial::Kind::kNumber:
      end_number(partial.text, choices, role);
      break;
    case Partial::Kind::kString:
      for (const CodePoints& begun : begun_strings(partial.string))
        end_string(begun, choices, role);
      break;
    case Partial::Kind::kArray:
      end_array(partial, choices, role, places);
      break;
    case Partial::Kind::kObject:
      end_object(partial, choices, role, places);
      break;
  }
  return choices;
}

// The same text with characters that nothing in the schema tells from others of their kind replaced
// by one of them.
CodePoints BruteForce::interchangeable(const CodePoints& text) const {
  static const std::vector<CodePoints> kKinds = {U"qwklm", U"QWKLM", U"48369",
                                                 U"%&;=~", U"ßøñ",   U"\x1\x2"};
  const auto kind = [](char32_t c) -> std::size_t {
    if (c < ' ') return 5;
    if (c >= 'a' && c <= 'z') return 0;
    if (c >= 'A' && c <= 'Z') return 1;
    if (c >= '0' && c <= '9') return 2;
    return c < 0x80 ? 3 : 4;
  };
  CodePoints out;
  for (const char32_t c : text) {
    const bool own = special_.find(c) != CodePoints::npos || c == ' ' || c == '_' || c == '\n' ||
                     c == '\r' || c == 0x2028 || c == 0x2029;
    const CodePoints& like = kKinds[kind(c)];
    const std::size_t other = like.find_first_not_of(special_);
    out += own || other == CodePoints::npos ? c : like[other];
  }
  return out;
}

// With the half-read character as each of those that differ.
std::vector<CodePoints> BruteForce::begun_strings(const PartialString& string) const {
  if (string.pending.empty()) return {string.text};
  std::vector<CodePoints> out;
  CodePoints tried;
  for (const auto& [low, high] : string.pending) {
    // From U+3000 on nothing is told apart; one of them does for all.
    const char32_t last = std::min<char32_t>(high, std::max<char32_t>(low, 0x3000));
    for (char32_t c = low; c <= last; ++c) {
      const CodePoints like = interchangeable(CodePoints(1, c));
      if (tried.find(like) != CodePoints::npos) continue;
      tried += like;
      out.push_back(string.text + c);
    }
  }
  return out;
}

void BruteForce::end_string(const CodePoints& begun, Choices& choices, Role role) const {
  for (const CodePoints& tail : tails_) {
    add(choices, role, to_utf8(begun + tail));
    if (settled(choices, role)) return;
  }
  const auto try_constant = [&](const std::string& text) {
    if (from_utf8(text).starts_with(begun)) add(choices, role, text);
  };
  for (const std::string& name : names_) try_constant(name);
  for (const Value& constant : constants_) {
    if (constant.is_string()) try_constant(constant);
  }
}

void BruteForce::end_number(const std::string& begun, Choices& choices, Role role) const {
  const auto attempt = [&](const std::string& text) {
    if (is_number(text)) add(choices, role, Value::parse(text));
  };
  static const std::vector<std::string> kTails = [] {
    std::vector<std::string> tails = {""};
    for (int i = 0; i < 10; ++i) {
      const std::string digit = std::to_string(i);
      for (const std::string& tail : {digit, "." + digit}) tails.push_back(tail);
      for (int j = 0; j < 10; ++j) {
        const std::string two = digit + std::to_string(j);
        for (const std::string& tail : {two, "." + two, digit + "." + std::to_string(j)}) {
          tails.push_back(tail);
        }
      }
    }
    return tails;
  }();
  for (const std::string& tail : kTails) attempt(begun + tail);
  for (const std::string& number : numbers_) {
    if (number.starts_with(begun)) attempt(number);
  }
}

void BruteForce::end_array(const Partial& partial, Choices& choices, Role role,
                           const Schemas& places) {
  Value array = Value::array();
  for (const Value& item : partial.items) array.push_back(item);
  if (partial.place != Partial::Place::kChild) {
    if (partial.place != Partial::Place::kNext) add(choices, role, array);
    return more_items(array, most_items_, choices, role);
  }
  const Schemas inner = ordered_ ? places_of(places, partial.items.size()) : Schemas{};
  const Choices items = endings(*partial.child, kItem, inner);
  for (const auto& [profile, values] : items) {
    for (std::size_t i = 0; i < (unique_ ? values.size() : 1); ++i) {
      array.push_back(values[i]);
      add(choices, role, array);
      more_items(array, most_items_, choices, role);
      array.erase(array.size() - 1);
    }
  }
}

void BruteForce::more_items(Value& array, int more, Choices& choices, Role role) const {
  if (more == 0 || settled(choices, role)) return;
  for (const Value& item : representatives(kItem)) {
    array.push_back(item);
    add(choices, role, array);
    more_items(array, more - 1, choices, role);
    array.erase(array.size() - 1);
  }
}

void BruteForce::end_object(const Partial& partial, Choices& choices, Role role,
                            const Schemas& places) {
  const auto order = ordered_ ? declared(places) : std::vector<std::string>{};
  Value object = object_of(partial);
  const auto with = [&](const std::string& name, const Value& member) {
    if (object.contains(name) || !may_follow(object, name, order)) return;
    object[name] = member;
    add(choices, role, object);
    more_members(object, most_members_, 0, order, choices, role);
    object.erase(name);
  };
  switch (partial.place) {
    case Partial::Place::kFirst:
    case Partial::Place::kAfter:
      add(choices, role, object);
      [[fallthrough]];
    case Partial::Place::kNext:
      more_members(object, most_members_, 0, order, choices, role);
      break;
    case Partial::Place::kName: {
      Choices names;
      for (const CodePoints& begun : begun_strings(partial.string)) end_string(begun, names, kName);
      for (const auto& [profile, values] : names) {
        for (const Value& name : values) {
          for (const Value& member : new_members_for(name)) with(name, member);
        }
      }
      break;
    }
    case Partial::Place::kColon:
      for (const Value& member : new_members_for(partial.names.back())) {
        with(partial.names.back(), member);
      }
      break;
    case Partial::Place::kChild: {
      const Schemas inner = ordered_ ? places_of(places, partial.names.back()) : Schemas{};
      const Choices members = endings(*partial.child, kMember, inner);
      for (const Value& member : members_for(partial.names.back(), members)) {
        with(partial.names.back(), member);
      }
      break;
    }
  }
}

// Under a fixed order every order of adding is tried, else one.
void BruteForce::more_members(Value& object, int more, std::size_t from,
                              const std::vector<std::string>& order, Choices& choices, Role role) {
  if (more == 0 || settled(choices, role)) return;
  const auto names = candidate_names(2);
  for (std::size_t i = ordered_ ? 0 : from; i < names.size(); ++i) {
    if (object.contains(names[i]) || !may_follow(object, names[i], order)) continue;
    for (const Value& member : new_members_for(names[i])) {
      object[names[i]] = member;
      add(choices, role, object);
      more_members(object, more - 1, i + 1, order, choices, role);
      object.erase(names[i]);
    }
  }
}

}  // namespace tessera::guided
