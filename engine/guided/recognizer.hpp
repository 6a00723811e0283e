// recognizer.hpp — [seam] a language of byte strings, read byte by byte: what every constraint is.
//
// A Position is a small value that means "this much has been read". Positions are persistent:
// stepping leaves the old one as it was, so rolling back is keeping a copy. A live position always
// has an end within reach: there are no dead ends. Tables behind the positions grow when they are
// stepped into, so a recognizer is not thread-safe: its owner (Constraint) locks.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "engine/guided/code_point_partition.hpp"
#include "engine/guided/string_lexer.hpp"
#include "engine/guided/text_dfa.hpp"
#include "engine/text/code_point_set.hpp"
#include "kernels/model_spec.hpp"

namespace tessera::guided {

class Vocabulary;
class TokenMask;

// What the three words mean is the recognizer's own affair, but for dead(): `node` 0.
struct Position {
  std::uint32_t node = 0;  // the structure: a frame on the document's stack, a row of items
  std::uint32_t mode = 0;  // where in it
  std::uint64_t lex = 0;   // the token being read

  bool dead() const { return node == 0; }
  bool operator==(const Position&) const = default;
};

// Equal keys of one recognizer: equal masks. It may leave out what no token is long enough to see
// (frames far down the stack, a bound that is far away).
struct MaskKey {
  std::uint64_t high = 0;
  std::uint64_t low = 0;

  bool operator==(const MaskKey&) const = default;
};

// Like TextLoop. The promises on which masks rest:
//   set     any text of at most `remaining` code points that are all in `set` (raw, unescaped) is
//           alive
//   same    (within `set`) any one code point of it leads to one and the same position. Of use only
//           where it is the very object `set` points to: then positions differ by their number of
//           code points alone, and are followed as long as the loop's set stays the same object. A
//           loop without a bound should step into itself
//   escapes (only where same is set) between the quotes of a JSON string: the escape of any code
//   point at all, spelled so, does what a code point of `set` does
// The sets stay where they are, unchanged, as long as the recognizer lives.
struct ByteLoop {
  const CodePointSet* set = nullptr;  // nullptr: no loop here
  std::uint32_t remaining = 0;        // RegexPool::kUnbounded: no end
  const CodePointSet* same = nullptr;
  std::optional<Escapes> escapes = {};
};

// A set of bytes.
class ByteSet {
 public:
  void add(std::uint8_t byte) { words_[byte / 64] |= std::uint64_t{1} << (byte % 64); }
  bool contains(std::uint8_t byte) const { return (words_[byte / 64] >> (byte % 64) & 1U) != 0; }

 private:
  std::array<std::uint64_t, 4> words_{};
};

// A position much like another: any byte that is not in `apart` leads from both to positions of
// which the same texts are alive, or is dead in both (always so if `base` is dead). The name of a
// property is like one that no schema knows, but for the letters with which known names go on.
struct Likeness {
  Position base;
  const ByteSet* apart = nullptr;  // nullptr: not known to be like any other
};

// Classes of code points that a text may be read by: where takes_classes() holds, code points of
// one class lead to one and the same position; `quoted`: those that a JSON string holds unescaped
// (any, if not). They are chosen so that it holds nearly wherever a token may go from here.
struct TextClasses {
  const Partition* classes = nullptr;  // nullptr: not known
  std::uint32_t number = 0;            // of the recognizer's own
  bool quoted = false;
};

// A text that an automaton reads by itself: positions in it differ by the automaton's state alone,
// and each code point (if `quoted`, each that a JSON string holds unescaped) steps that.
struct TextReader {
  TextDfa* automaton = nullptr;
  TextDfa::State state = TextDfa::kDead;
  bool quoted = false;
};

class Recognizer {
 public:
  virtual ~Recognizer() = default;

  virtual Position start() = 0;                                     // dead if the language is empty
  virtual Position step(Position position, std::uint8_t byte) = 0;  // dead if refused
  // A special token, which has no bytes (a tool-call marker, the end of reasoning): dead if
  // refused.
  virtual Position step_special(Position, TokenId) { return {}; }
  // Special tokens that step_special would take here are added to the mask by this.
  virtual void add_special(Position, TokenMask&) {}
  virtual bool accepting(Position position) = 0;  // the text may end here
  // Nothing but the end can follow.
  virtual bool finished(Position position) = 0;
  virtual MaskKey mask_key(Position position) = 0;
  virtual ByteLoop loop(Position) { return {}; }
  virtual Likeness likeness(Position) { return {}; }
  // Whether it is in a text that an automaton reads, between two code points: then there are a
  // text_reader(), perhaps text_classes(), and text_position() is where the text is in a state.
  virtual bool has_classes(Position) { return false; }
  virtual TextReader text_reader(Position) { return {}; }
  virtual Position text_position(Position position, TextDfa::State) { return position; }
  virtual TextClasses text_classes(Position) { return {}; }
  virtual bool takes_classes(Position, const TextClasses&) { return false; }
  // Finer classes for `from`, so that they hold at `at` as well.
  virtual TextClasses refine_classes(Position, Position) { return {}; }
  // Sets the bits of all tokens whose bytes are live from `position`: a walk over the vocabulary's
  // trie, compiled for each recognizer (token_walk.hpp).
  virtual void fill(Position position, const Vocabulary& vocabulary, TokenMask& mask) = 0;
  // The one byte that must follow; nullopt if there is a choice or the text may end here.
  virtual std::optional<std::uint8_t> forced(Position position) = 0;
  // A shortest text (or nearly so) that ends what was begun; "" where accepting.
  virtual std::string shortest_rest(Position position) = 0;
  virtual std::size_t bytes() const = 0;  // memory of the tables
};

}  // namespace tessera::guided
