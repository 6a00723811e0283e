// directory.hpp — all tenants, their keys and limits: read by every request, changed one at a time.
//
// Reads take an immutable snapshot: they wait for no change, and see all of it or nothing. A change
// is one atomic synced batch, its audit record included, and then a new snapshot: what a caller was
// told is on disk, and what is on disk is in force at once. A change that fails leaves both as they
// were.
//
// Every change names its `actor` and is checked here, below the routes: tenants are administered by
// admins only, and nobody makes a key that can do more than he can himself.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "storage/mutex.hpp"
#include "storage/store.hpp"
#include "tenancy/api_key.hpp"
#include "tenancy/audit_log.hpp"
#include "tenancy/directory_snapshot.hpp"
#include "tenancy/tenant.hpp"

namespace tessera {

struct NewTenant {
  std::string name;
  std::string slug = {};  // empty: made from the name
  TenantLimits limits = {};
  TenantPolicy policy = {};
};

// What an admin says of a tenant.
struct TenantSettings {
  std::string name = {};
  TenantLimits limits = {};
  TenantPolicy policy = {};
};

struct NewApiKey {
  std::string name;
  ScopeSet scopes;
  TenantId tenant = {};                   // empty: an admin key
  ServiceAccountId service_account = {};  // empty exactly if tenant is
  KeyKind kind = KeyKind::kLive;          // kAdmin exactly if tenant is empty
  std::optional<WallTime> expires_at = {};
  KeyPolicy policy = {};  // of a tenant's key
};

// The only moment at which a key's text exists on the server; it cannot be shown again.
struct CreatedApiKey {
  ApiKeyRecord record;
  std::string value;
};

struct CreatedServiceAccount {
  ServiceAccount account;
  CreatedApiKey key;
};

// Looks at the state that a change would begin with, under the directory's lock; its error refuses
// the change. Empty: nothing is asked.
using Guard = std::function<Result<void>(const DirectorySnapshot&)>;

// Thread-safe; owned by the gateway's main, outlived by `store` and `peppers`.
class TenantDirectory {
 public:
  // Reads everything from `store`. Errors: kCorrupt if a record cannot be read, or if the keys were
  // made with other peppers than these; those of Store.
  static Result<std::unique_ptr<TenantDirectory>> open(Store& store, const PepperFile& peppers);

  std::shared_ptr<const DirectorySnapshot> snapshot() const;

  // Who holds `bearer_token`. Errors: kInvalidApiKey, with one text and in one time for every key
  // that is unknown or wrong; kExpiredApiKey; kTenantSuspended if its tenant is archived.
  Result<Caller> authenticate(std::string_view bearer_token, WallTime now) const;

  // Tenants. Errors: kInsufficientScope unless `actor` is an admin; kInvalidValue; kNotFound;
  // kNameExists if the slug is taken; those of Store.
  Result<Tenant> create_tenant(const Caller& actor, const NewTenant& request, WallTime now);
  // Whoever has api.tenant.write may rename his own tenant too.
  Result<Tenant> rename_tenant(const Caller& actor, const TenantId& id, const std::string& name,
                               WallTime now, const Guard& guard = {});
  // Lets `change` edit all that is said of a tenant, as it is now, in one write; returns what it
  // has become, as modify_limits does.
  Result<TenantEntry> modify_tenant(const Caller& actor, const TenantId& id,
                                    const std::function<Result<void>(TenantSettings&)>& change,
                                    WallTime now, const Guard& guard = {});
  Result<Tenant> archive_tenant(const Caller& actor, const TenantId& id, WallTime now,
                                const Guard& guard = {});
  // Also raises the revision of the tenant's limits, which its callers carry.
  Result<void> set_limits(const Caller& actor, const TenantId& id, const TenantLimits& limits,
                          WallTime now);
  // Lets `change` edit the limits as they are now and returns what they have become: of two admins
  // who change different limits at once, neither loses. An error of `change` is passed on and
  // changes nothing. `change` runs under the directory's lock and must not call the directory.
  Result<TenantLimits> modify_limits(const Caller& actor, const TenantId& id,
                                     const std::function<Result<void>(TenantLimits&)>& change,
                                     WallTime now, const Guard& guard = {});

  // The same of the limits of all tenants together. `event` is what the audit log calls it.
  Result<MeterLimits> modify_organization(const Caller& actor, const std::string& event,
                                          const std::function<Result<void>(MeterLimits&)>& change,
                                          WallTime now, const Guard& guard = {});

  // And of their spend alerts; `target` is the one that it is about.
  Result<OrganizationAlerts> modify_organization_alerts(
      const Caller& actor, const std::string& event,
      const std::function<Result<void>(OrganizationAlerts&)>& change, WallTime now,
      const Guard& guard, const std::string& target);

  // Lets `change` edit the tenant's policy as it is now and returns what it has become, as
  // modify_limits does. `event` is what the audit log calls it: "model_permissions.updated";
  // `target` the part that it is about, if that has an id of its own.
  Result<TenantPolicy> modify_policy(const Caller& actor, const TenantId& id,
                                     const std::string& event,
                                     const std::function<Result<void>(TenantPolicy&)>& change,
                                     WallTime now, const Guard& guard = {},
                                     const std::string& target = {});

  // Keys. An admin acts on every tenant. Any other actor needs api.key.write and acts on his own
  // tenant; others' are kNotFound. Errors: as above; kInsufficientScope also if the key would have
  // a scope that `actor` has not, or a policy that is not within the actor's own; kConflict if the
  // tenant is archived.
  Result<ServiceAccount> create_service_account(const Caller& actor, const TenantId& tenant,
                                                const std::string& name, WallTime now);
  // Both in one write: no crash leaves an account without the key that its maker was to be shown.
  Result<CreatedServiceAccount> create_service_account_with_key(
      const Caller& actor, const TenantId& tenant, const std::string& name, ScopeSet scopes,
      WallTime now, std::optional<WallTime> key_expiry = {});
  Result<ServiceAccount> rename_service_account(const Caller& actor, const TenantId& tenant,
                                                const ServiceAccountId& id, const std::string& name,
                                                WallTime now, const Guard& guard = {});
  // Its keys are revoked with it, in the same write.
  Result<void> delete_service_account(const Caller& actor, const TenantId& tenant,
                                      const ServiceAccountId& id, WallTime now,
                                      const Guard& guard = {});
  Result<CreatedApiKey> create_key(const Caller& actor, const NewApiKey& request, WallTime now);
  // In force when it returns. `tenant` is empty for an admin key. The last admin key stays:
  // kConflict.
  Result<void> revoke_key(const Caller& actor, const TenantId& tenant, const KeyId& id,
                          WallTime now, const Guard& guard = {});

  // Lets `change` edit the policy of a tenant's key. Nobody gives a key more than he has.
  Result<ApiKeyRecord> modify_key_policy(const Caller& actor, const TenantId& tenant,
                                         const KeyId& id,
                                         const std::function<Result<void>(KeyPolicy&)>& change,
                                         WallTime now, const Guard& guard = {});

  // Has a tenant's key refused until it is enabled, or enables it; does nothing to one that is so
  // already. Nobody enables a key that can do more than he can: kInsufficientScope.
  Result<ApiKeyRecord> set_key_enabled(const Caller& actor, const TenantId& tenant, const KeyId& id,
                                       bool enabled, WallTime now, const Guard& guard = {});

  // Gives the key another secret. The old one goes on opening it for `grace`, exactly until now +
  // grace; one that an earlier rotation retired stops at once. Nobody rotates a key that can do
  // more than he can: kInsufficientScope.
  Result<CreatedApiKey> rotate_key(const Caller& actor, const TenantId& tenant, const KeyId& id,
                                   std::chrono::seconds grace, WallTime now,
                                   const Guard& guard = {});

  // Writes the change of another part of the house with its audit records, in one synced batch. The
  // audit log is one chain, so all who write to it pass here. Errors: those of Store, kCorrupt.
  Result<void> write_audited(Batch batch, std::span<const AuditRecord> records);

  // Makes the first admin key, if there is none, and writes its text to `file` (mode 0600). The
  // file is written first: a crash in between leaves a text that opens nothing, and the next start
  // makes another. True if a key was made.
  Result<bool> ensure_admin_key(const std::filesystem::path& file, WallTime now);

 private:
  TenantDirectory(Store& store, const PepperFile& peppers) : store_(store), peppers_(peppers) {}

  Result<void> check_peppers();
  Result<void> load();
  Result<void> load_organization(DirectorySnapshot& loaded) const;
  void publish(DirectorySnapshot next);
  Result<void> commit(Batch batch, const AuditRecord& audit, DirectorySnapshot next)
      TESSERA_REQUIRES(change_);
  // Lets `change` edit the entry of a tenant and add to the batch what of it goes to disk.
  Result<void> update(const AuditRecord& audit,
                      const std::function<Result<void>(TenantEntry&, Batch&)>& change,
                      const Guard& guard);
  Result<Tenant> update_tenant(const AuditRecord& audit, const std::function<void(Tenant&)>& change,
                               const Guard& guard);
  ApiKeyRecord record_of(const ApiKey& key, const NewApiKey& request, const KeyId& creator,
                         WallTime now) const;
  Result<void> add_key(const ApiKeyRecord& key) TESSERA_REQUIRES(change_);

  Store& store_;
  const PepperFile& peppers_;
  Mutex change_;  // one change at a time: from reading the snapshot to replacing it
  // Held to copy or replace one pointer. (g++ 12's std::atomic<std::shared_ptr> also locks, and its
  // load() releases in relaxed order: ThreadSanitizer finds the race.)
  mutable Mutex publish_;
  std::shared_ptr<const DirectorySnapshot> snapshot_ TESSERA_GUARDED_BY(publish_);
};

}  // namespace tessera
