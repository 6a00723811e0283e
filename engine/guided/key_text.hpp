// key_text.hpp — the text of a property's name while it is read: a TextDfa for names.
//
// Known names are a sorted list, so a prefix is a range of it and a number of bytes; which of them
// may still come is a row of bits. Other names are read by a TextDfa. Names that have come already
// are on the way too: they may not come again, and a prefix that can only end in one of them is
// dead. A text that no known name begins with is no longer followed; nearly all such texts are one
// state.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string_view>
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
    std::vector<NameId> seen;  // not known, and may not come again
  };
  using PlaceId = std::uint32_t;

  KeyText(Obligations& obligations, TextDfa& dfa);

  PlaceId add_place(Place place);
  State start(PlaceId place);
  State step(State state, char32_t code_point);
  bool any_step(State state, char32_t begin, char32_t end);
  bool accepts(State state) const;
  // The known name that the text is, or the class that it is in as another name: an index of the
  // place's NameSpace, num_keys() if it is in none.
  KeyIndex known(PlaceId place, State state) const;
  // Whether a name that is not known may come of it.
  bool others(State state) const { return node(state)[kOther] != TextDfa::kDead; }
  ByteLoop loop(State state, const CodePointSet& raw);
  char32_t forced(State) { return 0; }
  // The one copy of a set.
  const CodePointSet* keep(CodePointSet set);
  // A short rest after which the text is accepted.
  std::string shortest_rest(State state);
  std::size_t bytes() const;

 private:
  // Words of a node. A text that is no longer followed has only kOther (and place 0).
  enum Word : std::uint8_t { kPlace, kLow, kHigh, kDepth, kOther, kExample, kNumWords };
  using Node = std::span<const std::uint32_t>;

  Node node(State state) const { return nodes_[state]; }
  const Place& place(Node node) const { return *places_[node[kPlace]]; }
  std::string_view text(NameId name) const { return obligations_.name(name); }
  std::string_view known_text(const Place& place, KeyIndex index) const {
    return text(place.names->name(index));
  }
  bool any_allowed(const Place& place, KeyIndex low, KeyIndex high) const;
  State make(PlaceId place, KeyIndex low, KeyIndex high, std::uint32_t depth, TextDfa::State other,
             NameId example);
  State off(TextDfa::State other);
  static std::vector<RegexId> languages(const NameSpace& names);
  bool other_alive(const Place& place, std::string_view prefix) const;
  // The next code points of the names that begin with the node's text.
  CodePointSet followed(Node node) const;

  Obligations& obligations_;
  TextDfa& dfa_;
  std::vector<std::unique_ptr<const Place>> places_;  // [0] is none
  WordTable nodes_;
  std::vector<std::unique_ptr<const CodePointSet>> sets_;
  std::unordered_map<State, const CodePointSet*> same_;
};

}  // namespace tessera::guided
