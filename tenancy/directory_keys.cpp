// directory_keys.cpp — TenantDirectory: service accounts and keys, and who may make and remove
// them.

#include <utility>

#include "storage/durable_file.hpp"
#include "storage/keys.hpp"
#include "tenancy/directory.hpp"
#include "tenancy/records.hpp"
#include "tenancy/slug.hpp"

namespace tessera {
namespace {

Error no_such_project() {
  return {Code::kNotFound, "There is no such project."};
}

Error no_such_key() {
  return {Code::kNotFound, "There is no such API key."};
}

Error no_such_account() {
  return {Code::kNotFound, "There is no such service account."};
}

Result<void> check(const Guard& guard, const DirectorySnapshot& snapshot) {
  return guard ? guard(snapshot) : Result<void>();
}

// May `actor` make and remove keys of `tenant`? Others' tenants look as if they did not exist.
Result<void> check_may_manage_keys(const Caller& actor, const TenantId& tenant) {
  if (actor.may(Scope::kAdmin)) return {};
  if (tenant.empty() || !actor.may(Scope::kKeyWrite)) {
    return Error{Code::kInsufficientScope, "This API key may not manage such keys."};
  }
  if (actor.tenant != tenant) return no_such_project();
  return {};
}

// Its limits are limits, and no more than the actor's own key has.
Result<void> check_policy(const Caller& actor, const KeyPolicy& policy) {
  if (auto checked = check_limits(policy.limits); !checked) return checked;
  if (actor.may(Scope::kAdmin) || !actor.key_policy) return {};
  if (is_within(policy, *actor.key_policy)) return {};
  return Error{Code::kInsufficientScope,
               "A key cannot have higher limits, more models or more addresses than its creator's: "
               "state limits, allowed_models and allowed_ips within those of your key."};
}

// May `actor` have the key in hand, or at work again? Nobody who could do less without it.
Result<void> check_may_open(const Caller& actor, const ApiKeyRecord& key) {
  if (!actor.may(Scope::kAdmin) && !key.scopes.is_subset_of(actor.scopes)) {
    return Error{Code::kInsufficientScope, "This key has scopes that yours has not."};
  }
  return check_policy(actor, key.policy);
}

// A key of a kind that fits its place, with scopes that fit the place and are its creator's too. An
// admin may give a tenant's key any scope a tenant's key can have.
Result<void> check_request(const Caller& actor, const NewApiKey& request) {
  if (auto named = check_name(request.name); !named) return named;
  const bool is_admin_key = request.kind == KeyKind::kAdmin;
  if (is_admin_key != request.tenant.empty()) {
    return Error{Code::kInvalidValue, "Admin keys, and only they, belong to no project.", "kind"};
  }
  if (request.scopes.empty() ||
      !request.scopes.is_subset_of(is_admin_key ? kAdminScopes : kTenantScopes)) {
    return Error{Code::kInvalidValue, "This kind of key cannot have these scopes.", "scopes"};
  }
  if (!actor.may(Scope::kAdmin) && !request.scopes.is_subset_of(actor.scopes)) {
    return Error{Code::kInsufficientScope, "A key cannot have scopes that its creator has not.",
                 "scopes"};
  }
  return check_policy(actor, request.policy);
}

// The project and the service account that a new key names.
Result<void> check_place(const DirectorySnapshot& snapshot, const NewApiKey& request) {
  if (request.kind == KeyKind::kAdmin) return {};
  const TenantEntry* entry = snapshot.find(request.tenant);
  if (entry == nullptr) return no_such_project();
  if (entry->tenant.archived_at) return Error{Code::kConflict, "This project is archived."};
  if (!entry->service_accounts.contains(request.service_account)) {
    return no_such_account();
  }
  return {};
}

// Adds a service account to a snapshot in the making, and to its batch.
Result<void> put_account(const ServiceAccount& account, DirectorySnapshot& next, Batch& batch) {
  const TenantEntry* current = next.find(account.tenant);
  if (current == nullptr) return no_such_project();
  if (current->tenant.archived_at) return Error{Code::kConflict, "This project is archived."};
  TenantEntry entry = *current;
  entry.service_accounts.emplace(account.id, account);
  next.put(std::move(entry));
  const std::string key = keys::service_account(account.tenant.str(), account.id.str());
  batch.expect(Family::kMeta, key, std::nullopt).put(Family::kMeta, key, encode(account));
  return {};
}

// The same for a key.
void put_key(const ApiKeyRecord& record, DirectorySnapshot& next, Batch& batch) {
  next.put_key(record);
  const std::string key = keys::api_key(record.id.str());
  batch.expect(Family::kMeta, key, std::nullopt).put(Family::kMeta, key, encode(record));
}

void erase_key(const TenantId& tenant, const KeyId& id, Batch& batch) {
  batch.erase(Family::kMeta, keys::api_key(id.str()));
  batch.erase(Family::kMeta, keys::key_use(tenant.str(), id.str()));
}

ServiceAccount new_account(const TenantId& tenant, const std::string& name, WallTime now) {
  return {ServiceAccountId("svc_" + new_ulid(now)), tenant, name, now};
}

AuditRecord account_created(const ServiceAccount& account, const KeyId& creator) {
  return new_audit_record("service_account.created", creator, account.tenant, account.id.str(),
                          account.created_at);
}

AuditRecord key_created(const ApiKeyRecord& key) {
  return new_audit_record("api_key.created", key.created_by, key.tenant, key.id.str(),
                          key.created_at);
}

}  // namespace

Result<ServiceAccount> TenantDirectory::create_service_account(const Caller& actor,
                                                               const TenantId& tenant,
                                                               const std::string& name,
                                                               WallTime now) {
  if (auto allowed = check_may_manage_keys(actor, tenant); !allowed) return allowed.error();
  if (auto named = check_name(name); !named) return named.error();
  const ServiceAccount account = new_account(tenant, name, now);

  const MutexLock lock(change_);
  DirectorySnapshot next = *snapshot();
  Batch batch;
  if (auto put = put_account(account, next, batch); !put) return put.error();
  const auto audit = account_created(account, actor.key);
  if (auto done = commit(std::move(batch), audit, std::move(next)); !done) return done.error();
  return account;
}

Result<CreatedServiceAccount> TenantDirectory::create_service_account_with_key(
    const Caller& actor, const TenantId& tenant, const std::string& name, ScopeSet scopes,
    WallTime now, std::optional<WallTime> key_expiry) {
  if (auto allowed = check_may_manage_keys(actor, tenant); !allowed) return allowed.error();
  const ServiceAccount account = new_account(tenant, name, now);
  const NewApiKey request{.name = name,
                          .scopes = scopes,
                          .tenant = tenant,
                          .service_account = account.id,
                          .expires_at = key_expiry};
  if (auto checked = check_request(actor, request); !checked) return checked.error();
  const ApiKey key = new_api_key(request.kind);
  const ApiKeyRecord record = record_of(key, request, actor.key, now);

  const MutexLock lock(change_);
  DirectorySnapshot next = *snapshot();
  Batch batch;
  if (auto put = put_account(account, next, batch); !put) return put.error();
  put_key(record, next, batch);
  const auto audited = append_audit(store_, batch, account_created(account, actor.key));
  if (!audited) return audited.error();
  const auto done = commit(std::move(batch), key_created(record), std::move(next));
  if (!done) return done.error();
  return CreatedServiceAccount{account, {record, to_text(key)}};
}

Result<ServiceAccount> TenantDirectory::rename_service_account(const Caller& actor,
                                                               const TenantId& tenant,
                                                               const ServiceAccountId& id,
                                                               const std::string& name,
                                                               WallTime now, const Guard& guard) {
  if (auto allowed = check_may_manage_keys(actor, tenant); !allowed) return allowed.error();
  if (auto named = check_name(name); !named) return named.error();
  ServiceAccount changed;
  const auto done = update(
      new_audit_record("service_account.updated", actor.key, tenant, id.str(), now),
      [&](TenantEntry& entry, Batch& batch) -> Result<void> {
        const auto account = entry.service_accounts.find(id);
        if (account == entry.service_accounts.end()) return no_such_account();
        account->second.name = name;
        changed = account->second;
        batch.put(Family::kMeta, keys::service_account(tenant.str(), id.str()), encode(changed));
        return {};
      },
      guard);
  if (!done) return done.error();
  return changed;
}

Result<void> TenantDirectory::delete_service_account(const Caller& actor, const TenantId& tenant,
                                                     const ServiceAccountId& id, WallTime now,
                                                     const Guard& guard) {
  if (auto allowed = check_may_manage_keys(actor, tenant); !allowed) return allowed;
  const MutexLock lock(change_);
  DirectorySnapshot next = *snapshot();
  if (auto checked = check(guard, next); !checked) return checked;
  const TenantEntry* current = next.find(tenant);
  if (current == nullptr) return no_such_project();
  TenantEntry entry = *current;
  if (entry.service_accounts.erase(id) == 0) return no_such_account();
  Batch batch;
  for (const ApiKeyRecord& key : next.keys_of(tenant)) {
    if (key.service_account != id) continue;
    next.erase_key(key.id);
    erase_key(tenant, key.id, batch);
    const auto revoked = new_audit_record("api_key.deleted", actor.key, tenant, key.id.str(), now);
    if (auto appended = append_audit(store_, batch, revoked); !appended) return appended;
  }
  next.put(std::move(entry));
  batch.erase(Family::kMeta, keys::service_account(tenant.str(), id.str()));
  const auto audit = new_audit_record("service_account.deleted", actor.key, tenant, id.str(), now);
  return commit(std::move(batch), audit, std::move(next));
}

ApiKeyRecord TenantDirectory::record_of(const ApiKey& key, const NewApiKey& request,
                                        const KeyId& creator, WallTime now) const {
  const std::uint32_t pepper = peppers_.current_version();
  return {.id = key.id,
          .kind = key.kind,
          .tenant = request.tenant,
          .service_account = request.service_account,
          .name = request.name,
          .scopes = request.scopes,
          .pepper_version = pepper,
          .secret_hmac = peppers_.hmac(pepper, key.secret),
          .created_at = now,
          .created_by = creator,
          .expires_at = request.expires_at,
          .policy = request.policy};
}

Result<void> TenantDirectory::add_key(const ApiKeyRecord& key) {
  DirectorySnapshot next = *snapshot();
  Batch batch;
  put_key(key, next, batch);
  return commit(std::move(batch), key_created(key), std::move(next));
}

Result<CreatedApiKey> TenantDirectory::create_key(const Caller& actor, const NewApiKey& request,
                                                  WallTime now) {
  if (auto allowed = check_may_manage_keys(actor, request.tenant); !allowed) return allowed.error();
  if (auto checked = check_request(actor, request); !checked) return checked.error();
  const ApiKey key = new_api_key(request.kind);
  const ApiKeyRecord record = record_of(key, request, actor.key, now);

  const MutexLock lock(change_);
  if (auto placed = check_place(*snapshot(), request); !placed) return placed.error();
  if (auto added = add_key(record); !added) return added.error();
  return CreatedApiKey{record, to_text(key)};
}

Result<void> TenantDirectory::revoke_key(const Caller& actor, const TenantId& tenant,
                                         const KeyId& id, WallTime now, const Guard& guard) {
  if (auto allowed = check_may_manage_keys(actor, tenant); !allowed) return allowed;
  const MutexLock lock(change_);
  DirectorySnapshot next = *snapshot();
  if (auto checked = check(guard, next); !checked) return checked;
  const ApiKeyRecord* key = next.find_key(id);
  if (key == nullptr || key->tenant != tenant) {
    return no_such_key();
  }
  next.erase_key(id);
  if (!next.has_admin_key()) {
    return Error{Code::kConflict, "This is the last admin key; make another one first."};
  }
  Batch batch;
  erase_key(tenant, id, batch);
  const auto audit = new_audit_record("api_key.deleted", actor.key, tenant, id.str(), now);
  return commit(std::move(batch), audit, std::move(next));
}

Result<CreatedApiKey> TenantDirectory::rotate_key(const Caller& actor, const TenantId& tenant,
                                                  const KeyId& id, std::chrono::seconds grace,
                                                  WallTime now, const Guard& guard) {
  if (auto allowed = check_may_manage_keys(actor, tenant); !allowed) return allowed.error();
  const MutexLock lock(change_);
  DirectorySnapshot next = *snapshot();
  if (auto checked = check(guard, next); !checked) return checked.error();
  const ApiKeyRecord* current = next.find_key(id);
  if (current == nullptr || current->tenant != tenant) return no_such_key();
  if (auto checked = check_may_open(actor, *current); !checked) return checked.error();
  ApiKeyRecord record = *current;
  const ApiKey key{record.kind, record.id, new_api_key(record.kind).secret};
  record.retired = {record.pepper_version, record.secret_hmac, now + grace};
  record.pepper_version = peppers_.current_version();
  record.secret_hmac = peppers_.hmac(record.pepper_version, key.secret);

  next.erase_key(id);
  next.put_key(record);
  Batch batch;
  batch.put(Family::kMeta, keys::api_key(id.str()), encode(record));
  const auto audit = new_audit_record("api_key.updated", actor.key, tenant, id.str(), now);
  if (auto done = commit(std::move(batch), audit, std::move(next)); !done) return done.error();
  return CreatedApiKey{record, to_text(key)};
}

Result<ApiKeyRecord> TenantDirectory::modify_key_policy(
    const Caller& actor, const TenantId& tenant, const KeyId& id,
    const std::function<Result<void>(KeyPolicy&)>& change, WallTime now, const Guard& guard) {
  if (auto allowed = check_may_manage_keys(actor, tenant); !allowed) return allowed.error();
  const MutexLock lock(change_);
  DirectorySnapshot next = *snapshot();
  if (auto checked = check(guard, next); !checked) return checked.error();
  const ApiKeyRecord* current = next.find_key(id);
  if (current == nullptr || current->tenant != tenant || tenant.empty()) return no_such_key();
  // Neither what it has now nor what it shall have may be more than the actor has.
  if (auto checked = check_policy(actor, current->policy); !checked) return checked.error();
  ApiKeyRecord record = *current;
  if (auto edited = change(record.policy); !edited) return edited.error();
  if (auto checked = check_policy(actor, record.policy); !checked) return checked.error();

  TenantEntry entry = *next.find(tenant);
  ++entry.limits_revision;
  next.put(std::move(entry));
  next.put_key(record);
  Batch batch;
  batch.put(Family::kMeta, keys::api_key(id.str()), encode(record));
  const auto audit = new_audit_record("api_key.updated", actor.key, tenant, id.str(), now);
  if (auto done = commit(std::move(batch), audit, std::move(next)); !done) return done.error();
  return record;
}

Result<ApiKeyRecord> TenantDirectory::set_key_enabled(const Caller& actor, const TenantId& tenant,
                                                      const KeyId& id, bool enabled, WallTime now,
                                                      const Guard& guard) {
  if (auto allowed = check_may_manage_keys(actor, tenant); !allowed) return allowed.error();
  const MutexLock lock(change_);
  DirectorySnapshot next = *snapshot();
  if (auto checked = check(guard, next); !checked) return checked.error();
  const ApiKeyRecord* current = next.find_key(id);
  if (current == nullptr || current->tenant != tenant || tenant.empty()) return no_such_key();
  if (enabled == !current->disabled_at) return *current;
  if (auto checked = check_may_open(actor, *current); enabled && !checked) return checked.error();
  ApiKeyRecord record = *current;
  record.disabled_at = enabled ? std::nullopt : std::optional(now);

  next.put_key(record);
  Batch batch;
  batch.put(Family::kMeta, keys::api_key(id.str()), encode(record));
  const auto audit = new_audit_record("api_key.updated", actor.key, tenant, id.str(), now);
  if (auto done = commit(std::move(batch), audit, std::move(next)); !done) return done.error();
  return record;
}

Result<bool> TenantDirectory::ensure_admin_key(const std::filesystem::path& file, WallTime now) {
  const MutexLock lock(change_);
  if (snapshot()->has_admin_key()) return false;
  const NewApiKey request{
      .name = "first admin key", .scopes = kAdminScopes, .kind = KeyKind::kAdmin};
  const ApiKey key = new_api_key(KeyKind::kAdmin);
  if (auto written = write_file_durably(file, to_text(key) + "\n", 0600); !written) {
    return written.error();
  }
  if (auto added = add_key(record_of(key, request, KeyId(), now)); !added) {
    return added.error();
  }
  return true;
}

}  // namespace tessera
