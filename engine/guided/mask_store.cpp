#include "engine/guided/mask_store.hpp"

#include <array>

#include "engine/guided/modular.hpp"

namespace tessera::guided {
namespace {

constexpr std::uint64_t kMix = 0x9E3779B97F4A7C15U;
constexpr std::size_t kEntryBytes = 96;  // of a hash table, about

std::uint64_t mixed(std::uint64_t value) {
  value = (value ^ (value >> 32U)) * kMix;
  return value ^ (value >> 29U);
}

// Two words a multiplication, in chains that do not wait for each other's.
std::uint64_t hash_of(const TokenMask& mask) {
  constexpr std::size_t kChains = 8;
  std::array<std::uint64_t, kChains> chains = {1, 2, 3, 4, 5, 6, 7, 8};
  const std::span<const std::uint64_t> words = mask.words();
  std::size_t i = 0;
  for (; i + 2 * kChains <= words.size(); i += 2 * kChains) {
    for (std::size_t k = 0; k < kChains; ++k) {
      const Wide product = Wide{words[i + 2 * k] ^ chains[k]} * (words[i + 2 * k + 1] ^ kMix);
      chains[k] += static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64U);
    }
  }
  for (; i < words.size(); ++i) chains[0] = mixed(chains[0] ^ words[i]);
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
