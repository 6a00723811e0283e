// key_uses.hpp — when each API key was last used, to the minute.
//
// A request leaves a note in memory; a thread writes them, those of one key no oftener than every
// kKeyUsesStep, a few at a time and without syncing: with many keys at work they would be a good
// part of what is written. A kill loses the last minutes of it, which no admin who looks for unused
// keys will miss. Notes of earlier minutes leave memory when they are written, so what is held is
// the keys at work.
#pragma once

#include <array>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <functional>
#include <map>
#include <optional>
#include <stop_token>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include "storage/clock.hpp"
#include "storage/ids.hpp"
#include "storage/mutex.hpp"
#include "storage/store.hpp"

namespace tessera {

inline constexpr std::chrono::seconds kKeyUsesPeriod{
    10};  // how often is looked what is to be written
inline constexpr std::chrono::minutes kKeyUsesStep{10};

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
  static constexpr std::size_t kNumShards = 256;  // one is looked through at a time
  static constexpr std::size_t kWrittenAtOnce = 64;
  static constexpr std::chrono::milliseconds kPause{3};  // in between: who serves goes first

  struct Use {
    TenantId tenant;
    WallTime minute = {};
    WallTime written = {};  // what the store has; zero: that is not known
  };
  using Told = std::vector<std::pair<KeyId, Use>>;
  struct Shard {
    mutable Mutex mutex;
    std::unordered_map<KeyId, Use> uses TESSERA_GUARDED_BY(mutex);
  };

  Shard& shard_of(const KeyId& key) { return shards_[std::hash<KeyId>{}(key) % kNumShards]; }
  const Shard& shard_of(const KeyId& key) const {
    return shards_[std::hash<KeyId>{}(key) % kNumShards];
  }
  static Told untold(const Shard& shard, WallTime written_by) TESSERA_EXCLUDES(shard.mutex);
  static void note_written(Shard& shard, const Told& told, WallTime minute)
      TESSERA_EXCLUDES(shard.mutex);
  Result<void> write(Shard& shard, WallTime written_by, const std::stop_token* rests);
  void rest(const std::stop_token& stop, std::chrono::milliseconds time);
  void write_periodically(const std::stop_token& stop);

  Store& store_;
  const Clock& clock_;
  std::array<Shard, kNumShards> shards_;
  Mutex mutex_;
  std::condition_variable_any wake_;
  std::jthread thread_;  // last: stops before the rest is destroyed
};

}  // namespace tessera
