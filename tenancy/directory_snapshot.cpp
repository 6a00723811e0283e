#include "tenancy/directory_snapshot.hpp"

#include <algorithm>
#include <tuple>
#include <unordered_map>

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
  const auto* found = keys_.find(id);
  return found ? found->get() : nullptr;
}

std::shared_ptr<const ApiKeyRecord> DirectorySnapshot::share_key(const KeyId& id) const {
  const auto* found = keys_.find(id);
  return found ? *found : nullptr;
}

bool DirectorySnapshot::has_slug(std::string_view slug) const {
  return slugs_.find(std::string(slug)) != nullptr;
}

bool DirectorySnapshot::has_admin_key() const {
  const auto* ids = keys_of_.find(TenantId());
  return ids && !(*ids)->empty();
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

std::vector<ApiKeyRecord> DirectorySnapshot::keys_of(const TenantId& tenant) const {
  std::vector<ApiKeyRecord> keys;
  if (const auto* ids = keys_of_.find(tenant)) {
    for (const KeyId& id : **ids) keys.push_back(*find_key(id));
  }
  sort_by_creation(keys);
  return keys;
}

void DirectorySnapshot::put(TenantEntry entry) {
  const TenantId id = entry.tenant.id;
  slugs_.put(entry.tenant.slug, id);
  tenants_.put(id, std::move(entry));
}

void DirectorySnapshot::put_key(ApiKeyRecord key) {
  const auto* ids = keys_of_.find(key.tenant);
  std::vector<KeyId> next = ids ? **ids : std::vector<KeyId>();
  const auto place = std::ranges::lower_bound(next, key.id);
  if (place == next.end() || *place != key.id) {
    next.insert(place, key.id);
    keys_of_.put(key.tenant, std::move(next));
  }
  const KeyId id = key.id;
  keys_.put(id, std::move(key));
}

void DirectorySnapshot::KeyPile::add(ApiKeyRecord key) {
  auto shared = std::make_shared<const ApiKeyRecord>(std::move(key));
  by_tenant_[decltype(keys_of_)::shard_of(shared->tenant)].push_back(shared.get());
  by_id_[decltype(keys_)::shard_of(shared->id)].push_back(std::move(shared));
}

void DirectorySnapshot::put_keys(std::span<const KeyPile> piles, std::size_t shard) {
  std::size_t count = 0;
  for (const KeyPile& pile : piles) count += pile.by_id_[shard].size();
  keys_.reserve(shard, count);
  std::unordered_map<TenantId, std::vector<KeyId>> ids;
  for (const KeyPile& pile : piles) {
    for (const auto& key : pile.by_id_[shard]) keys_.put_into(shard, key->id, key);
    for (const ApiKeyRecord* key : pile.by_tenant_[shard]) ids[key->tenant].push_back(key->id);
  }
  for (auto& [tenant, of_tenant] : ids) {
    std::ranges::sort(of_tenant);
    keys_of_.put(tenant, std::move(of_tenant));
  }
}

void DirectorySnapshot::erase_key(const KeyId& id) {
  const ApiKeyRecord* key = find_key(id);
  if (!key) return;
  const auto* ids = keys_of_.find(key->tenant);
  std::vector<KeyId> next = **ids;
  std::erase(next, id);
  keys_of_.put(key->tenant, std::move(next));
  keys_.erase(id);
}

}  // namespace tessera
