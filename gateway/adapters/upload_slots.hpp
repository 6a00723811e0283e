// upload_slots.hpp — how many uploads may be under way at a time, and begin in a day.
//
// Counted by tenant first, so that one tenant's uploads never keep another's out until all of the
// server's slots are taken. The day is UTC's; its counts are of this process.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <utility>

#include "gateway/config.hpp"
#include "storage/clock.hpp"
#include "storage/ids.hpp"
#include "storage/mutex.hpp"
#include "storage/result.hpp"

namespace tessera {

// Thread-safe; outlives its slots.
class UploadSlots {
 public:
  struct Limits {
    int of_tenant = kMaxUploadsOfTenant;
    int all = kMaxUploads;
    int of_tenant_a_day = kMaxUploadsOfTenantADay;
  };

  // The right to one upload, for as long as it lives.
  class Slot {
   public:
    Slot(UploadSlots& slots, TenantId tenant) : slots_(slots), tenant_(std::move(tenant)) {}
    ~Slot() { slots_.leave(tenant_); }
    Slot(const Slot&) = delete;
    Slot& operator=(const Slot&) = delete;

   private:
    UploadSlots& slots_;
    TenantId tenant_;
  };

  UploadSlots() = default;
  explicit UploadSlots(const Limits& limits) : limits_(limits) {}

  // Errors: kQueueFull if the tenant, or all together, have as many as they may;
  // kRateLimitExceeded if the tenant has begun as many today. A refusal counts for nothing.
  Result<std::shared_ptr<Slot>> enter(const TenantId& tenant, WallTime now);

 private:
  void leave(const TenantId& tenant);

  const Limits limits_;
  Mutex mutex_;
  std::map<TenantId, int> uploads_ TESSERA_GUARDED_BY(mutex_);  // no entry: none
  int total_ TESSERA_GUARDED_BY(mutex_) = 0;
  std::int64_t day_ TESSERA_GUARDED_BY(mutex_) = 0;           // since 1970, of begun_
  std::map<TenantId, int> begun_ TESSERA_GUARDED_BY(mutex_);  // on that day; no entry: none
};

}  // namespace tessera
