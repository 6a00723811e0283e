#include "adapters/registry.hpp"

#include <algorithm>
#include <charconv>
#include <optional>
#include <set>
#include <unordered_map>
#include <utility>

#include "storage/keys.hpp"

namespace tessera {
namespace {

std::uint32_t number_of(int version) {
  return static_cast<std::uint32_t>(version);
}

std::vector<std::string> targets_of(const Adapter& adapter) {
  std::set<std::string, std::less<>> targets;
  for (const AdapterModule& module : adapter.modules) targets.emplace(module.base.target());
  return {targets.begin(), targets.end()};
}

int max_rank_of(const Adapter& adapter) {
  return std::ranges::max_element(adapter.modules, {}, &AdapterModule::rank)->rank;
}

// All of a version but its number.
AdapterVersion describe(const PublishRequest& request, const Adapter& adapter,
                        const BaseModel& base) {
  return {.id = "adv_" + new_ulid(request.now),
          .adapter = request.name,
          .digest = adapter_digest(adapter, base.digest),
          .base = base.digest,
          .package = refer_to_package(request.config, request.tensors),
          .config_sha256 = {sha256(std::as_bytes(std::span(request.config)))},
          .rank_max = max_rank_of(adapter),
          .num_tensors = static_cast<int>(adapter.modules.size()) * 2,
          .target_modules = targets_of(adapter),
          .created_at = request.now,
          .created_by = request.created_by};
}

// "name", "name@7" or "name:alias".
struct ModelText {
  std::string_view name;
  std::string_view alias = kDefaultAlias;
  std::optional<int> version = {};
};

std::optional<int> parse_version_number(std::string_view text) {
  int number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const bool is_whole = error == std::errc() && end == text.data() + text.size();
  if (!is_whole || text.front() == '0' || number < 1) return std::nullopt;
  return number;
}

std::optional<ModelText> parse_model(std::string_view text) {
  const auto mark = text.find_first_of("@:");
  if (mark == text.npos) return ModelText{.name = text};
  const std::string_view name = text.substr(0, mark);
  const std::string_view rest = text.substr(mark + 1);
  if (text[mark] == ':') return ModelText{.name = name, .alias = rest};
  const auto version = parse_version_number(rest);
  if (!version) return std::nullopt;
  return ModelText{.name = name, .version = version};
}

const AdapterVersion* find_version(const AdapterInfo& info, const ModelText& model) {
  int number = model.version.value_or(0);
  if (!model.version) {
    const auto alias = info.aliases.find(model.alias);
    if (alias == info.aliases.end()) return nullptr;
    number = alias->second;
  }
  const auto version = info.versions.find(number);
  return version == info.versions.end() ? nullptr : &version->second;
}

const AdapterVersion* find_digest(const AdapterInfo& info, const AdapterDigest& digest) {
  const auto same = [&](const auto& entry) { return entry.second.digest == digest; };
  const auto found = std::ranges::find_if(info.versions, same);
  return found == info.versions.end() ? nullptr : &found->second;
}

// The packages of a tenant, each once.
std::unordered_map<ContentDigest, std::uint64_t, DigestHash> packages_of(
    const RegistrySnapshot::Adapters& adapters) {
  std::unordered_map<ContentDigest, std::uint64_t, DigestHash> packages;
  for (const auto& [name, info] : adapters) {
    for (const auto& [number, version] : info->versions) {
      packages.emplace(version.package.content, version.bytes());
    }
  }
  return packages;
}

std::uint64_t total_bytes(
    const std::unordered_map<ContentDigest, std::uint64_t, DigestHash>& packages) {
  std::uint64_t total = 0;
  for (const auto& [content, bytes] : packages) total += bytes;
  return total;
}

Result<void> check_quota(const AdapterQuota& quota, const RegistrySnapshot::Adapters& adapters,
                         const AdapterVersion& version) {
  if (!adapters.contains(version.adapter) && adapters.size() >= quota.max_adapters) {
    return Error{Code::kStorageQuotaExceeded,
                 "The limit of " + std::to_string(quota.max_adapters) + " adapters is reached."};
  }
  const auto packages = packages_of(adapters);
  const std::uint64_t added = packages.contains(version.package.content) ? 0 : version.bytes();
  if (total_bytes(packages) + added > quota.max_bytes) {
    return Error{Code::kStorageQuotaExceeded, "The limit of " + std::to_string(quota.max_bytes) +
                                                  " bytes of adapters would be passed."};
  }
  return {};
}

}  // namespace

bool is_valid_adapter_name(std::string_view name) {
  constexpr std::size_t kMaxName = 63;
  const auto is_alphanumeric = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
  };
  const auto is_allowed = [&](char c) {
    return is_alphanumeric(c) || c == '.' || c == '_' || c == '-';
  };
  return !name.empty() && name.size() <= kMaxName && is_alphanumeric(name.front()) &&
         std::ranges::all_of(name, is_allowed);
}

Error model_not_found(std::string_view model) {
  return {Code::kModelNotFound,
          "The model `" + std::string(model) + "` does not exist or you do not have access to it.",
          "model"};
}

AdapterRegistry::AdapterRegistry(Store& store, BaseModel base, RegistrySnapshot snapshot)
    : store_(store),
      base_(std::move(base)),
      snapshot_(std::make_shared<const RegistrySnapshot>(std::move(snapshot))) {}

Result<std::unique_ptr<AdapterRegistry>> AdapterRegistry::open(Store& store, BaseModel base) {
  auto snapshot = read_registry(store);
  if (!snapshot) return snapshot.error();
  return std::unique_ptr<AdapterRegistry>(
      new AdapterRegistry(store, std::move(base), std::move(*snapshot)));
}

std::shared_ptr<const RegistrySnapshot> AdapterRegistry::snapshot() const {
  MutexLock lock(snapshot_mutex_);
  return snapshot_;
}

void AdapterRegistry::replace_snapshot(RegistrySnapshot next) {
  auto shared = std::make_shared<const RegistrySnapshot>(std::move(next));
  MutexLock lock(snapshot_mutex_);
  snapshot_.swap(shared);
}

Result<void> AdapterRegistry::check_name(std::string_view name) const {
  if (!is_valid_adapter_name(name)) {
    return Error{
        Code::kInvalidValue,
        "An adapter's name is 1 to 63 characters of a-z, 0-9, '.', '_' and '-', and begins "
        "with a letter or digit.",
        "name"};
  }
  if (name == base_.name) {
    return Error{Code::kNameExists, "The name is the base model's.", "name"};
  }
  return {};
}

Result<Published> AdapterRegistry::publish(const PublishRequest& request, const Adapter& adapter) {
  if (auto checked = check_name(request.name); !checked) return checked.error();
  AdapterVersion version = describe(request, adapter, base_);  // hashing needs no lock

  MutexLock lock(change_mutex_);
  const auto before = snapshot();
  const auto existing = before->find(request.tenant, request.name);
  if (existing != nullptr) {
    const AdapterVersion* same = find_digest(*existing, version.digest);
    if (same != nullptr) {
      auto aliased = restore_default_alias(request.tenant, *existing, same->version);
      if (!aliased) return aliased.error();
      return Published{.version = *same, .created = false};
    }
  }
  const auto& adapters = before->adapters_of(request.tenant);
  if (auto fits = check_quota(request.quota, adapters, version); !fits) return fits.error();
  auto info = existing != nullptr ? Result<AdapterInfo>(*existing) : new_adapter(request);
  if (!info) return info.error();
  auto committed = commit(request, *std::move(info), version, *before);
  if (!committed) return committed.error();
  return Published{.version = std::move(version)};
}

// A name whose default alias went with a version means the next one that is published.
Result<void> AdapterRegistry::restore_default_alias(const TenantId& tenant, AdapterInfo info,
                                                    int version) {
  if (!info.aliases.emplace(kDefaultAlias, version).second) return {};
  Batch batch;
  batch.put(Family::kMeta, keys::alias(tenant.str(), info.name, kDefaultAlias),
            keys::big_endian(number_of(version)));
  if (auto written = store_.write(batch); !written) return written;
  RegistrySnapshot after = *snapshot();
  after.put(tenant, std::move(info));
  replace_snapshot(std::move(after));
  return {};
}

// A name that was deleted goes on counting: "bot@1" never becomes another version's name.
Result<AdapterInfo> AdapterRegistry::new_adapter(const PublishRequest& request) const {
  AdapterInfo info{
      .id = "adp_" + new_ulid(request.now), .name = request.name, .created_at = request.now};
  const auto retired =
      store_.get(Family::kMeta, keys::retired_adapter(request.tenant.str(), request.name));
  if (!retired) return retired.error();
  if (*retired) info.next_version = static_cast<int>(keys::number_at_end(**retired));
  return info;
}

Result<void> AdapterRegistry::commit(const PublishRequest& request, AdapterInfo info,
                                     AdapterVersion& version, const RegistrySnapshot& before) {
  version.version = info.next_version++;
  info.aliases[std::string(kDefaultAlias)] = version.version;
  info.versions[version.version] = version;

  const std::string& tenant = request.tenant.str();
  const std::uint32_t number = number_of(version.version);
  Batch batch;
  if (!before.has_package(version.package.content)) {
    put_package(batch, version.package, request.config, request.tensors);
  }
  batch.put(Family::kMeta, keys::adapter(tenant, info.name), adapter_record(info))
      .put(Family::kMeta, keys::version(tenant, info.name, number), version_record(version))
      .put(Family::kMeta, keys::alias(tenant, info.name, kDefaultAlias), keys::big_endian(number))
      .erase(Family::kMeta, keys::retired_adapter(tenant, info.name));
  if (auto written = store_.write(batch); !written) return written;

  RegistrySnapshot after = before;
  after.put(request.tenant, std::move(info));
  after.add_reference(version);
  replace_snapshot(std::move(after));
  return {};
}

Result<std::shared_ptr<const AdapterInfo>> AdapterRegistry::remove(const TenantId& tenant,
                                                                   std::string_view name) {
  MutexLock lock(change_mutex_);
  RegistrySnapshot after = *snapshot();
  const auto info = after.find(tenant, name);
  if (info == nullptr) return model_not_found(name);

  Batch batch;
  batch.erase(Family::kMeta, keys::adapter(tenant.str(), name))
      .put(Family::kMeta, keys::retired_adapter(tenant.str(), name),
           keys::big_endian(number_of(info->next_version)));
  for (const auto& [alias, number] : info->aliases) {
    batch.erase(Family::kMeta, keys::alias(tenant.str(), name, alias));
  }
  for (const auto& [number, version] : info->versions) {
    batch.erase(Family::kMeta, keys::version(tenant.str(), name, number_of(number)));
    if (after.drop_reference(version)) erase_package(batch, version.package);
  }
  if (auto written = store_.write(batch); !written) return written.error();
  after.erase(tenant, name);
  replace_snapshot(std::move(after));
  return info;
}

Result<AdapterVersion> AdapterRegistry::remove_version(const TenantId& tenant,
                                                       std::string_view name, int version,
                                                       Removal removal) {
  MutexLock lock(change_mutex_);
  RegistrySnapshot after = *snapshot();
  const auto existing = after.find(tenant, name);
  if (existing == nullptr || !existing->versions.contains(version)) {
    return model_not_found(std::string(name) + '@' + std::to_string(version));
  }
  AdapterInfo info = *existing;
  Batch batch;
  for (const auto& [alias, number] : existing->aliases) {
    if (number != version) continue;
    if (removal == Removal::kUnlessAliased) {
      return Error{
          Code::kConflict,
          "The alias `" + alias + "` points at this version; only a forced deletion takes both.",
          "version"};
    }
    batch.erase(Family::kMeta, keys::alias(tenant.str(), name, alias));
    info.aliases.erase(alias);
  }
  AdapterVersion removed = std::move(info.versions.extract(version).mapped());
  batch.erase(Family::kMeta, keys::version(tenant.str(), name, number_of(version)));
  if (after.drop_reference(removed)) erase_package(batch, removed.package);
  if (auto written = store_.write(batch); !written) return written.error();
  after.put(tenant, std::move(info));
  replace_snapshot(std::move(after));
  return removed;
}

std::vector<std::shared_ptr<const AdapterInfo>> AdapterRegistry::list(
    const TenantId& tenant) const {
  const auto now = snapshot();
  std::vector<std::shared_ptr<const AdapterInfo>> infos;
  for (const auto& [name, info] : now->adapters_of(tenant)) infos.push_back(info);
  return infos;
}

Result<std::shared_ptr<const AdapterInfo>> AdapterRegistry::get(const TenantId& tenant,
                                                                std::string_view name) const {
  auto info = snapshot()->find(tenant, name);
  if (info == nullptr) return model_not_found(name);
  return info;
}

Result<ResolvedAdapter> AdapterRegistry::resolve(const TenantId& tenant,
                                                 std::string_view model) const {
  const auto parsed = parse_model(model);
  if (!parsed) return model_not_found(model);
  const auto info = snapshot()->find(tenant, parsed->name);
  const AdapterVersion* version = info != nullptr ? find_version(*info, *parsed) : nullptr;
  if (version == nullptr) return model_not_found(model);
  std::string display_name = info->name + '@' + std::to_string(version->version);
  if (version->base != base_.digest) {
    return Error{Code::kVersionNotReady,
                 "The adapter version " + display_name + " was made for another base model.",
                 "model"};
  }
  return ResolvedAdapter{.digest = version->digest, .display_name = std::move(display_name)};
}

bool AdapterRegistry::has(const AdapterDigest& digest) const {
  return snapshot()->package_of(digest) != nullptr;
}

Result<AdapterFiles> AdapterRegistry::load(const AdapterDigest& digest) const {
  const auto now = snapshot();
  const PackageRef* package = now->package_of(digest);
  if (package == nullptr) {
    return Error{Code::kNotFound, "no adapter version has the digest " + to_hex(digest)};
  }
  return read_package(store_, *package);
}

AdapterRegistry::Usage AdapterRegistry::usage(const TenantId& tenant) const {
  const auto now = snapshot();
  const auto& adapters = now->adapters_of(tenant);
  return {.adapters = adapters.size(), .bytes = total_bytes(packages_of(adapters))};
}

}  // namespace tessera
