// directory_snapshot.hpp — one state of the directory: all tenants, keys and limits at a moment.
//
// Immutable once published; lives as long as someone holds it. Reads wait for nobody; a change
// copies a shard of each map it touches (shared_map.hpp) and the one entry it concerns.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "tenancy/loaded_keys.hpp"
#include "tenancy/shared_map.hpp"
#include "tenancy/tenant.hpp"

namespace tessera {

struct TenantEntry {
  Tenant tenant;
  TenantLimits limits;
  std::uint64_t limits_revision = 0;  // changes of the limits, policy and keys' limits since this
                                      // process opened the store
  std::shared_ptr<const TenantPolicy> policy = {};  // null: nothing
  std::map<ServiceAccountId, ServiceAccount> service_accounts;
};

class DirectorySnapshot {
 public:
  // Null if there is none; valid as long as the snapshot is held.
  const TenantEntry* find(const TenantId& id) const;
  const ApiKeyRecord* find_key(const KeyId& id) const;
  // The same, to be held without the snapshot.
  std::shared_ptr<const ApiKeyRecord> share_key(const KeyId& id) const;

  bool has_slug(std::string_view slug) const;
  bool has_admin_key() const;

  // Of all tenants together; null: none were ever set.
  const std::shared_ptr<const OrganizationLimits>& organization() const { return organization_; }

  // The same of their spend alerts.
  const std::vector<SpendAlert>& organization_alerts() const;

  // In order of creation, archived ones included.
  std::vector<Tenant> tenants() const;
  // Those that have spend alerts, in no order; nothing is copied of the others.
  std::vector<TenantId> tenants_with_alerts() const;
  // In order of creation; those of the platform's admins if `tenant` is empty.
  std::vector<ApiKeyRecord> keys_of(const TenantId& tenant) const;

  // For TenantDirectory, while the snapshot is being made.
  void put(TenantEntry entry);
  void put_key(ApiKeyRecord key);
  void erase_key(const KeyId& id);
  void put_organization(OrganizationLimits limits) {
    organization_ = std::make_shared<const OrganizationLimits>(std::move(limits));
  }

  void put_organization_alerts(OrganizationAlerts alerts) {
    organization_alerts_ = std::make_shared<const OrganizationAlerts>(std::move(alerts));
  }

  // The keys that the store had at the start; before all changes of keys.
  void put_loaded(std::shared_ptr<const LoadedKeys> keys) { loaded_ = std::move(keys); }

 private:
  std::vector<KeyId> ids_of(const TenantId& tenant) const;

  SharedMap<TenantId, TenantEntry> tenants_;
  std::shared_ptr<const LoadedKeys> loaded_;  // null: none
  // What has come to be otherwise than loaded: keys (nullopt: it is gone), and of each tenant that
  // has one of these all its keys, ascending.
  SharedMap<KeyId, std::optional<ApiKeyRecord>> changed_keys_;
  SharedMap<TenantId, std::vector<KeyId>> changed_keys_of_;
  SharedMap<std::string, TenantId> slugs_;
  std::shared_ptr<const OrganizationLimits> organization_;
  std::shared_ptr<const OrganizationAlerts> organization_alerts_;  // null: none
};

}  // namespace tessera
