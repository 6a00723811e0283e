// shared_map.hpp — a map whose copies share what they have in common.
//
// A copy is kShards pointers; a change copies one shard. A snapshot of a million keys is so made
// anew in a millisecond, and readers keep the old one for as long as they like.
#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <unordered_map>
#include <utility>

namespace tessera {

// As thread-safe as a std::map: copies are independent.
template <class Key, class Value>
class SharedMap {
 public:
  using Shared = std::shared_ptr<const Value>;

  // Null if there is none; valid as long as this copy has it.
  const Shared* find(const Key& key) const {
    const auto& shard = shards_[shard_of(key)];
    if (!shard) return nullptr;
    const auto found = shard->find(key);
    return found == shard->end() ? nullptr : &found->second;
  }

  void put(const Key& key, Value value) {
    writable(shard_of(key))[key] = std::make_shared<const Value>(std::move(value));
  }
  void erase(const Key& key) {
    if (find(key)) writable(shard_of(key)).erase(key);
  }

  // Calls visit(key, value) for all, in no order, until it returns false.
  template <class Visit>
  void each(Visit visit) const {
    for (const auto& shard : shards_) {
      if (!shard) continue;
      for (const auto& [key, value] : *shard) {
        if (!visit(key, *value)) return;
      }
    }
  }

 private:
  using Shard = std::unordered_map<Key, Shared>;

  static constexpr std::size_t kNumShards = 1024;
  static std::size_t shard_of(const Key& key) {
    // Not the low bits, which the shard's own buckets use.
    return (std::hash<Key>()(key) * 0x9E3779B97F4A7C15U) >> 54U;
  }

  // A shard, this copy's own.
  Shard& writable(std::size_t index) {
    auto& shard = shards_[index];
    if (!shard) {
      shard = std::make_shared<Shard>();
    } else if (shard.use_count() > 1) {
      shard = std::make_shared<Shard>(*shard);
    }
    return *shard;
  }

  std::array<std::shared_ptr<Shard>, kNumShards> shards_;
};

}  // namespace tessera
