// directory.cpp — TenantDirectory: opening, authentication, and changes of tenants. Changes of keys
// are in directory_keys.cpp, of the whole organization in directory_organization.cpp.
#include "tenancy/directory.hpp"

#include <utility>

#include "storage/keys.hpp"
#include "tenancy/directory_load.hpp"
#include "tenancy/records.hpp"
#include "tenancy/slug.hpp"

namespace tessera {
namespace {

constexpr std::string_view kPepperCheck = "tessera pepper check";

Error wrong_key() {
  return {Code::kInvalidApiKey, "Incorrect API key provided."};
}

Result<void> check_is_admin(const Caller& actor) {
  if (actor.may(Scope::kAdmin)) return {};
  return Error{Code::kInsufficientScope, "This takes an admin key."};
}

Result<void> check(const Guard& guard, const DirectorySnapshot& snapshot) {
  return guard ? guard(snapshot) : Result<void>();
}

// The wanted slug, or one made from the name that is free.
Result<std::string> choose_slug(const NewTenant& request, const DirectorySnapshot& snapshot) {
  if (request.slug.empty()) {
    std::string slug = slug_of(request.name);
    while (snapshot.has_slug(slug)) slug = slug_of(request.name) + "-" + slug_of(random_base62(6));
    return slug;
  }
  if (!is_slug(request.slug)) {
    return Error{Code::kInvalidValue, "A slug is 1 to 63 of a-z, 0-9 and - within.", "slug"};
  }
  if (snapshot.has_slug(request.slug)) {
    return Error{Code::kNameExists, "Another project has this slug.", "slug"};
  }
  return request.slug;
}

}  // namespace

Result<std::unique_ptr<TenantDirectory>> TenantDirectory::open(Store& store,
                                                               const PepperFile& peppers) {
  std::unique_ptr<TenantDirectory> directory(new TenantDirectory(store, peppers));
  if (auto checked = directory->check_peppers(); !checked) return checked.error();
  if (auto loaded = directory->load(); !loaded) return loaded.error();
  return directory;
}

// The store remembers what each pepper makes of a fixed text, so that a lost or exchanged pepper
// file is told at start, and not as "every key is wrong".
Result<void> TenantDirectory::check_peppers() {
  const std::uint32_t version = peppers_.current_version();
  const std::string key = keys::pepper_check(version);
  const std::string ours = to_hex(peppers_.hmac(version, kPepperCheck));
  const auto found = store_.get(Family::kMeta, key);
  if (!found) return found.error();
  if (!*found) return store_.write(Batch().put(Family::kMeta, key, ours));
  if (**found == ours) return {};
  return Error{Code::kCorrupt,
               "the pepper file is not the one that this store's keys were made with; restore it"};
}

Result<void> TenantDirectory::load() {
  auto loaded = load_directory(store_, peppers_);
  if (!loaded) return loaded.error();
  if (auto read = load_organization(*loaded); !read) return read;
  publish(*std::move(loaded));
  return {};
}

std::shared_ptr<const DirectorySnapshot> TenantDirectory::snapshot() const {
  const MutexLock lock(publish_);
  return snapshot_;
}

void TenantDirectory::publish(DirectorySnapshot next) {
  auto snapshot = std::make_shared<const DirectorySnapshot>(std::move(next));
  const MutexLock lock(publish_);
  snapshot_.swap(snapshot);  // the old one goes, if nobody holds it, after the lock
}

Result<Caller> TenantDirectory::authenticate(std::string_view bearer_token, WallTime now) const {
  const auto presented = parse_api_key(bearer_token);
  if (!presented) return wrong_key();
  const auto current = snapshot();
  const auto key = current->share_key(presented->id);
  if (!verify_api_key(peppers_, key.get(), *presented, now)) return wrong_key();
  if (key->expires_at && *key->expires_at <= now) {
    return Error{Code::kExpiredApiKey, "This API key has expired."};
  }
  if (key->disabled_at) return Error{Code::kInvalidApiKey, "This API key is disabled."};
  if (key->kind == KeyKind::kAdmin) {
    return Caller{
        .tenant = {}, .key = key->id, .scopes = key->scopes, .is_admin = true, .limits = {}};
  }
  const TenantEntry* entry = current->find(key->tenant);
  if (entry == nullptr) return wrong_key();
  if (entry->tenant.archived_at) {
    return Error{Code::kTenantSuspended, "The project of this API key is archived."};
  }
  return Caller{.tenant = key->tenant,
                .key = key->id,
                .scopes = key->scopes,
                .is_admin = false,
                .limits = entry->limits,
                .limits_revision = entry->limits_revision,
                .tenant_policy = entry->policy,
                .key_policy = std::shared_ptr<const KeyPolicy>(key, &key->policy),
                .organization = current->organization()};
}

// The one place where a change takes effect: on disk with its audit record, then in memory.
Result<void> TenantDirectory::commit(Batch batch, const AuditRecord& audit,
                                     DirectorySnapshot next) {
  if (auto appended = append_audit(store_, batch, audit); !appended) return appended;
  if (auto written = store_.write(batch); !written) return written;
  publish(std::move(next));
  return {};
}

Result<void> TenantDirectory::write_audited(Batch batch, std::span<const AuditRecord> records) {
  {
    const MutexLock lock(change_);
    for (const AuditRecord& record : records) {
      if (auto appended = append_audit(store_, batch, record); !appended) return appended;
    }
    if (auto written = store_.write(batch, Durability::kBuffered); !written) return written;
  }
  return store_.sync();  // not under the lock: others may write meanwhile, and share the wait
}

Result<Tenant> TenantDirectory::create_tenant(const Caller& actor, const NewTenant& request,
                                              WallTime now) {
  if (auto allowed = check_is_admin(actor); !allowed) return allowed.error();
  if (auto named = check_name(request.name); !named) return named.error();
  if (auto checked = check_limits(request.limits); !checked) return checked.error();
  const MutexLock lock(change_);
  DirectorySnapshot next = *snapshot();
  const auto slug = choose_slug(request, next);
  if (!slug) return slug.error();

  TenantEntry entry;
  entry.tenant = {TenantId("proj_" + new_ulid(now)), request.name, *slug, now};
  entry.limits = request.limits;
  const std::string& id = entry.tenant.id.str();
  Batch batch;
  batch.expect(Family::kMeta, keys::tenant(id), std::nullopt)
      .put(Family::kMeta, keys::tenant(id), encode(entry.tenant))
      .put(Family::kMeta, keys::limits(id), encode(entry.limits));
  if (request.policy != TenantPolicy()) {
    entry.policy = std::make_shared<const TenantPolicy>(request.policy);
    batch.put(Family::kMeta, keys::policy(id), encode(request.policy));
  }
  next.put(entry);
  const auto audit = new_audit_record("project.created", actor.key, entry.tenant.id, id, now);
  if (auto done = commit(std::move(batch), audit, std::move(next)); !done) return done.error();
  return entry.tenant;
}

Result<void> TenantDirectory::update(
    const AuditRecord& audit, const std::function<Result<void>(TenantEntry&, Batch&)>& change,
    const Guard& guard) {
  const MutexLock lock(change_);
  DirectorySnapshot next = *snapshot();
  if (auto checked = check(guard, next); !checked) return checked;
  const TenantEntry* current = next.find(audit.tenant);
  if (current == nullptr) return Error{Code::kNotFound, "There is no such project."};
  TenantEntry entry = *current;
  Batch batch;
  if (auto changed = change(entry, batch); !changed) return changed;
  next.put(std::move(entry));
  return commit(std::move(batch), audit, std::move(next));
}

Result<Tenant> TenantDirectory::update_tenant(const AuditRecord& audit,
                                              const std::function<void(Tenant&)>& change,
                                              const Guard& guard) {
  Tenant changed;
  const auto done = update(
      audit,
      [&](TenantEntry& entry, Batch& batch) -> Result<void> {
        change(entry.tenant);
        changed = entry.tenant;
        batch.put(Family::kMeta, keys::tenant(changed.id.str()), encode(changed));
        return {};
      },
      guard);
  if (!done) return done.error();
  return changed;
}

Result<Tenant> TenantDirectory::rename_tenant(const Caller& actor, const TenantId& id,
                                              const std::string& name, WallTime now,
                                              const Guard& guard) {
  const bool is_own = actor.tenant == id && actor.may(Scope::kTenantWrite);
  if (auto allowed = is_own ? Result<void>() : check_is_admin(actor); !allowed) {
    return allowed.error();
  }
  if (auto named = check_name(name); !named) return named.error();
  return update_tenant(
      new_audit_record("project.updated", actor.key, id, id.str(), now),
      [&](Tenant& tenant) { tenant.name = name; }, guard);
}

Result<TenantEntry> TenantDirectory::modify_tenant(
    const Caller& actor, const TenantId& id,
    const std::function<Result<void>(TenantSettings&)>& change, WallTime now, const Guard& guard) {
  if (auto allowed = check_is_admin(actor); !allowed) return allowed.error();
  TenantEntry changed;
  const auto edit = [&](TenantEntry& entry, Batch& batch) -> Result<void> {
    const TenantPolicy policy = entry.policy ? *entry.policy : TenantPolicy();
    TenantSettings settings{entry.tenant.name, entry.limits, policy};
    if (auto edited = change(settings); !edited) return edited;
    if (auto named = check_name(settings.name); !named) return named;
    if (auto checked = check_limits(settings.limits); !checked) return checked;
    const bool is_limited_anew = settings.limits != entry.limits || settings.policy != policy;
    if (is_limited_anew) ++entry.limits_revision;
    entry.tenant.name = settings.name;
    entry.limits = settings.limits;
    if (settings.policy != policy) {
      entry.policy = std::make_shared<const TenantPolicy>(settings.policy);
      batch.put(Family::kMeta, keys::policy(id.str()), encode(settings.policy));
    }
    batch.put(Family::kMeta, keys::tenant(id.str()), encode(entry.tenant))
        .put(Family::kMeta, keys::limits(id.str()), encode(entry.limits));
    changed = entry;
    return {};
  };
  const auto audit = new_audit_record("project.updated", actor.key, id, id.str(), now);
  if (auto done = update(audit, edit, guard); !done) return done.error();
  return changed;
}

Result<Tenant> TenantDirectory::archive_tenant(const Caller& actor, const TenantId& id,
                                               WallTime now, const Guard& guard) {
  if (auto allowed = check_is_admin(actor); !allowed) return allowed.error();
  return update_tenant(
      new_audit_record("project.archived", actor.key, id, id.str(), now),
      [&](Tenant& tenant) { tenant.archived_at = tenant.archived_at.value_or(now); }, guard);
}

Result<void> TenantDirectory::set_limits(const Caller& actor, const TenantId& id,
                                         const TenantLimits& limits, WallTime now) {
  const auto replace = [&](TenantLimits& current) -> Result<void> {
    current = limits;
    return {};
  };
  const auto changed = modify_limits(actor, id, replace, now);
  if (!changed) return changed.error();
  return {};
}

Result<TenantLimits> TenantDirectory::modify_limits(
    const Caller& actor, const TenantId& id,
    const std::function<Result<void>(TenantLimits&)>& change, WallTime now, const Guard& guard) {
  if (auto allowed = check_is_admin(actor); !allowed) return allowed.error();
  TenantLimits limits;
  const auto done = update(
      new_audit_record("rate_limit.updated", actor.key, id, id.str(), now),
      [&](TenantEntry& entry, Batch& batch) -> Result<void> {
        if (auto edited = change(entry.limits); !edited) return edited;
        limits = entry.limits;
        if (auto checked = check_limits(limits); !checked) return checked;
        ++entry.limits_revision;
        batch.put(Family::kMeta, keys::limits(id.str()), encode(limits));
        return {};
      },
      guard);
  if (!done) return done.error();
  return limits;
}

Result<TenantPolicy> TenantDirectory::modify_policy(
    const Caller& actor, const TenantId& id, const std::string& event,
    const std::function<Result<void>(TenantPolicy&)>& change, WallTime now, const Guard& guard,
    const std::string& target) {
  if (auto allowed = check_is_admin(actor); !allowed) return allowed.error();
  TenantPolicy policy;
  const std::string& about = target.empty() ? id.str() : target;
  const auto done = update(
      new_audit_record(event, actor.key, id, about, now),
      [&](TenantEntry& entry, Batch& batch) -> Result<void> {
        if (entry.policy) policy = *entry.policy;
        if (auto edited = change(policy); !edited) return edited;
        for (const auto& [model, limits] : policy.model_limits) {
          if (auto checked = check_limits(limits); !checked) return checked;
        }
        entry.policy = std::make_shared<const TenantPolicy>(policy);
        ++entry.limits_revision;
        batch.put(Family::kMeta, keys::policy(id.str()), encode(policy));
        return {};
      },
      guard);
  if (!done) return done.error();
  return policy;
}

}  // namespace tessera
