// document_states.hpp — what is owed at each place of a document: states that are made once.
//
// A tuple is what one container or value owes: first the formula it must meet, then those of which
// only the verdict at its end is wanted. A state of an object is a tuple and which members may
// still come; of an array, a tuple. While one of their values is read, the tuple has kNext in it,
// and a second tuple, of that value, has the formula the value must meet and the questions behind
// the kNext: its verdicts turn the first into what is owed then. States know nothing of the stack
// they are on, so that like places of a document meet.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "engine/guided/key_text.hpp"
#include "engine/guided/list_questions.hpp"
#include "engine/guided/obligations.hpp"
#include "engine/guided/satisfiable.hpp"
#include "engine/guided/text_dfa.hpp"
#include "engine/guided/word_table.hpp"

namespace tessera::guided {

using TupleId = std::uint32_t;
using StateId = std::uint32_t;       // 0: none
using Verdicts = std::vector<bool>;  // on a tuple's second, third, ... formula

// Not thread-safe; owned by one recognizer.
class DocumentStates {
 public:
  explicit DocumentStates(Obligations& obligations);

  // A value at its place, its first formula alive.
  TupleId value(std::span<const Literal> formulas) { return tuples_.intern(formulas); }
  std::span<const Literal> tuple(TupleId id) const { return tuples_[id]; }
  // Whether null, false or true may be the value; its verdicts.
  bool takes(TupleId value, Kind kind);
  Verdicts literal_verdicts(TupleId value, Kind kind);
  // Where its text begins: kDead if it cannot be a string (number).
  TextDfa::State string_start(TupleId value);
  TextDfa::State number_start(TupleId value);
  Verdicts text_verdicts(TupleId value, TextDfa::State state) const;

  // An object or array that begins as the value; `room`: containers that may nest in it. 0 if it
  // cannot be met.
  StateId open_object(TupleId value, std::uint32_t room);
  StateId open_array(TupleId value, std::uint32_t room);
  bool may_close(StateId state) const;
  Verdicts closed_verdicts(StateId state) const;

  // What an object's next name may be; KeyText's start, kDead if there is none.
  KeyText::State key_start(StateId object);
  KeyText::PlaceId key_place(StateId object);
  // A member or item of which the value is to come. `value` 0: it may not come.
  struct Step {
    StateId state = 0;  // the container meanwhile
    TupleId value = 0;
  };
  // A name that was read: known if below the names' number, else `name`; where that is kNoName (not
  // recorded), `key` is its class.
  Step member(StateId object, KeyIndex key, NameId name);
  Step item(StateId array);
  // The container after the value.
  StateId after(StateId meanwhile, const Verdicts& verdicts);

  // An array that remembers its items (uniqueItems) needs to know them.
  bool remembers(StateId array) const;
  StateId note_item(StateId array, ValueId item);

  // Members or items that settle what is owed, in the order they may come.
  std::vector<MemberPlan> members(StateId object);
  std::vector<ItemPlan> items(StateId array);
  // Their text, without a bracket.
  std::string members_text(StateId object);
  std::string items_text(StateId array);

  const NameSpace& names(StateId object) const { return *spaces_[words(object)[kNames]]; }
  std::uint32_t room(StateId state) const { return words(state)[kRoom]; }
  // Of a state, what masks depend on.
  std::span<const std::uint32_t> words(StateId state) const { return states_[state]; }

  TextDfa& texts() { return texts_; }
  KeyText& keys() { return keys_; }
  const KeyText& keys() const { return keys_; }
  Satisfier& satisfier() { return satisfier_; }
  Obligations& obligations() { return obligations_; }
  std::size_t bytes() const;

 private:
  enum Word : std::uint8_t { kTuple, kRoom, kNames, kUsed, kSeen, kNumWords };
  struct ValueFacts {
    bool string_known = false;
    bool number_known = false;
    TextDfa::State string = TextDfa::kDead;
    TextDfa::State number = TextDfa::kDead;
  };
  struct ObjectFacts {
    bool keys_known = false;
    KeyText::PlaceId keys = 0;
    KeyText::State start = KeyText::kDead;
  };
  // The formulas of a state, if all it says of members is that each is as some schemas say and that
  // some names must come: one member's value then has nothing to do with another's.
  struct Plain {
    bool plain = false;
    Literal shapes = kHolds;
    std::vector<NameId> wanted;
  };

  StateId state(TupleId tuple, std::uint32_t room, std::uint32_t names = 0, std::uint32_t used = 0,
                std::uint32_t seen = 0);
  StateId object_state(TupleId tuple, StateId like, std::uint32_t used, std::uint32_t seen);
  TupleId of_kind(TupleId value, Kind kind);
  TextDfa::State text_start(TupleId value, Kind kind);
  std::uint32_t space(TupleId value, TupleId object);
  ObjectPlace object_place(StateId object) const;
  void find_keys(StateId object);
  bool may_come(StateId object, KeyIndex key, std::optional<Satisfier::Witness>& witness);
  Plain plain(Literal owed);
  // Which members have a value under some shapes, as far as it is known: a bit for each key.
  struct Children {
    std::vector<std::uint32_t> known;
    std::vector<std::uint32_t> alive;
  };
  Children& children(StateId object, Literal shapes);
  bool child_alive(StateId object, Literal shapes, Children& children, KeyIndex key);
  std::uint32_t first_wanted_rank(StateId object, const Plain& plain) const;
  std::uint32_t order_of(const NameSpace& names, KeyIndex key) const;
  std::uint32_t mark_before(StateId object, std::uint32_t place);
  std::uint32_t mark_used(StateId object, KeyIndex key);
  Step make_step(StateId like, Satisfier::NextValue next, std::vector<Literal> stepped,
                 std::uint32_t used, std::uint32_t seen);
  Satisfier::NextValue next_member(StateId object, KeyIndex key, std::uint32_t used);
  Satisfier::NextValue next_item(StateId array);
  Literal values_before(StateId array, Literal rest);
  bool rest_of_object(StateId object, Literal rest, std::uint32_t used);
  void collect_asked(Literal formula, std::vector<Literal>& places) const;
  const ListQuestions& questions(TupleId meanwhile);

  Obligations& obligations_;
  FormulaPool& formulas_;
  Satisfier satisfier_;
  TextDfa texts_;
  KeyText keys_;
  WordTable tuples_;  // [0] is empty
  WordTable sets_;    // used names as bits, other names as numbers; [0] is empty
  WordTable states_;  // [0] is none
  std::vector<std::shared_ptr<const NameSpace>> spaces_;  // [0] is an array's: none
  std::unordered_map<std::uint64_t, std::uint32_t> space_ids_;
  std::vector<ValueFacts> values_;    // by tuple
  std::vector<ObjectFacts> objects_;  // by state
  std::unordered_map<std::uint64_t, TupleId> of_kind_;
  std::unordered_map<std::uint64_t, StateId> opened_;
  std::unordered_map<std::uint64_t, Step> steps_;
  std::unordered_map<std::uint32_t, Children> children_;  // by shapes, names and room
  std::size_t children_bytes_ = 0;
  std::unordered_map<std::uint64_t, bool> rests_;
  std::unordered_map<Literal, Plain> plains_;
  std::unordered_map<TupleId, std::unique_ptr<const ListQuestions>> questions_;
};

}  // namespace tessera::guided
