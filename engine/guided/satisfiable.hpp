// satisfiable.hpp — whether there is a value that owes nothing any more, and a short one.
//
// This is all that keeps the document machine out of dead ends: each of its states asks one
// question, "can what is still owed be met?". Answers are found by search and remembered. An object
// is searched as a set of members: something that is still owed names the few members that could
// settle it. An array is searched item by item. Values within values are found by recursion; a
// question that comes up again while it is being answered is answered no, for a smallest value does
// not contain another value of the same kind, and a no that leans on such an answer is not
// remembered.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "engine/guided/name_space.hpp"
#include "engine/guided/obligations.hpp"
#include "engine/guided/word_table.hpp"

namespace tessera::guided {

// Where members can still be added to an object.
struct ObjectPlace {
  const NameSpace* names = nullptr;
  std::span<const std::uint32_t> used = {};  // a bit for each known name that may not come any more
  std::span<const NameId> seen = {};         // other names that were read
  std::uint32_t room = 0;                    // containers that may nest in it
};

struct MemberPlan {
  NameId name = kNoName;
  Literal value = kHolds;
};

struct ItemPlan {
  Literal value = kHolds;
  std::uint32_t count = 1;
};

class ObjectSearch;

// Not thread-safe; owned by one recognizer.
class Satisfier {
 public:
  explicit Satisfier(Obligations& obligations) : obligations_(obligations) {}

  // Whether there is a value, with at most `room` containers nested in each other.
  bool place(Literal place, std::uint32_t room);
  // Whether members can be added so that the object meets `owed` (no kNext in it).
  bool object(Literal owed, const ObjectPlace& where);
  bool array(Literal owed, std::uint32_t room);

  // The members and items of a short way to meet it; only where it can be met.
  std::vector<MemberPlan> members(Literal owed, const ObjectPlace& where);
  std::vector<ItemPlan> items(Literal owed, std::uint32_t room);
  // One way to meet what an object owes: the names in it, and what they leave to others. `met` is
  // false if there is none.
  struct Witness {
    bool met = false;
    std::vector<NameId> names;
    Literal rest = kFails;
  };
  Witness witness(Literal owed, const ObjectPlace& where);
  // The same with a member of this key.
  Witness witness_with(Literal owed, const ObjectPlace& where, KeyIndex key);
  // Whether one more member of this name leaves it met. Of true it is certain.
  bool stays_met(const Witness& witness, const PropertyName& name, std::uint32_t room);
  // A short text of such a value; only where place() holds.
  std::string text(Literal place, std::uint32_t room);
  // Of members and items, without brackets.
  std::string text_of(std::span<const MemberPlan> plan, std::uint32_t room);
  std::string text_of(std::span<const ItemPlan> plan, std::uint32_t room);
  // The same as a value.
  ValueId value(Literal place, std::uint32_t room);

  // The names of an object at `place`.
  std::shared_ptr<const NameSpace> names(Literal place);
  // Containers nested in the value that place() has found; 0 where it has found none.
  std::uint32_t height(Literal place) const;

  // What is owed while the next value is read: which values keep the rest within reach.
  struct NextValue {
    Literal must = kFails;   // of the value; kFails if there is none
    Literal after = kFails;  // what is owed then; the kNext in it wait for the value's verdicts
  };
  // `stepped` owes a next value, which has `room`; `rest` says after which values a formula without
  // kNext can be met: kHolds for any, kFails for none.
  template <class Rest>
  NextValue next_value(Literal stepped, std::uint32_t room, Rest&& rest);

  // Of a formula with kNext: what it says whatever comes, and the rest.
  struct Parts {
    Literal must = kHolds;
    Literal rest = kHolds;
  };

  Parts split(Literal stepped);
  // Cases that between them cover every next value. Nothing is assumed against an atom from which
  // the formula can only gain.
  struct Branch {
    Literal next = kHolds;  // what is assumed of the next value
    Literal rest = kHolds;  // what is owed then
  };
  std::vector<Branch> branches(Literal rest, Literal must);
  Literal propagate(Literal rest, Literal must, std::uint32_t room);
  // The formula with every kNext literal taken for true, or for false.
  Literal bound(Literal formula, bool optimistic);
  // `part` ("or", "exactly one of") holds if one of so many formulas does; 0 for others.
  std::size_t num_alternatives(Literal part) const;
  Literal alternative(Literal part, std::size_t i);

  std::size_t bytes() const;

 private:
  static constexpr std::uint32_t kAnyRoom = ~std::uint32_t{0};
  static constexpr std::uint32_t kNever = 0;  // stored as room + 1

  struct Fact {
    bool met = false;
    Kind kind = Kind::kNull;
    std::uint32_t height = 0;        // of the value found
    std::uint32_t refuted = kNever;  // no value with less room than this
    std::uint32_t in_progress = 0;   // depth of the search that asks it, from 1
  };
  bool search_place(Literal place, std::uint32_t room, Fact& found);
  bool try_kind(Literal place, Kind kind, std::uint32_t room, Fact& found);
  bool try_easily(Literal place, Kind kind, std::uint32_t room, Fact& found);
  static Witness witness_of(const ObjectSearch& search);
  std::string object_text(Literal place, Literal owed, std::uint32_t room);
  std::string array_text(Literal owed, std::uint32_t room);

  // satisfiable_next.cpp: formulas with kNext
  struct Polarity {
    Literal atom = kHolds;
    bool positive = false;
    bool negative = false;
  };
  Literal place_of(Literal only_next);
  Literal assume(Literal formula, Literal atom, bool holds);
  Literal bound_part(Literal formula, bool optimistic);
  Literal bound_all(Literal formula, bool optimistic);
  Literal bound_one(Literal formula, bool optimistic);
  std::vector<Polarity> asked(Literal formula);
  bool value_branches(Literal rest, Literal must, std::span<const Polarity> atoms,
                      std::vector<Branch>& out);
  template <class Rest>
  void cover(Literal rest, Literal must, std::uint32_t room, Rest& can_be_met,
             std::vector<Literal>& cubes);

  Obligations& obligations_;
  std::unordered_map<Literal, Fact> facts_;
  std::unordered_map<std::uint64_t, Literal> bounds_;  // of the parts of one formula
  std::unordered_map<Literal, std::shared_ptr<const NameSpace>> names_;
  std::uint32_t depth_ = 0;          // of searches in searches
  std::uint32_t lowest_ = kAnyRoom;  // the outermost search that a no leans on
  bool cut_ = false;                 // a no leans on the room
};

template <class Rest>
void Satisfier::cover(Literal rest, Literal must, std::uint32_t room, Rest& can_be_met,
                      std::vector<Literal>& cubes) {
  obligations_.formulas().fuel().spend();
  const Parts parts = split(rest);
  must = obligations_.formulas().both(must, parts.must);
  rest = propagate(parts.rest, must, room);
  if (must == kFails || rest == kFails) return;
  FormulaPool& formulas = obligations_.formulas();
  const auto allowed = [&](Literal formula) {
    return formula == kFails ? kFails : can_be_met(formula);
  };
  const Literal values = allowed(formulas.asks_next(rest) ? bound(rest, false) : rest);
  if (values != kFails) {
    const Literal within = formulas.both(must, values);
    if (place(within, room)) cubes.push_back(within);
    must = formulas.both(must, negate(values));
    if (must == kFails) return;
  }
  if (!formulas.asks_next(rest) || allowed(bound(rest, true)) == kFails) return;
  for (const Branch& branch : branches(rest, must)) {
    cover(branch.rest, formulas.both(must, branch.next), room, can_be_met, cubes);
  }
}

template <class Rest>
Satisfier::NextValue Satisfier::next_value(Literal stepped, std::uint32_t room, Rest&& rest) {
  if (stepped == kFails) return {};
  FormulaPool& formulas = obligations_.formulas();
  const Parts parts = split(stepped);
  if (parts.must == kFails || parts.rest == kFails) return {};
  if (!formulas.asks_next(parts.rest)) {
    if (!place(parts.must, room)) return {};
    const Literal values = rest(parts.rest);
    if (values == kHolds) return {parts.must, parts.rest};
    const Literal must = formulas.both(parts.must, values);
    return place(must, room) ? NextValue{must, parts.rest} : NextValue{};
  }
  std::vector<Literal> cubes;
  cover(parts.rest, parts.must, room, rest, cubes);
  const Literal must = formulas.any(cubes);
  return must == kFails ? NextValue{} : NextValue{must, parts.rest};
}

}  // namespace tessera::guided
