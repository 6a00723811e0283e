// upload_slots.hpp — how many uploads may be under way at a time: their bodies lie in memory.
//
// Counted by tenant first, so that one tenant's uploads never keep another's out until all of the
// server's slots are taken.
#pragma once

#include <map>
#include <memory>
#include <utility>

#include "storage/ids.hpp"
#include "storage/mutex.hpp"

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

  // Null if the tenant has kMaxUploadsOfTenant already, or all together kMaxUploads.
  std::unique_ptr<Slot> enter(const TenantId& tenant);

 private:
  void leave(const TenantId& tenant);

  Mutex mutex_;
  std::map<TenantId, int> uploads_ TESSERA_GUARDED_BY(mutex_);  // no entry: none
  int total_ TESSERA_GUARDED_BY(mutex_) = 0;
};

}  // namespace tessera
