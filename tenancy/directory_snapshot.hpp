// directory_snapshot.hpp — one state of the directory: all tenants, keys and limits at a moment.
//
// Immutable once published; lives as long as someone holds it. A change copies the two maps of
// pointers and the one entry it concerns: linear in tenants and keys, which is the price of reads
// that wait for nobody. Changes are rare; every request reads.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "tenancy/tenant.hpp"

namespace tessera {

struct TenantEntry {
  Tenant tenant;
  TenantLimits limits;
  std::uint64_t limits_revision = 0;  // changes of the limits since this process opened the store
  std::map<ServiceAccountId, ServiceAccount> service_accounts;
};

class DirectorySnapshot {
 public:
  // Null if there is none; valid as long as the snapshot is held.
  const TenantEntry* find(const TenantId& id) const;
  const ApiKeyRecord* find_key(const KeyId& id) const;

  bool has_slug(std::string_view slug) const;
  bool has_admin_key() const;

  // In order of creation, archived ones included.
  std::vector<Tenant> tenants() const;
  // In order of creation; those of the platform's admins if `tenant` is empty.
  std::vector<ApiKeyRecord> keys_of(const TenantId& tenant) const;

  // For TenantDirectory, while the snapshot is being made.
  void put(TenantEntry entry);
  void put_key(ApiKeyRecord key);
  void erase_key(const KeyId& id) { keys_.erase(id); }

 private:
  std::map<TenantId, std::shared_ptr<const TenantEntry>> tenants_;
  std::unordered_map<KeyId, std::shared_ptr<const ApiKeyRecord>> keys_;
};

}  // namespace tessera
