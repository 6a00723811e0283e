#include "engine/guided/satisfiable.hpp"

#include <algorithm>

#include "engine/guided/object_search.hpp"
#include "engine/guided/string_lexer.hpp"

namespace tessera::guided {
namespace {

// Short texts first.
constexpr std::array<Kind, kNumKinds> kBySize{Kind::kNumber, Kind::kString, Kind::kNull,
                                              Kind::kTrue,   Kind::kFalse,  Kind::kArray,
                                              Kind::kObject};

bool container(Kind kind) {
  return kind == Kind::kArray || kind == Kind::kObject;
}

}  // namespace

bool Satisfier::place(Literal place, std::uint32_t room) {
  if (place <= kFails) return place == kHolds;
  Fact& fact = facts_[place];
  if (fact.met && fact.height <= room) return true;
  if (room < fact.refuted) {
    cut_ |= fact.refuted != kAnyRoom;
    return false;
  }
  if (fact.in_progress != 0) {
    lowest_ = std::min(lowest_, fact.in_progress);
    return false;
  }
  obligations_.formulas().fuel().spend();
  fact.in_progress = ++depth_;
  const std::uint32_t outer_lowest = lowest_;
  const bool outer_cut = cut_;
  lowest_ = kAnyRoom;
  cut_ = false;
  // However it ends, it is not in progress any more.
  const std::uint32_t depth = depth_;
  struct Leave {
    Satisfier& of;
    Fact& fact;
    ~Leave() {
      --of.depth_;
      fact.in_progress = 0;
    }
  } leave{*this, fact};
  Fact found;
  const bool met = search_place(place, room, found);
  if (met) {
    fact.met = true;
    fact.kind = found.kind;
    fact.height = found.height;
  } else if (lowest_ >= depth) {
    fact.refuted = cut_ ? room + 1 : kAnyRoom;
  }
  const bool leans = !met && lowest_ < depth;
  lowest_ = leans ? std::min(outer_lowest, lowest_) : outer_lowest;
  cut_ = outer_cut || (!met && cut_);
  return met;
}

bool Satisfier::search_place(Literal place, std::uint32_t room, Fact& found) {
  for (const Kind kind : kBySize) {
    if (try_easily(place, kind, room, found)) return true;
  }
  return std::ranges::any_of(kBySize,
                             [&](Kind kind) { return try_kind(place, kind, room, found); });
}

// What can be told without a search.
bool Satisfier::try_easily(Literal place, Kind kind, std::uint32_t room, Fact& found) {
  const FormulaPool& formulas = obligations_.formulas();
  const Literal owed = obligations_.of_kind(place, kind);
  if (owed == kFails) return false;
  found.kind = kind;
  if (!container(kind)) {
    found.height = 0;
    return owed == kHolds || formulas.op(owed) == Op::kValues ? !negated(owed) : false;
  }
  found.height = 1;
  return room > 0 && formulas.at_end(owed);
}

bool Satisfier::try_kind(Literal place, Kind kind, std::uint32_t room, Fact& found) {
  const Literal owed = obligations_.of_kind(place, kind);
  if (owed == kFails) return false;
  found.kind = kind;
  found.height = 0;
  if (!container(kind)) {
    return obligations_.regexes().alive(obligations_.text(owed, kind));
  }
  if (room == 0) {
    cut_ = true;
    return false;
  }
  if (kind == Kind::kArray) {
    ArraySearch search(*this, obligations_, room - 1);
    if (!search.solve(owed)) return false;
    found.height = 1 + search.height();
    return true;
  }
  const std::shared_ptr<const NameSpace> names = this->names(place);
  ObjectSearch search(*this, obligations_, {names.get(), {}, {}, room - 1});
  if (!search.solve(owed)) return false;
  found.height = 1 + search.height();
  return true;
}

std::shared_ptr<const NameSpace> Satisfier::names(Literal place) {
  std::shared_ptr<const NameSpace>& names = names_[place];
  if (!names) {
    const Literal object = obligations_.of_kind(place, Kind::kObject);
    names = std::make_shared<NameSpace>(obligations_, std::array{place}, std::array{object});
  }
  return names;
}

std::uint32_t Satisfier::height(Literal place) const {
  const auto at = facts_.find(place);
  return at == facts_.end() ? 0 : at->second.height;
}

bool Satisfier::object(Literal owed, const ObjectPlace& where) {
  if (owed == kFails) return false;
  if (obligations_.formulas().at_end(owed)) return true;
  ObjectSearch search(*this, obligations_, where);
  return search.solve(owed);
}

bool Satisfier::array(Literal owed, std::uint32_t room) {
  if (owed == kFails) return false;
  if (obligations_.formulas().at_end(owed)) return true;
  ArraySearch search(*this, obligations_, room);
  return search.solve(owed);
}

std::vector<MemberPlan> Satisfier::members(Literal owed, const ObjectPlace& where) {
  ObjectSearch search(*this, obligations_, where);
  if (!search.solve(owed)) return {};
  return search.plan();
}

Satisfier::Witness Satisfier::witness(Literal owed, const ObjectPlace& where) {
  if (owed == kFails) return {};
  ObjectSearch search(*this, obligations_, where);
  return search.solve(owed) ? witness_of(search) : Witness{};
}

Satisfier::Witness Satisfier::witness_with(Literal owed, const ObjectPlace& where, KeyIndex key) {
  if (owed == kFails) return {};
  ObjectSearch search(*this, obligations_, where);
  return search.solve_with(owed, key) ? witness_of(search) : Witness{};
}

Satisfier::Witness Satisfier::witness_of(const ObjectSearch& search) {
  Witness found{.met = true, .names = {}, .rest = search.rest()};
  for (const MemberPlan& member : search.plan()) found.names.push_back(member.name);
  return found;
}

std::vector<ItemPlan> Satisfier::items(Literal owed, std::uint32_t room) {
  ArraySearch search(*this, obligations_, room);
  if (!search.solve(owed)) return {};
  return search.plan();
}

// ---- texts

// A text has no more containers in each other than the value that was found: given more room, it
// would take the first way that fits, and go down a schema that refers to itself twice until there
// is none left.
std::string Satisfier::text(Literal place, std::uint32_t room) {
  if (place == kHolds) return "0";
  if (!this->place(place, room)) return {};
  room = height(place);
  const Kind kind = facts_[place].kind;
  const Literal owed = obligations_.of_kind(place, kind);
  switch (kind) {
    case Kind::kNull:
      return "null";
    case Kind::kFalse:
      return "false";
    case Kind::kTrue:
      return "true";
    case Kind::kNumber:
      return obligations_.regexes().shortest(obligations_.text(owed, kind)).value_or("");
    case Kind::kString:
      return quoted_string(
          obligations_.regexes().shortest(obligations_.text(owed, kind)).value_or(""));
    case Kind::kArray:
      return array_text(owed, room - 1);
    case Kind::kObject:
      return object_text(place, owed, room - 1);
  }
  return {};
}

ValueId Satisfier::value(Literal place, std::uint32_t room) {
  ValueTable& values = obligations_.values();
  if (place == kHolds) return values.number(Decimal());
  if (!this->place(place, room)) return values.null();
  room = height(place);  // as in text()
  const Kind kind = facts_[place].kind;
  const Literal owed = obligations_.of_kind(place, kind);
  switch (kind) {
    case Kind::kNull:
      return values.null();
    case Kind::kFalse:
    case Kind::kTrue:
      return values.boolean(kind == Kind::kTrue);
    case Kind::kNumber: {
      const auto text = obligations_.regexes().shortest(obligations_.text(owed, kind));
      return values.number(Decimal::parse(text.value_or("0")).value_or(Decimal()));
    }
    case Kind::kString:
      return values.string(
          obligations_.regexes().shortest(obligations_.text(owed, kind)).value_or(""));
    case Kind::kArray: {
      std::vector<ValueId> all;
      for (const ItemPlan& item : items(owed, room - 1)) {
        all.insert(all.end(), item.count, value(item.value, room - 1));
      }
      return values.array(all);
    }
    case Kind::kObject: {
      std::vector<ValueTable::Member> all;
      const std::shared_ptr<const NameSpace> names = this->names(place);
      for (const MemberPlan& member : members(owed, {names.get(), {}, {}, room - 1})) {
        all.emplace_back(obligations_.name(member.name), value(member.value, room - 1));
      }
      return values.object(all);
    }
  }
  return values.null();
}

std::string Satisfier::object_text(Literal place, Literal owed, std::uint32_t room) {
  const std::shared_ptr<const NameSpace> names = this->names(place);
  std::vector<MemberPlan> plan = members(owed, {names.get(), {}, {}, room});
  std::ranges::stable_sort(plan, {}, [&](const MemberPlan& member) {
    const KeyIndex index = names->find(member.name);
    return index < names->num_names() ? names->rank(index) : names->num_names();
  });
  return '{' + text_of(plan, room) + '}';
}

std::string Satisfier::text_of(std::span<const MemberPlan> plan, std::uint32_t room) {
  std::string out;
  for (const MemberPlan& member : plan) {
    if (!out.empty()) out += ',';
    out += quoted_string(obligations_.name(member.name)) + ':' + text(member.value, room);
  }
  return out;
}

std::string Satisfier::array_text(Literal owed, std::uint32_t room) {
  return '[' + text_of(items(owed, room), room) + ']';
}

std::string Satisfier::text_of(std::span<const ItemPlan> plan, std::uint32_t room) {
  std::string out;
  for (const ItemPlan& item : plan) {
    const std::string one = text(item.value, room);
    obligations_.formulas().fuel().spend(std::uint64_t{item.count} * one.size() / 8);
    for (std::uint32_t i = 0; i < item.count; ++i) {
      if (!out.empty()) out += ',';
      out += one;
    }
  }
  return out;
}

std::size_t Satisfier::bytes() const {
  std::size_t total = facts_.size() * (sizeof(Fact) + 40);
  for (const auto& [place, names] : names_) total += names->bytes() + 64;
  return total;
}

}  // namespace tessera::guided
