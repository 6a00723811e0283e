// token_text_walk.hpp — the tokens of a text that one automaton reads, all in one pass.
//
// The tokens' code points are a trie whose nodes lie level by level (code_point_trie.hpp), so the
// automaton's state behind each node is found from its parent's in one sweep over an array: no
// stack, and a few loads a node. Whatever the text's language, a mask costs no more than that
// sweep, which is less than it takes to make classes or a slice: it is for languages in which
// tokens have too little in common, and for those that are asked for the first time.
//
// Tokens that leave the text (by its quote, by an escape, in the middle of a code point) are read
// byte by byte from there on, equal rests from equal states once.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "engine/guided/code_point_trie.hpp"
#include "engine/guided/recognizer.hpp"
#include "engine/guided/text_dfa.hpp"
#include "engine/guided/token_mask.hpp"
#include "engine/guided/vocabulary.hpp"

namespace tessera::guided {

// The states behind the nodes of a trie of code points. Not thread-safe.
class TextStates {
 public:
  using State = TextDfa::State;

  // From `state` at the root on.
  void read(TextDfa& automaton, State state, const CodePointTrie& tokens);
  State operator[](std::uint32_t node) const { return at_[node]; }
  // Sets the tokens that are whole code points and alive.
  void set_alive(const CodePointTrie& tokens, TokenMask& mask) const;
  // This thread's: its memory is kept from mask to mask.
  static TextStates& of_thread();

 private:
  // By the number of a symbol: its class, in one of the partitions that this text is read by.
  struct Classes {
    const Partition* of = nullptr;
    std::vector<std::uint32_t> classes;
  };
  static constexpr std::size_t kMostTables = 8;

  std::uint32_t class_of(const Partition& partition, std::uint32_t symbol,
                         const CodePointTrie& tokens);
  void make_table(Classes& table, const Partition& partition, const CodePointTrie& tokens);

  std::vector<State> at_;  // by node
  std::array<Classes, kMostTables> tables_;
  std::size_t num_tables_ = 0;
};

// A part of TokenWalk. Not thread-safe; may be left by an exception at any point.
template <class R>
class TextWalk {
 public:
  // Sets the bits of the tokens that are alive; `mask` is all clear. `position` is in a text that
  // an automaton reads.
  void fill(R& recognizer, Position position, const Vocabulary& vocabulary, TokenMask& mask) {
    const TextReader text = recognizer.text_reader(position);
    const CodePointTrie& tokens = vocabulary.code_points(text.quoted);
    TextStates& states = TextStates::of_thread();
    states.read(*text.automaton, text.state, tokens);
    states.set_alive(tokens, mask);
    set_exits(recognizer, position, tokens.exits(), states, mask);
  }

 private:
  static constexpr std::size_t kKept = 256;

  struct Begun {  // where the first byte of rests leads from a state
    TextDfa::State state = TextDfa::kDead;
    std::uint8_t byte = 0;
    Position at;
  };
  struct Read {  // whether a rest is alive from a state
    TextDfa::State state = TextDfa::kDead;
    std::string_view rest;
    bool alive = false;
  };

  // They are sorted by their rests, so equal ones are neighbours.
  void set_exits(R& recognizer, Position position, std::span<const CodePointTrie::Exit> exits,
                 const TextStates& states, TokenMask& mask) {
    begun_.fill({});
    read_.fill({});
    for (const CodePointTrie::Exit& exit : exits) {
      const TextDfa::State state = states[exit.node];
      if (state == TextDfa::kDead) continue;
      const Position first = begin(recognizer, position, state, exit.rest.front());
      if (first.dead()) continue;
      Read& read = read_[state % kKept];
      if (read.state != state || read.rest != exit.rest) {
        read = {state, exit.rest, is_alive(recognizer, first, exit.rest.substr(1))};
      }
      if (read.alive) mask.set(exit.id);
    }
  }

  Position begin(R& recognizer, Position position, TextDfa::State state, char first) {
    const auto byte = static_cast<std::uint8_t>(first);
    Begun& begun = begun_[state % kKept];
    if (begun.state != state || begun.byte != byte) {
      begun = {state, byte, recognizer.step(recognizer.text_position(position, state), byte)};
    }
    return begun.at;
  }

  static bool is_alive(R& recognizer, Position at, std::string_view rest) {
    for (const char byte : rest) {
      at = recognizer.step(at, static_cast<std::uint8_t>(byte));
      if (at.dead()) return false;
    }
    return true;
  }

  std::array<Begun, kKept> begun_;  // by state: the last of each
  std::array<Read, kKept> read_;
};

}  // namespace tessera::guided
