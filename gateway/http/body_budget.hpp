// body_budget.hpp — how many bytes of requests' bodies may lie in memory at once, all connections
// together.
//
// Bytes count when they have arrived: who only announces a body takes nothing from anyone. Two
// bounds below the whole keep clients apart: one tenant may hold half of it, and uploads together,
// which may take hours, three quarters, so that small requests always find room beside them.
#pragma once

#include <cstddef>
#include <map>
#include <utility>

#include "storage/ids.hpp"
#include "storage/mutex.hpp"

namespace tessera {

// Thread-safe; outlives its shares.
class BodyBudget {
 public:
  enum class Kind : unsigned char { kSmall, kUpload };

  // What one request holds, for as long as it lives; nothing at first. Used by one thread at a
  // time.
  class Share {
   public:
    Share(BodyBudget& budget, TenantId tenant, Kind kind)
        : budget_(budget), tenant_(std::move(tenant)), kind_(kind) {}
    ~Share() { budget_.give_back(*this); }
    Share(const Share&) = delete;
    Share& operator=(const Share&) = delete;

    // Holds `bytes` in all, not fewer than before; false if there is no room, and nothing changes.
    bool hold(std::size_t bytes) { return budget_.hold(*this, bytes); }

   private:
    friend BodyBudget;

    BodyBudget& budget_;
    const TenantId tenant_;
    const Kind kind_;
    std::size_t bytes_ = 0;  // the budget's to change
  };

  explicit BodyBudget(std::size_t max_bytes) : max_bytes_(max_bytes) {}

  std::size_t max_bytes_of_tenant() const { return max_bytes_ / 2; }
  std::size_t held_bytes() const;

 private:
  bool hold(Share& share, std::size_t bytes);
  void give_back(Share& share);

  const std::size_t max_bytes_;
  mutable Mutex mutex_;
  std::size_t held_ TESSERA_GUARDED_BY(mutex_) = 0;
  std::size_t held_by_uploads_ TESSERA_GUARDED_BY(mutex_) = 0;
  std::map<TenantId, std::size_t> held_by_tenant_ TESSERA_GUARDED_BY(mutex_);  // no entry: nothing
};

}  // namespace tessera
