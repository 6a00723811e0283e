#include "adapters/registry.hpp"

#include <algorithm>
#include <array>
#include <unordered_map>
#include <utility>

#include <nlohmann/json.hpp>

#include "adapters/finding.hpp"
#include "storage/json.hpp"
#include "storage/keys.hpp"

namespace tessera {
namespace {

std::string display_name(const AdapterInfo& info, int version) {
  return info.name + '@' + std::to_string(version);
}

Error not_ready(const AdapterInfo& info, const AdapterVersion& version) {
  const std::string name = "The adapter version " + display_name(info, version.version);
  switch (version.status) {
    case VersionStatus::kValidating:
      return {Code::kVersionNotReady, name + " is still being validated.", "model"};
    case VersionStatus::kFailed:
      return {Code::kVersionNotReady, name + " failed its validation; see its report.", "model"};
    case VersionStatus::kQuarantined:
      return {Code::kVersionNotReady, name + " was taken out of service.", "model"};
    case VersionStatus::kReady:
      break;
  }
  return {Code::kVersionNotReady, name + " was made for another base model.", "model"};
}

// The version that an alias means for whoever has `keys`.
int choose(const AdapterInfo& info, std::string_view name, const Alias& alias,
           const StickyKeys& keys) {
  if (!alias.target.is_split()) return alias.target.shares.front().version;
  const std::string salt = info.id + ':' + std::string(name);
  const std::string_view key = sticky_key(alias.target, keys);
  if (!key.empty()) return choose_version(alias.target, salt, key);
  std::array<char, 16> draw{};
  random_bytes(draw.data(), draw.size());
  return choose_version(alias.target, salt, {draw.data(), draw.size()});
}

std::string interrupted_report() {
  Report report;
  report.findings.push_back(
      {.code = FindingCode::kValidationInterrupted,
       .message = "The server was stopped before the version was validated; upload it again."});
  return to_text(to_json(report));
}

}  // namespace

Result<void> Precondition::check(std::string_view etag) const {
  const bool is_named = etags.empty() || std::ranges::find(etags, etag) != etags.end();
  const bool is_there = !etag.empty() || (!must_exist && etags.empty());
  if (is_named && is_there && !(must_be_absent && !etag.empty())) return {};
  return Error{Code::kPreconditionFailed,
               "It is not, or no longer, what the precondition says; read it again."};
}

Result<RegistryContents> read_registry(Store& store) {
  RegistryContents contents{.tenants = {}, .shelf = PackageShelf(store)};
  const auto seen = [&](std::string_view tenant, const AdapterVersion& version) {
    if (version.has_bytes()) contents.shelf.restore(version.package, version.digest);
    if (version.status != VersionStatus::kValidating) return;
    std::pair name(TenantId(std::string(tenant)), version.adapter);
    auto& interrupted = contents.interrupted;
    if (interrupted.empty() || interrupted.back() != name) interrupted.push_back(std::move(name));
  };
  auto tenants = read_registry_index(store, seen);
  if (!tenants) return tenants.error();
  contents.tenants = *std::move(tenants);
  if (auto swept = contents.shelf.sweep(); !swept) return swept.error();
  return contents;
}

AdapterRegistry::AdapterRegistry(Store& store, BaseModel base, RegistryJournal* journal,
                                 RegistryContents contents)
    : store_(store),
      journal_(journal),
      base_(std::move(base)),
      index_(std::move(contents.tenants)),
      shelf_(std::move(contents.shelf)) {}

Result<std::unique_ptr<AdapterRegistry>> AdapterRegistry::open(Store& store, BaseModel base,
                                                               RegistryJournal* journal,
                                                               WallTime now) {
  return open(store, std::move(base), journal, now, read_registry(store));
}

Result<std::unique_ptr<AdapterRegistry>> AdapterRegistry::open(Store& store, BaseModel base,
                                                               RegistryJournal* journal,
                                                               WallTime now,
                                                               Result<RegistryContents> contents) {
  if (!contents) return contents.error();
  const auto interrupted = std::move(contents->interrupted);
  auto registry = std::unique_ptr<AdapterRegistry>(
      new AdapterRegistry(store, std::move(base), journal, *std::move(contents)));
  for (const auto& [tenant, name] : interrupted) {
    auto failed = registry->fail_interrupted({.tenant = tenant, .name = name, .now = now});
    if (!failed) return failed.error();
  }
  return registry;
}

Result<void> AdapterRegistry::fail_interrupted(const ChangeRequest& change) {
  MutexLock lock(change_mutex_);
  auto drafted = draft(change);
  if (!drafted) return drafted.error();
  const auto versions = drafted->info.versions;
  for (const auto& [number, version] : versions) {
    if (version->status != VersionStatus::kValidating) continue;
    AdapterVersion failed = *version;
    failed.status = VersionStatus::kFailed;
    put_report(*drafted, number, interrupted_report());
    put_version(*drafted, failed, RegistryChange::Kind::kVersionUpdated);
  }
  return commit(*drafted);
}

RegistryChange& AdapterRegistry::Draft::change(RegistryChange::Kind kind) {
  RegistryChange& change = changes.emplace_back();
  change.kind = kind;
  change.tenant = tenant;
  change.adapter = info.name;
  change.actor = actor;
  change.time = now;
  return change;
}

// Of an adapter that is there.
Result<AdapterRegistry::Draft> AdapterRegistry::draft(const ChangeRequest& change) const {
  const auto info = index_.find(change.tenant, change.name);
  if (info == nullptr) return model_not_found(change.name);
  Draft draft{.tenant = change.tenant, .actor = change.actor, .now = change.now, .info = *info};
  ++draft.info.revision;
  return draft;
}

// The one place where a change takes effect: on disk, then in memory, then it is told.
Result<void> AdapterRegistry::commit(Draft& draft) {
  const std::string key = keys::adapter(draft.tenant.str(), draft.info.name);
  if (draft.erased) {
    draft.batch.erase(Family::kMeta, key);
  } else {
    draft.batch.put(Family::kMeta, key, adapter_record(draft.info));
  }
  if (draft.added) shelf_.add_version(draft.batch, draft.added->ref());
  for (const auto& [content, package] : draft.dropped) {
    shelf_.drop_versions(draft.batch, package.first, package.second);
  }
  const auto written = journal_ == nullptr ? store_.write(draft.batch)
                                           : journal_->write(std::move(draft.batch), draft.changes);
  if (!written) {
    if (draft.added && written.error().code == Code::kIo) shelf_.in_doubt(draft.added);
    return written;
  }
  make_visible(draft);
  if (journal_ != nullptr) journal_->tell(draft.changes);
  return {};
}

void AdapterRegistry::make_visible(Draft& draft) {
  if (draft.added) shelf_.added(draft.added, draft.digest);
  if (draft.erased) {
    index_.erase(draft.tenant, draft.info.name);
  } else {
    index_.put(draft.tenant, std::make_shared<const AdapterInfo>(std::move(draft.info)));
  }
  for (const auto& [content, package] : draft.dropped) {
    shelf_.dropped(package.first, package.second);
  }
}

std::vector<std::shared_ptr<const AdapterInfo>> AdapterRegistry::list(
    const TenantId& tenant) const {
  return index_.list(tenant);
}

Result<std::shared_ptr<const AdapterInfo>> AdapterRegistry::get(const TenantId& tenant,
                                                                std::string_view name) const {
  auto info = index_.find(tenant, name);
  if (info == nullptr) return model_not_found(name);
  return info;
}

Result<ResolvedAdapter> AdapterRegistry::resolve(const TenantId& tenant, std::string_view model,
                                                 const StickyKeys& keys) const {
  const auto named = parse_model_name(model, base_.name, tenant);
  const auto info = named ? index_.find(tenant, named->adapter) : nullptr;
  if (info == nullptr) return model_not_found(model);
  int number = named->version;
  if (number == 0) {
    const auto alias = info->aliases.find(named->alias);
    if (alias == info->aliases.end()) return model_not_found(model);
    number = choose(*info, alias->first, alias->second, keys);
  }
  const AdapterVersion* version = info->find(number);
  if (version == nullptr) return model_not_found(model);
  if (version->status != VersionStatus::kReady || version->base != base_.digest) {
    return not_ready(*info, *version);
  }
  ResolvedAdapter resolved{.digest = version->digest,
                           .display_name = display_name(*info, number),
                           .is_plain = version->is_plain,
                           .pin = shelf_.find(version->package.content)};
  if (resolved.pin == nullptr) return model_not_found(model);  // deleted at this moment
  return resolved;
}

bool AdapterRegistry::has(const AdapterDigest& digest) const {
  return shelf_.find(digest) != nullptr;
}

PackagePin AdapterRegistry::package(const AdapterDigest& digest) const {
  return shelf_.find(digest);
}

PackagePin AdapterRegistry::package(const AdapterVersion& version) const {
  return version.has_bytes() ? shelf_.find(version.package.content) : nullptr;
}

Result<AdapterFiles> AdapterRegistry::load(const AdapterDigest& digest) const {
  const auto package = shelf_.find(digest);
  if (package == nullptr) {
    return Error{Code::kNotFound, "there is no adapter with the digest " + to_hex(digest)};
  }
  return package->read_all();
}

AdapterRegistry::Usage AdapterRegistry::usage(const TenantId& tenant) const {
  return usage_of(index_.list(tenant));
}

AdapterRegistry::Usage AdapterRegistry::usage_of(
    const std::vector<std::shared_ptr<const AdapterInfo>>& adapters, const ContentDigest* but_for) {
  std::unordered_map<ContentDigest, std::uint64_t, DigestHash> packages;
  for (const auto& info : adapters) {
    for (const auto& [number, version] : info->versions) {
      if (version->has_bytes()) packages.emplace(version->package.content, version->bytes());
    }
  }
  if (but_for != nullptr) packages.erase(*but_for);
  Usage usage{.adapters = adapters.size()};
  for (const auto& [content, bytes] : packages) usage.bytes += bytes;
  return usage;
}

}  // namespace tessera
