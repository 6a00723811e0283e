#include "gateway/adapters/upload_slots.hpp"

#include <chrono>
#include <string>

namespace tessera {
namespace {

int count_of(const std::map<TenantId, int>& counts, const TenantId& tenant) {
  const auto found = counts.find(tenant);
  return found == counts.end() ? 0 : found->second;
}

}  // namespace

Result<std::shared_ptr<UploadSlots::Slot>> UploadSlots::enter(const TenantId& tenant,
                                                              const TenantLimits& limits,
                                                              WallTime now) {
  if (limits.max_concurrent_uploads == 0 || limits.uploads_per_day == 0) {
    return Error{Code::kRequestExceedsLimit, "The project's limits allow no uploads."};
  }
  const std::int64_t today = std::chrono::floor<std::chrono::days>(now).time_since_epoch().count();
  const MutexLock lock(mutex_);
  if (today != day_) begun_.clear();
  day_ = today;
  if (count_of(uploads_, tenant) >= limits.max_concurrent_uploads) {
    return Error{Code::kQueueFull, "The project may have " +
                                       std::to_string(limits.max_concurrent_uploads) +
                                       " uploads under way; try again shortly."};
  }
  if (total_ >= max_of_all_) {
    return Error{Code::kQueueFull, "Too many uploads are under way; try again shortly."};
  }
  if (count_of(begun_, tenant) >= limits.uploads_per_day) {
    return Error{Code::kRateLimitExceeded, "No more than " +
                                               std::to_string(limits.uploads_per_day) +
                                               " uploads can be made in a day (UTC)."};
  }
  ++uploads_[tenant];
  ++begun_[tenant];
  ++total_;
  return std::make_shared<Slot>(*this, tenant);
}

void UploadSlots::leave(const TenantId& tenant) {
  const MutexLock lock(mutex_);
  --total_;
  const auto found = uploads_.find(tenant);
  if (--found->second == 0) uploads_.erase(found);
}

}  // namespace tessera
