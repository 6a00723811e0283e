#include "engine/text/token_index.hpp"

#include <algorithm>
#include <bit>
#include <cassert>
#include <cstring>
#include <utility>

namespace tessera {

std::uint64_t hash_text(std::string_view text) {
  constexpr std::uint64_t kMultiplier = 0x9E3779B97F4A7C15U;
  std::uint64_t hash = text.size() * kMultiplier;
  const auto mix = [&hash](std::uint64_t value) {
    hash = (hash ^ value) * kMultiplier;
    hash ^= hash >> 32U;
  };
  while (text.size() >= sizeof(std::uint64_t)) {
    std::uint64_t eight = 0;
    std::memcpy(&eight, text.data(), sizeof eight);
    mix(eight);
    text.remove_prefix(sizeof eight);
  }
  std::uint64_t rest = 0;
  for (const char c : text) rest = (rest << 8U) | static_cast<std::uint8_t>(c);
  mix(rest);
  return hash;
}

TokenIndex::TokenIndex(std::size_t count)
    : slots_(std::bit_ceil(std::max<std::size_t>(2 * count, 16))) {}

std::size_t TokenIndex::slot_of(std::string_view text, std::uint32_t hash) const {
  const std::size_t mask = slots_.size() - 1;
  std::size_t at = hash & mask;
  while (true) {
    const Slot& slot = slots_[at];
    if (slot.id == kNone) return at;
    if (slot.hash == hash && slot.bytes == text.size() &&
        std::memcmp(texts_.data() + slot.begin, text.data(), text.size()) == 0) {
      return at;
    }
    at = (at + 1) & mask;
  }
}

bool TokenIndex::add(std::string_view text, TokenId id) {
  assert(id >= 0);
  if (2 * (count_ + 1) > slots_.size()) grow();
  const auto hash = static_cast<std::uint32_t>(hash_text(text));
  Slot& slot = slots_[slot_of(text, hash)];
  if (slot.id != kNone) return false;
  slot = {hash, static_cast<std::uint32_t>(text.size()), static_cast<std::uint32_t>(texts_.size()),
          id};
  texts_ += text;
  ++count_;
  return true;
}

TokenId TokenIndex::find(std::string_view text) const {
  return slots_[slot_of(text, static_cast<std::uint32_t>(hash_text(text)))].id;
}

void TokenIndex::grow() {
  const std::vector<Slot> old = std::exchange(slots_, std::vector<Slot>(2 * slots_.size()));
  for (const Slot& slot : old) {
    if (slot.id == kNone) continue;
    const std::string_view text = std::string_view(texts_).substr(slot.begin, slot.bytes);
    slots_[slot_of(text, slot.hash)] = slot;
  }
}

}  // namespace tessera
