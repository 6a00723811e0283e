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
  const auto found = tenants_.find(id);
  return found == tenants_.end() ? nullptr : found->second.get();
}

const ApiKeyRecord* DirectorySnapshot::find_key(const KeyId& id) const {
  const auto found = keys_.find(id);
  return found == keys_.end() ? nullptr : found->second.get();
}

bool DirectorySnapshot::has_slug(std::string_view slug) const {
  return std::ranges::any_of(tenants_,
                             [&](const auto& entry) { return entry.second->tenant.slug == slug; });
}

bool DirectorySnapshot::has_admin_key() const {
  return !keys_of(TenantId()).empty();
}

std::vector<Tenant> DirectorySnapshot::tenants() const {
  std::vector<Tenant> tenants;
  for (const auto& [id, entry] : tenants_) tenants.push_back(entry->tenant);
  sort_by_creation(tenants);
  return tenants;
}

std::vector<ApiKeyRecord> DirectorySnapshot::keys_of(const TenantId& tenant) const {
  std::vector<ApiKeyRecord> keys;
  for (const auto& [id, key] : keys_) {
    if (key->tenant == tenant) keys.push_back(*key);
  }
  sort_by_creation(keys);
  return keys;
}

void DirectorySnapshot::put(TenantEntry entry) {
  const TenantId id = entry.tenant.id;
  tenants_[id] = std::make_shared<const TenantEntry>(std::move(entry));
}

void DirectorySnapshot::put_key(ApiKeyRecord key) {
  const KeyId id = key.id;
  keys_[id] = std::make_shared<const ApiKeyRecord>(std::move(key));
}

}  // namespace tessera
