// key_uses.hpp — when each API key was last used, to the minute.
//
// A request leaves a note in memory; a thread writes the new ones every kKeyUsesPeriod, without
// syncing. A kill loses the last seconds of it, which no admin who looks for unused keys will miss.
// Notes of earlier minutes leave memory when they are written, so what is held is the keys at work.
#pragma once

#include <array>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <functional>
#include <map>
#include <optional>
#include <thread>
#include <unordered_map>

#include "storage/clock.hpp"
#include "storage/ids.hpp"
#include "storage/mutex.hpp"
#include "storage/store.hpp"

namespace tessera {

inline constexpr std::chrono::seconds kKeyUsesPeriod{10};

// Thread-safe; `store` and `clock` outlive it.
class KeyUses {
 public:
  KeyUses(Store& store, const Clock& clock);
  ~KeyUses();
  KeyUses(const KeyUses&) = delete;
  KeyUses& operator=(const KeyUses&) = delete;

  // The key was used now; `tenant` is empty for an admin's. For every request: one short lock.
  void note(const TenantId& tenant, const KeyId& key, WallTime now);

  // The beginning of the minute in which the key was last used; nullopt: never, as far as is known.
  // Errors: those of Store.
  Result<std::optional<WallTime>> last_use(const TenantId& tenant, const KeyId& key) const;
  // The same of all keys of a tenant.
  Result<std::map<KeyId, WallTime>> last_uses(const TenantId& tenant) const;

  // Writes the notes that are not written yet. Errors: those of Store; then they stay noted.
  Result<void> flush();

  // Writes them a last time and ends the thread.
  void stop();

 private:
  static constexpr std::size_t kNumShards = 16;

  struct Use {
    TenantId tenant;
    WallTime minute = {};
    bool written = false;
  };
  struct Shard {
    mutable Mutex mutex;
    std::unordered_map<KeyId, Use> uses TESSERA_GUARDED_BY(mutex);
  };

  Shard& shard_of(const KeyId& key) { return shards_[std::hash<KeyId>{}(key) % kNumShards]; }
  const Shard& shard_of(const KeyId& key) const {
    return shards_[std::hash<KeyId>{}(key) % kNumShards];
  }
  Result<void> flush(Shard& shard, WallTime minute);
  void write_periodically(const std::stop_token& stop);

  Store& store_;
  const Clock& clock_;
  std::array<Shard, kNumShards> shards_;
  Mutex mutex_;
  std::condition_variable_any wake_;
  std::jthread thread_;  // last: stops before the rest is destroyed
};

}  // namespace tessera
