#include "gateway/adapters/upload_slots.hpp"

#include <chrono>
#include <string>

#include <nlohmann/json.hpp>

#include "gateway/api/stored_json.hpp"
#include "storage/json.hpp"
#include "storage/keys.hpp"

namespace tessera {
namespace {

using Json = nlohmann::ordered_json;

struct BegunUploads {
  std::int64_t day = 0;
  int count = 0;
};

BegunUploads begun_uploads_of(const Json& json) {
  return {.day = json.at("day"), .count = json.at("uploads")};
}

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
  const Result<int> begun = begun_today(tenant);
  if (!begun) return begun.error();
  if (*begun >= limits.uploads_per_day) {
    return Error{Code::kRateLimitExceeded, "No more than " +
                                               std::to_string(limits.uploads_per_day) +
                                               " uploads can be made in a day (UTC)."};
  }
  if (auto kept = keep_begun(tenant, *begun + 1); !kept) return kept.error();
  ++uploads_[tenant];
  ++total_;
  return std::make_shared<Slot>(*this, tenant);
}

Result<int> UploadSlots::begun_today(const TenantId& tenant) {
  if (const auto known = begun_.find(tenant); known != begun_.end()) return known->second;
  const auto text = store_.get(Family::kMeta, keys::begun_uploads(tenant.str()));
  if (!text) return text.error();
  if (!*text) return 0;
  const auto kept = read_stored(**text, "the count of a tenant's uploads", begun_uploads_of);
  if (!kept) return kept.error();
  return kept->day == day_ ? kept->count : 0;
}

Result<void> UploadSlots::keep_begun(const TenantId& tenant, int count) {
  const Json record{{"day", day_}, {"uploads", count}};
  Batch batch;
  batch.put(Family::kMeta, keys::begun_uploads(tenant.str()), to_text(record));
  if (auto written = store_.write(batch, Durability::kBuffered); !written) return written.error();
  begun_.insert_or_assign(tenant, count);
  return {};
}

void UploadSlots::leave(const TenantId& tenant) {
  const MutexLock lock(mutex_);
  --total_;
  const auto found = uploads_.find(tenant);
  if (--found->second == 0) uploads_.erase(found);
}

}  // namespace tessera
