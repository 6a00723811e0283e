#include "gateway/adapters/adapter_drafts.hpp"

#include <algorithm>

#include "gateway/config.hpp"

namespace tessera {
namespace {

Error no_such_draft() {
  return {Code::kNotFound, "There is no such draft."};
}

}  // namespace

void AdapterDrafts::sweep(WallTime now) {
  const MutexLock lock(mutex_);
  std::erase_if(drafts_, [&](const auto& entry) { return entry.second.expires_at <= now; });
}

Result<AdapterDraft> AdapterDrafts::create(const TenantId& tenant, std::string_view adapter,
                                           WallTime now) {
  sweep(now);
  const MutexLock lock(mutex_);
  const auto count = std::ranges::count_if(
      drafts_, [&](const auto& entry) { return entry.second.tenant == tenant; });
  if (static_cast<std::size_t>(count) >= kMaxDraftsOfTenant) {
    return Error{Code::kRequestExceedsLimit, "There can be " + std::to_string(kMaxDraftsOfTenant) +
                                                 " drafts; complete or cancel one."};
  }
  AdapterDraft draft{.id = "draft_" + new_ulid(now),
                     .tenant = tenant,
                     .adapter = std::string(adapter),
                     .created_at = now,
                     .expires_at = now + kDraftLifetime};
  drafts_.emplace(Key(tenant, draft.id), draft);
  return draft;
}

Result<AdapterDraft> AdapterDrafts::get(const TenantId& tenant, std::string_view adapter,
                                        std::string_view id, WallTime now) {
  const MutexLock lock(mutex_);
  const AdapterDraft* const draft = find(tenant, adapter, id, now);
  if (!draft) return no_such_draft();
  return *draft;
}

Result<AdapterDraft> AdapterDrafts::put(const TenantId& tenant, std::string_view adapter,
                                        std::string_view id, std::string_view file,
                                        AdapterDraft::File bytes, WallTime now) {
  const MutexLock lock(mutex_);
  AdapterDraft* const draft = find(tenant, adapter, id, now);
  if (!draft) return no_such_draft();
  draft->files.insert_or_assign(std::string(file), std::move(bytes));
  return *draft;
}

Result<AdapterDraft> AdapterDrafts::take(const TenantId& tenant, std::string_view adapter,
                                         std::string_view id, WallTime now) {
  const MutexLock lock(mutex_);
  AdapterDraft* const found = find(tenant, adapter, id, now);
  if (!found) return no_such_draft();
  AdapterDraft draft = std::move(*found);
  drafts_.erase(Key(tenant, std::string(id)));
  return draft;
}

AdapterDraft* AdapterDrafts::find(const TenantId& tenant, std::string_view adapter,
                                  std::string_view id, WallTime now) {
  const auto found = drafts_.find(Key(tenant, std::string(id)));
  if (found == drafts_.end() || found->second.adapter != adapter) return nullptr;
  if (found->second.expires_at > now) return &found->second;
  drafts_.erase(found);
  return nullptr;
}

}  // namespace tessera
