// registry_versions.cpp — versions come, fail, are set aside and go.
#include <algorithm>
#include <utility>

#include "adapters/registry.hpp"
#include "storage/keys.hpp"

namespace tessera {
namespace {

using Kind = RegistryChange::Kind;

constexpr std::string_view kReservedName = "events";  // /v1/adapters/events

std::uint32_t number_of(int version) {
  return static_cast<std::uint32_t>(version);
}

Error version_not_found(std::string_view name, int version) {
  return model_not_found(std::string(name) + '@' + std::to_string(version));
}

const AdapterVersion* find_ready(const AdapterInfo& info, const AdapterDigest& digest) {
  for (const auto& [number, version] : info.versions) {
    if (version->status == VersionStatus::kReady && version->digest == digest) return version.get();
  }
  return nullptr;
}

void fill_in(AdapterVersion& version, const PublishRequest& request, const AdapterFacts& facts,
             const PackageRef& package) {
  version.status = VersionStatus::kReady;
  version.digest = facts.digest;
  version.package = package;
  version.config_sha256 = request.config->sha256();
  version.tensors_sha256 = request.tensors->sha256();
  version.rank_max = facts.rank_max;
  version.num_tensors = facts.num_tensors;
  version.target_modules = facts.target_modules;
  version.is_plain = facts.is_plain;
  version.invocation = facts.invocation;
  version.packed_bytes = facts.packed_bytes;
}

}  // namespace

Result<void> AdapterRegistry::check_request(const VersionRequest& request) const {
  if (!is_valid_adapter_name(request.name)) {
    return Error{
        Code::kInvalidValue,
        "An adapter's name is 1 to 63 characters of a-z, 0-9, '.', '_' and '-', and begins "
        "with a letter or digit.",
        "name"};
  }
  if (request.name == base_.name) {
    return Error{Code::kNameExists, "The name is the base model's.", "name"};
  }
  if (request.name == kReservedName) {
    return Error{Code::kNameExists, "The name is taken by the server.", "name"};
  }
  return check_labels(request.metadata, "metadata");
}

// Equal bytes count once.
Result<void> AdapterRegistry::check_bytes(const PublishRequest& request,
                                          const ContentDigest& content) const {
  const std::uint64_t added = request.config->size() + request.tensors->size();
  const Usage used = usage_of(index_.list(request.version.tenant), &content);
  const std::uint64_t max_bytes = request.version.quota.max_bytes;
  if (used.bytes + added <= max_bytes) return {};
  return Error{Code::kStorageQuotaExceeded,
               "The limit of " + std::to_string(max_bytes) + " bytes of adapters would be passed."};
}

// Of an adapter that is there, or of a new one: what its next version is to be added to.
Result<AdapterRegistry::Draft> AdapterRegistry::draft_version(const VersionRequest& request) const {
  Draft draft{.tenant = request.tenant, .actor = request.created_by, .now = request.now};
  if (const auto info = index_.find(request.tenant, request.name)) {
    draft.info = *info;
    ++draft.info.revision;
    if (draft.info.versions.size() < kMaxVersions) return draft;
    return Error{Code::kStorageQuotaExceeded, "The adapter has " + std::to_string(kMaxVersions) +
                                                  " versions; delete some before the next."};
  }
  if (index_.list(request.tenant).size() >= request.quota.max_adapters) {
    return Error{
        Code::kStorageQuotaExceeded,
        "The limit of " + std::to_string(request.quota.max_adapters) + " adapters is reached."};
  }
  draft.info = {.id = "adp_" + new_ulid(request.now),
                .name = request.name,
                .created_at = request.now,
                .revision = 1};
  // A name that was deleted goes on counting: "bot@1" never becomes another version's name.
  const std::string retired = keys::retired_adapter(request.tenant.str(), request.name);
  const auto next = store_.get(Family::kMeta, retired);
  if (!next) return next.error();
  if (*next) draft.info.next_version = static_cast<int>(keys::number_at_end(**next));
  draft.batch.erase(Family::kMeta, retired);
  draft.change(Kind::kAdapterCreated);
  return draft;
}

Result<AdapterRegistry::Draft> AdapterRegistry::draft_publish(const PublishRequest& request) const {
  const VersionRequest& wanted = request.version;
  if (!request.reserved) return draft_version(wanted);
  return draft({.tenant = wanted.tenant,
                .name = wanted.name,
                .actor = wanted.created_by,
                .now = wanted.now});
}

AdapterVersion AdapterRegistry::new_version(Draft& draft, const VersionRequest& request,
                                            const BaseDigest& base) {
  return {.id = "adv_" + new_ulid(request.now),
          .adapter = draft.info.name,
          .version = draft.info.next_version++,
          .status = VersionStatus::kValidating,
          .base = base,
          .created_at = request.now,
          .created_by = request.created_by,
          .metadata = request.metadata};
}

void AdapterRegistry::put_version(Draft& draft, const AdapterVersion& version, Kind kind) {
  const int number = version.version;
  draft.batch.put(Family::kMeta,
                  keys::version(draft.tenant.str(), draft.info.name, number_of(number)),
                  version_record(version));
  RegistryChange& change = draft.change(kind);
  change.version = number;
  change.status = version.status;
  draft.info.versions[number] = std::make_shared<const AdapterVersion>(version);
}

void AdapterRegistry::put_report(Draft& draft, int version, std::string report) {
  if (report.empty()) return;
  draft.batch.put(Family::kMeta,
                  keys::report(draft.tenant.str(), draft.info.name, number_of(version)),
                  std::move(report));
}

void AdapterRegistry::erase_version(Draft& draft, int number) {
  const auto removed = draft.info.versions.extract(number);
  const AdapterVersion& version = *removed.mapped();
  const std::string& tenant = draft.tenant.str();
  draft.batch.erase(Family::kMeta, keys::version(tenant, draft.info.name, number_of(number)))
      .erase(Family::kMeta, keys::report(tenant, draft.info.name, number_of(number)));
  if (version.has_bytes()) {
    auto& dropped = draft.dropped[version.package.content];
    dropped = {version.package, dropped.second + 1};
  }
  RegistryChange& change = draft.change(Kind::kVersionDeleted);
  change.version = number;
  change.status = version.status;
}

void AdapterRegistry::trim_failed(Draft& draft) {
  std::vector<int> failed;
  for (const auto& [number, version] : draft.info.versions) {
    if (version->status == VersionStatus::kFailed) failed.push_back(number);
  }
  for (std::size_t i = 0; i + kMaxFailedVersions < failed.size(); ++i) {
    erase_version(draft, failed[i]);
  }
}

Result<std::shared_ptr<const AdapterInfo>> AdapterRegistry::create(const VersionRequest& request,
                                                                   const Labels& labels) {
  if (auto checked = check_request(request); !checked) return checked.error();
  if (auto checked = check_labels(labels, "labels"); !checked) return checked.error();
  MutexLock lock(change_mutex_);
  if (auto info = index_.find(request.tenant, request.name)) return info;
  auto drafted = draft_version(request);
  if (!drafted) return drafted.error();
  drafted->info.labels = labels;
  if (auto done = commit(*drafted); !done) return done.error();
  return index_.find(request.tenant, request.name);
}

Result<void> AdapterRegistry::check_publish(const PublishRequest& request) const {
  if (auto checked = check_request(request.version); !checked) return checked;
  if (request.alias.empty()) return {};
  return check_alias_name(request.alias);
}

Result<PackagePin> AdapterRegistry::prepare(const PublishRequest& request) {
  if (auto checked = check_publish(request); !checked) return checked.error();
  {
    MutexLock lock(change_mutex_);
    if (auto drafted = draft_publish(request); !drafted) return drafted.error();
  }
  return shelf_.keep(*request.config, *request.tensors);
}

Result<Published> AdapterRegistry::publish(const PublishRequest& request,
                                           const AdapterFacts& facts) {
  if (auto checked = check_publish(request); !checked) return checked.error();
  {
    MutexLock lock(change_mutex_);
    auto found = find_published(request, facts);
    if (!found) return found.error();
    if (*found) return **std::move(found);
    if (auto drafted = draft_publish(request); !drafted) return drafted.error();
  }
  // The bytes, without the lock: other changes go on meanwhile.
  const auto kept = shelf_.keep(*request.config, *request.tensors);
  if (!kept) return kept.error();

  MutexLock lock(change_mutex_);
  auto found = find_published(request, facts);
  if (!found) return found.error();
  if (*found) return **std::move(found);
  auto drafted = draft_publish(request);
  if (!drafted) return drafted.error();
  return publish_into(*drafted, request, facts, *kept);
}

// What was published under this name before with the same content, if no number waits for it.
Result<std::optional<Published>> AdapterRegistry::find_published(const PublishRequest& request,
                                                                 const AdapterFacts& facts) {
  const VersionRequest& wanted = request.version;
  const auto info = index_.find(wanted.tenant, wanted.name);
  if (request.reserved) {
    const AdapterVersion* reserved = info == nullptr ? nullptr : info->find(*request.reserved);
    if (reserved == nullptr) return version_not_found(wanted.name, *request.reserved);
    if (reserved->status == VersionStatus::kValidating) return std::optional<Published>();
    return Error{Code::kConflict, "The version is not being validated."};
  }
  const AdapterVersion* same = info == nullptr ? nullptr : find_ready(*info, facts.digest);
  if (same == nullptr) return std::optional<Published>();
  Published published{.version = *same, .created = false};
  if (request.alias.empty() || info->aliases.contains(request.alias))
    return std::optional(published);
  // An alias that went with a version means this one now.
  auto drafted = draft({.tenant = wanted.tenant,
                        .name = wanted.name,
                        .actor = wanted.created_by,
                        .now = wanted.now});
  if (!drafted) return drafted.error();
  const auto target = AliasTarget::one(published.version.version);
  if (auto moved = move_alias(*drafted, request.alias, target); !moved) return moved.error();
  if (auto done = commit(*drafted); !done) return done.error();
  return std::optional(published);
}

Result<Published> AdapterRegistry::publish_into(Draft& draft, const PublishRequest& request,
                                                const AdapterFacts& facts,
                                                const PackagePin& package) {
  const ContentDigest& content = package->ref().content;
  if (auto fits = check_bytes(request, content); !fits) return fits.error();
  AdapterVersion version = request.reserved ? *draft.info.find(*request.reserved)
                                            : new_version(draft, request.version, base_.digest);
  fill_in(version, request, facts, package->ref());
  draft.added = package;
  draft.digest = facts.digest;
  put_report(draft, version.version, request.report);
  put_version(draft, version, request.reserved ? Kind::kVersionUpdated : Kind::kVersionCreated);
  if (!request.alias.empty()) {
    const auto target = AliasTarget::one(version.version);
    if (auto moved = move_alias(draft, request.alias, target); !moved) return moved.error();
  }
  if (auto done = commit(draft); !done) return done.error();
  return Published{.version = std::move(version)};
}

Result<AdapterVersion> AdapterRegistry::begin_version(const VersionRequest& request) {
  if (auto checked = check_request(request); !checked) return checked.error();
  MutexLock lock(change_mutex_);
  auto drafted = draft_version(request);
  if (!drafted) return drafted.error();
  AdapterVersion version = new_version(*drafted, request, base_.digest);
  put_version(*drafted, version, Kind::kVersionCreated);
  if (auto done = commit(*drafted); !done) return done.error();
  return version;
}

Result<AdapterVersion> AdapterRegistry::fail_version(const TenantId& tenant, std::string_view name,
                                                     int version, std::string report,
                                                     WallTime now) {
  MutexLock lock(change_mutex_);
  auto drafted = draft({.tenant = tenant, .name = std::string(name), .actor = {}, .now = now});
  const AdapterVersion* found = drafted ? drafted->info.find(version) : nullptr;
  if (found == nullptr) return version_not_found(name, version);
  if (found->status != VersionStatus::kValidating) {
    return Error{Code::kConflict, "The version is not being validated."};
  }
  AdapterVersion failed = *found;
  failed.status = VersionStatus::kFailed;
  put_report(*drafted, version, std::move(report));
  put_version(*drafted, failed, Kind::kVersionUpdated);
  trim_failed(*drafted);
  if (auto done = commit(*drafted); !done) return done.error();
  return failed;
}

Result<AdapterVersion> AdapterRegistry::record_failed(const VersionRequest& request,
                                                      std::string report) {
  if (auto checked = check_request(request); !checked) return checked.error();
  MutexLock lock(change_mutex_);
  auto drafted = draft_version(request);
  if (!drafted) return drafted.error();
  AdapterVersion failed = new_version(*drafted, request, base_.digest);
  failed.status = VersionStatus::kFailed;
  put_report(*drafted, failed.version, std::move(report));
  put_version(*drafted, failed, Kind::kVersionCreated);
  trim_failed(*drafted);
  if (auto done = commit(*drafted); !done) return done.error();
  return failed;
}

Result<std::string> AdapterRegistry::report(const TenantId& tenant, std::string_view name,
                                            int version) const {
  const auto info = index_.find(tenant, name);
  if (info == nullptr || info->find(version) == nullptr) return version_not_found(name, version);
  auto text = store_.get(Family::kMeta, keys::report(tenant.str(), name, number_of(version)));
  if (!text) return text.error();
  return std::move(*text).value_or("");
}

Result<AdapterVersion> AdapterRegistry::set_quarantined(const ChangeRequest& change, int version,
                                                        bool quarantined) {
  MutexLock lock(change_mutex_);
  auto drafted = draft(change);
  if (!drafted) return drafted.error();
  const AdapterVersion* found = drafted->info.find(version);
  if (found == nullptr) return version_not_found(change.name, version);
  const auto from = quarantined ? VersionStatus::kReady : VersionStatus::kQuarantined;
  if (found->status != from) {
    return Error{Code::kConflict,
                 "The version's status is " + std::string(to_string(found->status)) + "."};
  }
  AdapterVersion changed = *found;
  changed.status = quarantined ? VersionStatus::kQuarantined : VersionStatus::kReady;
  put_version(*drafted, changed, Kind::kVersionUpdated);
  if (quarantined) {
    auto taken = take_from_aliases(*drafted, version, Aliases::kSplits);
    if (!taken) return taken.error();
  }
  if (auto done = commit(*drafted); !done) return done.error();
  return changed;
}

Result<std::shared_ptr<const AdapterInfo>> AdapterRegistry::remove(const ChangeRequest& change) {
  MutexLock lock(change_mutex_);
  auto drafted = draft(change);
  if (!drafted) return drafted.error();
  auto removed = index_.find(change.tenant, change.name);
  if (auto holds = change.precondition.check(etag_of(*removed)); !holds) return holds.error();
  for (const auto& [alias, target] : removed->aliases) erase_alias(*drafted, alias);
  for (const auto& [number, version] : removed->versions) erase_version(*drafted, number);
  drafted->changes.clear();  // they are one
  drafted->change(Kind::kAdapterDeleted);
  drafted->erased = true;
  drafted->batch.put(Family::kMeta, keys::retired_adapter(change.tenant.str(), change.name),
                     keys::big_endian(number_of(removed->next_version)));
  if (auto done = commit(*drafted); !done) return done.error();
  return removed;
}

Result<AdapterVersion> AdapterRegistry::remove_version(const ChangeRequest& change, int version,
                                                       Removal removal) {
  MutexLock lock(change_mutex_);
  auto drafted = draft(change);
  const AdapterVersion* found = drafted ? drafted->info.find(version) : nullptr;
  if (found == nullptr) return version_not_found(change.name, version);
  const AdapterVersion removed = *found;
  const auto before = index_.find(change.tenant, change.name);
  if (auto holds = change.precondition.check(etag_of(*before)); !holds) return holds.error();
  for (const auto& [alias, state] : before->aliases) {
    if (removal == Removal::kForced || !state.target.points_at(version)) continue;
    return Error{
        Code::kConflict,
        "The alias `" + alias + "` points at this version; only a forced deletion takes both.",
        "version"};
  }
  if (auto taken = take_from_aliases(*drafted, version, Aliases::kAll); !taken) {
    return taken.error();
  }
  erase_version(*drafted, version);
  if (auto done = commit(*drafted); !done) return done.error();
  return removed;
}

}  // namespace tessera
