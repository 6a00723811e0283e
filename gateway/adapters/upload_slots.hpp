// upload_slots.hpp — how many uploads may be under way at a time, and begin in a day.
//
// Counted by tenant first, so that one tenant's uploads never keep another's out until all of the
// server's slots are taken. What a tenant may do is among its limits (tenancy/limits.hpp), as they
// are when an upload begins. The day is UTC's; its counts are kept, so that a restart allows no
// more.
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
#include "storage/store.hpp"
#include "tenancy/limits.hpp"

namespace tessera {

// Thread-safe; outlives its slots.
class UploadSlots {
 public:
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

  // `store` outlives it.
  explicit UploadSlots(Store& store, int max_of_all = kMaxUploads)
      : store_(store), max_of_all_(max_of_all) {}

  // Errors: kRequestExceedsLimit if the tenant may have none; kQueueFull if it, or all together,
  // have as many as they may; kRateLimitExceeded if it has begun as many today, refusals apart;
  // the store's.
  Result<std::shared_ptr<Slot>> enter(const TenantId& tenant, const TenantLimits& limits,
                                      WallTime now);

 private:
  void leave(const TenantId& tenant);
  Result<int> begun_today(const TenantId& tenant) TESSERA_REQUIRES(mutex_);
  Result<void> keep_begun(const TenantId& tenant, int count) TESSERA_REQUIRES(mutex_);

  Store& store_;
  const int max_of_all_;
  Mutex mutex_;
  std::map<TenantId, int> uploads_ TESSERA_GUARDED_BY(mutex_);  // no entry: none
  int total_ TESSERA_GUARDED_BY(mutex_) = 0;
  std::int64_t day_ TESSERA_GUARDED_BY(mutex_) = 0;           // since 1970, of begun_
  std::map<TenantId, int> begun_ TESSERA_GUARDED_BY(mutex_);  // on that day; no entry: not read
};

}  // namespace tessera
