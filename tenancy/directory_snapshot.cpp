#include "tenancy/directory_snapshot.hpp"

#include <algorithm>
#include <tuple>

namespace tessera {
namespace {

template <class Record>
void sort_by_creation(std::vector<Record>& records) {
  std::ranges::sort(records, [](const Record& a, const Record& b) {
    return std::tie(a.created_at, a.id) < std::tie(b.created_at, b.id);
  });
}

}  // namespace

const TenantEntry* DirectorySnapshot::find(const TenantId& id) const {
  const auto* found = tenants_.find(id);
  return found ? found->get() : nullptr;
}

const ApiKeyRecord* DirectorySnapshot::find_key(const KeyId& id) const {
  return share_key(id).get();  // this has it, too
}

std::shared_ptr<const ApiKeyRecord> DirectorySnapshot::share_key(const KeyId& id) const {
  const auto* changed = changed_keys_.find(id);
  if (changed == nullptr) return loaded_ ? loaded_->find(id) : nullptr;
  if (!**changed) return nullptr;
  return {*changed, &***changed};
}

bool DirectorySnapshot::has_slug(std::string_view slug) const {
  return slugs_.find(std::string(slug)) != nullptr;
}

bool DirectorySnapshot::has_admin_key() const {
  return !ids_of(TenantId()).empty();
}

std::vector<Tenant> DirectorySnapshot::tenants() const {
  std::vector<Tenant> tenants;
  tenants_.each([&](const TenantId&, const TenantEntry& entry) {
    tenants.push_back(entry.tenant);
    return true;
  });
  sort_by_creation(tenants);
  return tenants;
}

std::vector<TenantId> DirectorySnapshot::tenants_with_alerts() const {
  std::vector<TenantId> tenants;
  tenants_.each([&](const TenantId& id, const TenantEntry& entry) {
    if (entry.policy && !entry.policy->spend_alerts.empty()) tenants.push_back(id);
    return true;
  });
  return tenants;
}

const std::vector<SpendAlert>& DirectorySnapshot::organization_alerts() const {
  static const OrganizationAlerts kNone;
  return organization_alerts_ ? organization_alerts_->spend_alerts : kNone.spend_alerts;
}

// Ascending.
std::vector<KeyId> DirectorySnapshot::ids_of(const TenantId& tenant) const {
  if (const auto* changed = changed_keys_of_.find(tenant)) return **changed;
  std::vector<KeyId> ids = loaded_ ? loaded_->ids_of(tenant) : std::vector<KeyId>();
  std::ranges::sort(ids);
  return ids;
}

std::vector<ApiKeyRecord> DirectorySnapshot::keys_of(const TenantId& tenant) const {
  std::vector<ApiKeyRecord> keys;
  for (const KeyId& id : ids_of(tenant)) keys.push_back(*find_key(id));
  sort_by_creation(keys);
  return keys;
}

void DirectorySnapshot::put(TenantEntry entry) {
  const TenantId id = entry.tenant.id;
  slugs_.put(entry.tenant.slug, id);
  tenants_.put(id, std::move(entry));
}

void DirectorySnapshot::put_key(ApiKeyRecord key) {
  std::vector<KeyId> ids = ids_of(key.tenant);
  const auto place = std::ranges::lower_bound(ids, key.id);
  if (place == ids.end() || *place != key.id) ids.insert(place, key.id);
  changed_keys_of_.put(key.tenant, std::move(ids));
  const KeyId id = key.id;
  changed_keys_.put(id, std::move(key));
}

void DirectorySnapshot::erase_key(const KeyId& id) {
  const auto key = share_key(id);
  if (!key) return;
  std::vector<KeyId> ids = ids_of(key->tenant);
  std::erase(ids, id);
  changed_keys_of_.put(key->tenant, std::move(ids));
  if (loaded_ && loaded_->find(id)) {
    changed_keys_.put(id, std::nullopt);
  } else {
    changed_keys_.erase(id);
  }
}

}  // namespace tessera
