// key_text.hpp — the text of a property's name while it is read: a TextDfa for names.
//
// Known names are a sorted list, so a prefix is a range of it and a number of bytes; which of them
// may still come is a row of bits. Other names are read by a TextDfa. Names that have come already
// are on the way too: they may not come again, and a prefix that can only end in one of them is
// dead. A text that no known name begins with is no longer followed; nearly all such texts are one
// state.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "engine/guided/name_space.hpp"
#include "engine/guided/recognizer.hpp"
#include "engine/guided/text_dfa.hpp"
#include "engine/guided/word_table.hpp"

namespace tessera::guided {

// Not thread-safe; owned by one recognizer. Has what BasicStringLexer asks of a text automaton.
class KeyText {
 public:
  using State = std::uint32_t;
  static constexpr State kDead = 0;

  // Which names may come: a bit for each known name, and a language of others (kNothing for none).
  struct Place {
    const NameSpace* names = nullptr;
    std::vector<std::uint32_t> allowed;
    RegexId others = RegexPool::kNothing;
    RegexId loose = RegexPool::kNothing;  // others, and perhaps some of the known names
    std::vector<NameId> seen;             // not known, and may not come again
  };
  using PlaceId = std::uint32_t;

  KeyText(Obligations& obligations, TextDfa& dfa);

  PlaceId add_place(Place place);
  State start(PlaceId place);
  State step(State state, char32_t code_point) {
    const Node at = node(state);
    return at[kPlace] == 0 ? off(step_other(at[kOther], code_point))
                           : step_followed(state, code_point);
  }
  bool any_step(State state, char32_t begin, char32_t end);
  bool accepts(State state) const;
  // The known name that the text is, or the class that it is in as another name: an index of the
  // place's NameSpace, num_keys() if it is in none.
  KeyIndex known(PlaceId place, State state) const;
  // Whether a name that is not known may come of it.
  bool others(State state) const { return other(state) != TextDfa::kDead; }
  // Where names follow.
  ByteLoop loop(State state, const CodePointSet& raw);
  // The text as another name.
  TextDfa::State other(State state) const { return node(state)[kOther]; }
  // Whether a known name (or one that has come) begins with the text.
  bool follows_names(State state) const { return node(state)[kPlace] != 0; }
  // The same text as if no such name began so; kDead if no other name may.
  State without_names(State state) { return off(node(state)[kLoose]); }
  // Another name, of which only this is followed.
  State of_other(TextDfa::State other) { return off(other); }
  // The bytes between quotes on which the two may differ.
  const ByteSet& apart(State state) { return row(state).branches->apart; }
  char32_t forced(State) { return 0; }
  // The one copy of a set.
  const CodePointSet* keep(CodePointSet set);
  // A short rest after which the text is accepted.
  std::string shortest_rest(State state);
  std::size_t bytes() const;

 private:
  // Words of a node. A text that is no longer followed has only kOther (and place 0). kLoose is
  // where Place::loose is.
  enum Word : std::uint8_t { kPlace, kLow, kHigh, kDepth, kOther, kLoose, kExample, kNumWords };
  using Node = std::array<std::uint32_t, kNumWords>;
  struct Branches;
  // How names go on: by code point, and which names then follow.
  struct Branch {
    char32_t code_point = 0;
    KeyIndex low = 0;
    KeyIndex high = 0;
    Branches* below = nullptr;  // once asked for
  };
  struct Branches {
    std::vector<Branch> of;
    ByteSet apart;
  };
  // Of a text that names follow: its branches, and the state behind each once it is known.
  struct Row {
    Branches* branches = nullptr;
    std::uint32_t first = 0;  // in next_; that of branch i is at first + i
  };
  static constexpr State kUnknown = ~State{0};
  static constexpr std::uint32_t kNoRow = ~std::uint32_t{0};

  const Node& node(State state) const { return nodes_[state]; }
  const Place& place(const Node& node) const { return *places_[node[kPlace]]; }
  std::string_view text(NameId name) const { return obligations_.name(name); }
  std::string_view known_text(const Place& place, KeyIndex index) const {
    return text(place.names->name(index));
  }
  bool any_allowed(const Place& place, KeyIndex low, KeyIndex high) const;
  // `led`: the branch that leads to it.
  State make(const Node& node, Branch* led);
  State intern(const Node& node);
  State off(TextDfa::State other) {
    if (other == TextDfa::kDead) return kDead;
    const State known = other < off_.size() ? off_[other] : kUnknown;
    return known != kUnknown ? known : make_off(other);
  }
  State make_off(TextDfa::State other);
  State step_followed(State state, char32_t code_point);
  static std::vector<RegexId> languages(const NameSpace& names, bool loose);
  bool other_alive(const Place& place, std::string_view prefix) const;
  Row row(State state);
  Branches* branches(State state);
  Branches* keep_branches(Branches made);
  Branches find_branches(const Node& node) const;
  void add_seen(const Node& node, std::vector<Branch>& branches) const;
  // Where the row's branch leads.
  State follow(State state, Row row, std::size_t branch);
  // The first that is not below the code point.
  static std::size_t first_branch(const Branches& branches, char32_t code_point);
  TextDfa::State step_other(TextDfa::State other, char32_t code_point) {
    return other == TextDfa::kDead ? TextDfa::kDead : dfa_.step(other, code_point);
  }

  Obligations& obligations_;
  TextDfa& dfa_;
  std::vector<std::unique_ptr<const Place>> places_;  // [0] is none
  std::vector<Node> nodes_;                           // by state
  HashIndex index_;                                   // of nodes
  std::vector<std::unique_ptr<const CodePointSet>> sets_;
  std::unordered_map<State, const CodePointSet*> same_;
  std::vector<State> off_;                // by `other`; kUnknown until asked for
  std::vector<std::uint32_t> row_index_;  // by state
  std::vector<Row> rows_;
  std::vector<State> next_;      // kUnknown until asked for
  std::vector<Branch*> led_to_;  // by state: the branch that led there; nullptr: none
  // Places of one name space share the branches of its known names, which hang together below its
  // root; where names that have come are on the way, a text has branches of its own.
  std::unordered_map<const NameSpace*, Branch> roots_;
  std::deque<Branches> branches_;
  std::size_t branch_bytes_ = 0;
};

}  // namespace tessera::guided
