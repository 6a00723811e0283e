// token_mask.hpp — a set of token ids as bits, in the model's order.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/model_spec.hpp"

namespace tessera::guided {

// (ceil(vocab_size / 64),) words; bit i of word w is token 64 w + i.
class TokenMask {
 public:
  explicit TokenMask(int vocab_size)
      : vocab_size_(vocab_size), words_((static_cast<std::size_t>(vocab_size) + 63) / 64) {}

  bool operator[](TokenId id) const {
    return (words_[static_cast<std::size_t>(id) / 64] >> (static_cast<unsigned>(id) % 64) & 1) != 0;
  }
  void set(TokenId id) {
    words_[static_cast<std::size_t>(id) / 64] |= std::uint64_t{1}
                                                 << (static_cast<unsigned>(id) % 64);
  }
  void clear(TokenId id) {
    words_[static_cast<std::size_t>(id) / 64] &=
        ~(std::uint64_t{1} << (static_cast<unsigned>(id) % 64));
  }
  void clear() { std::fill(words_.begin(), words_.end(), 0); }
  TokenMask& operator|=(const TokenMask& other) {
    for (std::size_t i = 0; i < words_.size(); ++i) words_[i] |= other.words_[i];
    return *this;
  }
  std::span<std::uint64_t> words() { return words_; }
  std::span<const std::uint64_t> words() const { return words_; }
  int vocab_size() const { return vocab_size_; }
  bool operator==(const TokenMask&) const = default;

 private:
  int vocab_size_;
  std::vector<std::uint64_t> words_;
};

// A word of a sparse mask.
struct MaskWord {
  std::uint32_t index = 0;
  std::uint64_t bits = 0;
};

}  // namespace tessera::guided
