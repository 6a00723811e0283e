#include "engine/guided/mask_store.hpp"

#include <bit>

namespace tessera::guided {
namespace {

constexpr std::uint64_t kMix = 0x9E3779B97F4A7C15U;
constexpr std::size_t kEntryBytes = 96;  // of a hash table, about

std::uint64_t mixed(std::uint64_t value) {
  value = (value ^ (value >> 32U)) * kMix;
  return value ^ (value >> 29U);
}

// Four chains, so that the multiplications of one do not wait for each other.
std::uint64_t hash_of(const TokenMask& mask) {
  std::uint64_t chains[4] = {1, 2, 3, 4};
  const std::span<const std::uint64_t> words = mask.words();
  std::size_t i = 0;
  for (; i + 4 <= words.size(); i += 4) {
    for (std::size_t k = 0; k < 4; ++k) {
      chains[k] = std::rotl((chains[k] ^ words[i + k]) * kMix, 31);
    }
  }
  for (; i < words.size(); ++i) chains[0] = std::rotl((chains[0] ^ words[i]) * kMix, 31);
  std::uint64_t hash = 0;
  for (const std::uint64_t chain : chains) hash = mixed(hash + chain);
  return hash;
}

}  // namespace

std::size_t MaskStore::KeyHash::operator()(const Key& key) const {
  return mixed(key.mask.low + mixed(key.mask.high) + (key.accepting ? kMix : 0));
}

const MaskStore::Mask* MaskStore::find(const Key& key) const {
  const auto found = by_key_.find(key);
  return found == by_key_.end() ? nullptr : &found->second;
}

const MaskStore::Mask* MaskStore::add(const Key& key, const TokenMask& mask) {
  bytes_ += kEntryBytes;
  return &(by_key_[key] = intern(std::move(mask)));
}

const MaskStore::Mask* MaskStore::add_unkeyed(const TokenMask& mask) {
  return &intern(mask);
}

const MaskStore::Mask& MaskStore::intern(const TokenMask& mask) {
  const std::uint64_t hash = hash_of(mask);
  const auto [first, last] = by_content_.equal_range(hash);
  for (auto it = first; it != last; ++it) {
    if (*it->second == mask) return it->second;
  }
  bytes_ += kEntryBytes + mask.words().size_bytes();
  return by_content_.emplace(hash, std::make_shared<const TokenMask>(mask))->second;
}

}  // namespace tessera::guided
