// word_table.hpp — sequences of 32-bit words, kept once: what states, sets and formulas are made
// of.
//
// Equal sequences have one number, so that a state of the document machine is a word again and can
// stand in the next. Sequences never move: a span stays valid as long as the table.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "engine/guided/hash_index.hpp"

namespace tessera::guided {

// Two numbers as one key.
inline std::uint64_t pair_key(std::uint32_t high, std::uint32_t low) {
  return std::uint64_t{high} << 32U | low;
}

// A set of small numbers as a row of bits.
inline bool has_bit(std::span<const std::uint32_t> bits, std::uint32_t index) {
  return (bits[index / 32] >> (index % 32) & 1U) != 0;
}

inline void set_bit(std::span<std::uint32_t> bits, std::uint32_t index) {
  bits[index / 32] |= 1U << (index % 32);
}

// Not thread-safe.
class WordTable {
 public:
  using Words = std::span<const std::uint32_t>;

  std::uint32_t intern(Words words) {
    const std::uint64_t hash = hash_of(words);
    const std::uint32_t found = index_.find(
        hash, [&](std::uint32_t entry) { return std::ranges::equal(entries_[entry], words); });
    if (found != HashIndex::kNone) return found;
    const auto entry = static_cast<std::uint32_t>(entries_.size());
    entries_.push_back(store(words));
    index_.insert(hash, entry);
    return entry;
  }
  Words operator[](std::uint32_t entry) const { return entries_[entry]; }
  std::uint32_t size() const { return static_cast<std::uint32_t>(entries_.size()); }
  std::size_t bytes() const {
    return entries_.capacity() * sizeof(Words) + chunk_bytes_ + index_.bytes();
  }

 private:
  static constexpr std::size_t kChunkWords = 1024;

  static std::uint64_t hash_of(Words words) {
    std::uint64_t hash = words.size();
    std::size_t i = 0;
    for (; i + 2 <= words.size(); i += 2) hash = mix(hash, pair_key(words[i], words[i + 1]));
    return i < words.size() ? mix(hash, words[i]) : hash;
  }

  Words store(Words words) {
    if (words.size() > room_) {
      room_ = std::max(kChunkWords, words.size());
      chunks_.push_back(std::make_unique<std::uint32_t[]>(room_));
      chunk_bytes_ += room_ * sizeof(std::uint32_t);
      next_ = chunks_.back().get();
    }
    std::uint32_t* const at = next_;
    std::ranges::copy(words, at);
    next_ += words.size();
    room_ -= words.size();
    return {at, words.size()};
  }

  std::vector<Words> entries_;
  std::vector<std::unique_ptr<std::uint32_t[]>> chunks_;
  std::uint32_t* next_ = nullptr;
  std::size_t room_ = 0;  // words left in the last chunk
  std::size_t chunk_bytes_ = 0;
  HashIndex index_;
};

}  // namespace tessera::guided
