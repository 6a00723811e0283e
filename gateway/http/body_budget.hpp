// body_budget.hpp — how many bytes of requests' bodies may lie in memory at once, all connections
// together.
//
// Bytes count when they have arrived: who only announces a body takes nothing from anyone. One
// tenant may hold half of the whole. Bodies that go to disk (staged_body.hpp) do not count here.
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
  // What one request holds, for as long as it lives; nothing at first. Used by one thread at a
  // time.
  class Share {
   public:
    Share(BodyBudget& budget, TenantId tenant) : budget_(budget), tenant_(std::move(tenant)) {}
    ~Share() { budget_.give_back(*this); }
    Share(const Share&) = delete;
    Share& operator=(const Share&) = delete;

    // Holds `bytes` in all, not fewer than before; false if there is no room, and nothing changes.
    bool hold(std::size_t bytes) { return budget_.hold(*this, bytes); }

   private:
    friend BodyBudget;

    BodyBudget& budget_;
    const TenantId tenant_;
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
  std::map<TenantId, std::size_t> held_by_tenant_ TESSERA_GUARDED_BY(mutex_);  // no entry: nothing
};

}  // namespace tessera
