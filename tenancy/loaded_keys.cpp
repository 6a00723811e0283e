#include "tenancy/loaded_keys.hpp"

#include <algorithm>
#include <bit>
#include <cassert>
#include <cstring>
#include <iterator>
#include <limits>
#include <utility>

#include "tenancy/records.hpp"

namespace tessera {
namespace {

constexpr std::size_t kBlockBytes = std::size_t{1} << 20;

std::uint32_t hash_of(std::string_view id) {
  return static_cast<std::uint32_t>(std::hash<std::string_view>()(id) >> 7U);
}

// A short text behind its size; returns where the next goes.
char* put_short(std::string_view text, char* at) {
  assert(text.size() <= std::numeric_limits<unsigned char>::max());
  *at = static_cast<char>(text.size());
  return std::copy(text.begin(), text.end(), at + 1);
}

std::string_view short_at(const char* at) {
  return {at + 1, static_cast<unsigned char>(*at)};
}

}  // namespace

void LoadedKeys::Pile::add(const ApiKeyRecord& record, std::string_view text) {
  const std::string& id = record.id.str();
  char* const bytes = room_for(1 + id.size() + text.size());
  std::ranges::copy(text, put_short(id, bytes));
  entries_.push_back(
      {.bytes = bytes, .text_bytes = static_cast<std::uint32_t>(text.size()), .hash = hash_of(id)});
  tenants_.push_back(number_of(record.tenant));
}

std::uint32_t LoadedKeys::Pile::number_of(const TenantId& tenant) {
  const auto next = static_cast<std::uint32_t>(tenant_numbers_.size());
  return tenant_numbers_.try_emplace(tenant, next).first->second;
}

char* LoadedKeys::Pile::room_for(std::size_t bytes) {
  if (bytes > left_) {
    const std::size_t size = std::max(bytes, kBlockBytes);
    blocks_.push_back(std::make_unique_for_overwrite<char[]>(size));
    left_ = size;
  }
  // From the end of the block: what is left is before it.
  left_ -= bytes;
  return blocks_.back().get() + left_;
}

LoadedKeys::LoadedKeys(std::vector<Pile> piles) {
  put_in_order(piles);
  index_tenants(piles);
  for (Pile& pile : piles) std::ranges::move(pile.blocks_, std::back_inserter(blocks_));
  decoded_ = std::make_unique<Decoded[]>(entries_.size());
  index_ids();
}

LoadedKeys::~LoadedKeys() {
  for (std::size_t i = 0; i < entries_.size(); ++i) delete decoded_[i].load();
}

void LoadedKeys::put_in_order(const std::vector<Pile>& piles) {
  std::size_t count = 0;
  for (const Pile& pile : piles) count += pile.entries_.size();
  assert(count < kNone);
  entries_.reserve(count);
  for (const Pile& pile : piles) {
    entries_.insert(entries_.end(), pile.entries_.begin(), pile.entries_.end());
  }
}

void LoadedKeys::index_ids() {
  slots_.assign(std::bit_ceil(2 * entries_.size() + 1), kNone);
  const std::size_t mask = slots_.size() - 1;
  for (std::uint32_t index = 0; index < entries_.size(); ++index) {
    std::size_t slot = entries_[index].hash & mask;
    while (slots_[slot] != kNone) slot = (slot + 1) & mask;
    slots_[slot] = index;
  }
}

void LoadedKeys::index_tenants(const std::vector<Pile>& piles) {
  following_.reserve(entries_.size());
  for (const Pile& pile : piles) {
    std::vector<std::uint32_t*> firsts(pile.tenant_numbers_.size());
    for (const auto& [tenant, number] : pile.tenant_numbers_) {
      firsts[number] = &first_of_tenant_.try_emplace(tenant, kNone).first->second;
    }
    for (const std::uint32_t number : pile.tenants_) {
      const auto index = static_cast<std::uint32_t>(following_.size());
      following_.push_back(std::exchange(*firsts[number], index));
    }
  }
}

std::string_view LoadedKeys::id_at(std::uint32_t index) const {
  return short_at(entries_[index].bytes);
}

std::string_view LoadedKeys::text_at(std::uint32_t index) const {
  const std::string_view id = id_at(index);
  return {id.data() + id.size(), entries_[index].text_bytes};
}

std::uint32_t LoadedKeys::index_of(std::string_view id) const {
  const std::uint32_t hash = hash_of(id);
  const std::size_t mask = slots_.size() - 1;
  for (std::size_t slot = hash & mask; slots_[slot] != kNone; slot = (slot + 1) & mask) {
    const std::uint32_t index = slots_[slot];
    if (entries_[index].hash == hash && id_at(index) == id) return index;
  }
  return kNone;
}

// Whoever is first decides which of two equal ones is kept.
const ApiKeyRecord* LoadedKeys::decoded(std::uint32_t index) const {
  Decoded& place = decoded_[index];
  const ApiKeyRecord* known = place.load(std::memory_order_acquire);
  if (known != nullptr) return known;
  auto record = decode<ApiKeyRecord>(text_at(index));
  if (!record) return nullptr;  // it could be read at the start: memory is broken
  auto made = std::make_unique<const ApiKeyRecord>(*std::move(record));
  if (!place.compare_exchange_strong(known, made.get(), std::memory_order_acq_rel)) return known;
  return made.release();
}

std::shared_ptr<const ApiKeyRecord> LoadedKeys::find(const KeyId& id) const {
  const std::uint32_t index = index_of(id.str());
  if (index == kNone) return nullptr;
  return {shared_from_this(), decoded(index)};
}

std::vector<KeyId> LoadedKeys::ids_of(const TenantId& tenant) const {
  std::vector<KeyId> ids;
  const auto first = first_of_tenant_.find(tenant);
  if (first == first_of_tenant_.end()) return ids;
  for (std::uint32_t index = first->second; index != kNone; index = following_[index]) {
    ids.emplace_back(std::string(id_at(index)));
  }
  return ids;
}

}  // namespace tessera
