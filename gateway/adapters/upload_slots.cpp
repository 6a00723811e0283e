#include "gateway/adapters/upload_slots.hpp"

#include "gateway/config.hpp"

namespace tessera {

std::unique_ptr<UploadSlots::Slot> UploadSlots::enter(const TenantId& tenant) {
  const MutexLock lock(mutex_);
  const auto found = uploads_.find(tenant);
  const int of_tenant = found == uploads_.end() ? 0 : found->second;
  if (of_tenant >= kMaxUploadsOfTenant || total_ >= kMaxUploads) return nullptr;
  uploads_[tenant] = of_tenant + 1;
  ++total_;
  return std::make_unique<Slot>(*this, tenant);
}

void UploadSlots::leave(const TenantId& tenant) {
  const MutexLock lock(mutex_);
  --total_;
  const auto found = uploads_.find(tenant);
  if (--found->second == 0) uploads_.erase(found);
}

}  // namespace tessera
