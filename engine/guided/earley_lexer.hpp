// earley_lexer.hpp — the lexemes that are being read at a place of a grammar, byte by byte.
//
// Each lexeme is read by itself, in states shared by every place that has it; a set of lexemes and
// their states is interned and steps by one look-up once it has stepped before. What is live is
// decided by the place (contextual lexing): the sets begin with the lexemes legal there.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/guided/grammar.hpp"
#include "engine/guided/hash_index.hpp"
#include "engine/guided/recognizer.hpp"
#include "engine/guided/regex_pool.hpp"
#include "engine/guided/text_dfa.hpp"

namespace tessera::guided {

// Successors by byte, made as they are first taken: 32 bytes' worth at a time, since most states
// only ever see letters, or only digits.
class ByteTable {
 public:
  using Row = std::array<std::uint32_t, 8>;  // blocks; 0: not made yet
  static constexpr std::uint32_t kUnknown = ~std::uint32_t{0};

  ByteTable() : cells_(kBlock, kUnknown) {}
  std::uint32_t get(const Row& row, std::uint8_t byte) const {
    return cells_[row[byte / kBlock] * kBlock + byte % kBlock];
  }
  void set(Row& row, std::uint8_t byte, std::uint32_t next);
  std::size_t bytes() const { return cells_.capacity() * sizeof(std::uint32_t); }

 private:
  static constexpr std::size_t kBlock = 32;
  std::vector<std::uint32_t> cells_;
};

// Texts of single lexemes: UTF-8 of a regular language, or documents of a child recognizer. A live
// state always has an end within reach. The grammar and the pool outlive it; not thread-safe.
class LexemeReader {
 public:
  using State = std::uint32_t;
  static constexpr State kDead = 0;

  LexemeReader(const Grammar& grammar, RegexPool& pool);

  State start(LexemeId lexeme);
  State step(State state, std::uint8_t byte);
  bool accepts(State state) const { return entries_[state].accepts; }
  // The text may end here and cannot go on.
  bool spent(State state) const { return entries_[state].spent; }
  ByteLoop loop(State state);
  // Whether all code points of `set` lead to one state, or are all refused.
  bool follows(State state, const CodePointSet& set);
  // The one byte that must follow; nullopt if there is a choice (or there seems to be one).
  std::optional<std::uint8_t> forced(State state);
  std::string shortest_rest(State state);
  std::size_t bytes() const;

 private:
  struct Entry {
    TextDfa::State text = TextDfa::kDead;
    std::uint32_t pending = 0;  // of a code point that is half read; 0: nothing
    std::uint32_t child = GrammarLexeme::kNoChild;
    Position position = {};  // in the child
    bool accepts = false;
    bool spent = false;
    ByteTable::Row next = {};
  };

  State intern(Entry entry);
  Entry stepped(const Entry& from, std::uint8_t byte);
  Entry stepped_text(const Entry& from, std::uint8_t byte);

  const Grammar& grammar_;
  TextDfa dfa_;
  std::vector<Entry> entries_;
  std::vector<State> starts_;  // of each lexeme, kDead until asked for
  HashIndex index_;
  ByteTable table_;
};

// Sets of lexemes, each with its state.
class LexemeSets {
 public:
  using Id = std::uint32_t;
  static constexpr Id kNone = 0;  // nothing is live

  struct Part {
    LexemeId lexeme;
    LexemeReader::State state;

    bool operator==(const Part&) const = default;
  };

  explicit LexemeSets(LexemeReader& reader) : reader_(reader), sets_(1) {}

  Id start(std::span<const LexemeId> lexemes);  // sorted
  Id step(Id set, std::uint8_t byte) {
    const std::uint32_t known = table_.get(sets_[set].next, byte);
    return known != ByteTable::kUnknown ? known : step_first(set, byte);
  }
  std::span<const Part> parts(Id set) const { return sets_[set].parts; }
  std::span<const LexemeId> complete(Id set) const { return sets_[set].complete; }
  // The set without the lexemes that cannot go on.
  Id going_on(Id set) const { return sets_[set].going_on; }
  std::size_t bytes() const;

 private:
  struct Set {
    std::vector<Part> parts;         // sorted by lexeme
    std::vector<LexemeId> complete;  // whose text may end here
    Id going_on = kNone;
    ByteTable::Row next = {};
  };

  Id step_first(Id set, std::uint8_t byte);
  Id intern(std::span<const Part> parts);

  LexemeReader& reader_;
  std::vector<Set> sets_;
  HashIndex index_;
  ByteTable table_;
  std::vector<Part> stepped_;  // of the step being made
  std::size_t part_bytes_ = 0;
};

}  // namespace tessera::guided
