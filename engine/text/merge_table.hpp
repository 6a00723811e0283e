// merge_table.hpp — pairs of ids to what they merge into; open addressing, filled once.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/model_spec.hpp"

namespace tessera {

class MergeTable {
 public:
  struct Merge {
    std::int32_t rank;
    TokenId result;
  };
  static constexpr std::int32_t kNoMerge = 0x7FFFFFFF;  // a rank

  explicit MergeTable(std::size_t num_merges)
      : slots_(std::bit_ceil(std::max<std::size_t>(2 * num_merges, 2)),
               Slot{kEmpty, {kNoMerge, -1}}) {}

  // A pair that is there already gets the new merge.
  void insert(TokenId left, TokenId right, Merge merge) {
    const std::uint64_t pair = pair_key(left, right);
    slots_[slot_of(pair)] = {pair, merge};
  }

  // Of rank kNoMerge if the pair has none.
  Merge find(TokenId left, TokenId right) const {
    return slots_[slot_of(pair_key(left, right))].merge;
  }

 private:
  static constexpr std::uint64_t kEmpty = ~std::uint64_t{0};
  struct Slot {
    std::uint64_t pair;
    Merge merge;
  };

  static std::uint64_t pair_key(TokenId left, TokenId right) {
    return (std::uint64_t{static_cast<std::uint32_t>(left)} << 32U) |
           static_cast<std::uint32_t>(right);
  }
  std::size_t slot_of(std::uint64_t pair) const {
    const std::size_t mask = slots_.size() - 1;
    std::size_t slot = ((pair * 0x9E3779B97F4A7C15U) >> 32U) & mask;
    while (slots_[slot].pair != kEmpty && slots_[slot].pair != pair) slot = (slot + 1) & mask;
    return slot;
  }

  std::vector<Slot> slots_;  // a power of two, at most half full
};

}  // namespace tessera
