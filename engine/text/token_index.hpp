// token_index.hpp — ids by text: a hash table whose keys lie in one string.
//
// Filled once, then read by any number of threads. Looking up a word allocates nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/model_spec.hpp"

namespace tessera {

class TokenIndex {
 public:
  static constexpr TokenId kNone = -1;

  // `count`: how many texts will be added; more are allowed.
  explicit TokenIndex(std::size_t count = 0);

  // A text that is there already keeps its id, and add() returns false.
  bool add(std::string_view text, TokenId id);

  TokenId find(std::string_view text) const;  // kNone if it is not there
  std::size_t size() const { return count_; }

 private:
  struct Slot {
    std::uint32_t hash = 0;
    std::uint32_t bytes = 0;
    std::uint32_t begin = 0;  // in texts_
    TokenId id = kNone;       // kNone: the slot is free
  };

  std::size_t slot_of(std::string_view text, std::uint32_t hash) const;
  void grow();

  std::vector<Slot> slots_;  // a power of two, at most half full
  std::string texts_;
  std::size_t count_ = 0;
};

// A hash for tables in memory, good in its low bits.
std::uint64_t hash_text(std::string_view text);

}  // namespace tessera
