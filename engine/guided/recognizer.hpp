// recognizer.hpp — [seam] a language of byte strings, read byte by byte: what every constraint is.
//
// A Position is a small value that means "this much has been read". Positions are persistent:
// stepping leaves the old one as it was, so rolling back is keeping a copy. A live position always
// has an end within reach: there are no dead ends. Tables behind the positions grow when they are
// stepped into, so a recognizer is not thread-safe: its owner (Constraint) locks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

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
//   set    any text of at most `remaining` code points that are all in `set` (raw, unescaped) is
//   alive same   (within `set`) any one code point of it leads to one and the same position. Of use
//   only
//          where it is the very object `set` points to: then positions differ by their number of
//          code points alone, and are followed as long as the loop's set stays the same object. A
//          loop without a bound should step into itself
// The sets stay where they are, unchanged, as long as the recognizer lives.
struct ByteLoop {
  const CodePointSet* set = nullptr;  // nullptr: no loop here
  std::uint32_t remaining = 0;        // RegexPool::kUnbounded: no end
  const CodePointSet* same = nullptr;
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
