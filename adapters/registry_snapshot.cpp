#include "adapters/registry_snapshot.hpp"

#include <algorithm>
#include <functional>
#include <utility>

#include "storage/keys.hpp"

namespace tessera {
namespace {

Error corrupt(std::string message) {
  return {Code::kCorrupt, std::move(message)};
}

// Cuts the part of `key` before its first NUL off, and the NUL.
std::string_view cut_name(std::string_view& key) {
  const auto end = key.find('\0');
  const std::string_view name = key.substr(0, end);
  key.remove_prefix(end == key.npos ? key.size() : end + 1);
  return name;
}

// Collects the three kinds of records while they are scanned.
class RegistryReader {
 public:
  Result<void> add_adapter(std::string_view key, std::string_view value) {
    auto info = parse_adapter_record(value);
    if (!info) return info.error();
    const TenantId tenant{std::string(cut_name(key))};
    info->name = key;
    tenants_[tenant][std::string(key)] = std::move(*info);
    return {};
  }

  Result<void> add_version(std::string_view key, std::string_view value) {
    auto version = parse_version_record(value);
    if (!version) return version.error();
    AdapterInfo* info = find(key);
    if (info == nullptr || key.size() != sizeof(std::uint32_t)) {
      return corrupt("an adapter version in the store belongs to no adapter");
    }
    version->adapter = info->name;
    version->version = static_cast<int>(keys::number_at_end(key));
    info->versions[version->version] = std::move(*version);
    return {};
  }

  Result<void> add_alias(std::string_view key, std::string_view value) {
    AdapterInfo* info = find(key);
    const bool is_number = value.size() == sizeof(std::uint32_t);
    const int number = is_number ? static_cast<int>(keys::number_at_end(value)) : 0;
    if (info == nullptr || !info->versions.contains(number)) {
      return corrupt("an adapter alias in the store points at no version");
    }
    info->aliases[std::string(key)] = number;
    return {};
  }

  RegistrySnapshot finish() {
    RegistrySnapshot snapshot;
    for (auto& [tenant, adapters] : tenants_) {
      for (auto& [name, info] : adapters) {
        for (const auto& [number, version] : info.versions) snapshot.add_reference(version);
      }
      snapshot.put_all(tenant, std::move(adapters));
    }
    return snapshot;
  }

 private:
  // The adapter that a key's first two names are about; leaves the rest of the key.
  AdapterInfo* find(std::string_view& key) {
    const TenantId tenant{std::string(cut_name(key))};
    const std::string name(cut_name(key));
    const auto adapters = tenants_.find(tenant);
    if (adapters == tenants_.end()) return nullptr;
    const auto info = adapters->second.find(name);
    return info == adapters->second.end() ? nullptr : &info->second;
  }

  std::unordered_map<TenantId, std::map<std::string, AdapterInfo>> tenants_;
};

}  // namespace

std::shared_ptr<const AdapterInfo> RegistrySnapshot::find(const TenantId& tenant,
                                                          std::string_view name) const {
  const Adapters& adapters = adapters_of(tenant);
  const auto found = adapters.find(name);
  return found == adapters.end() ? nullptr : found->second;
}

const RegistrySnapshot::Adapters& RegistrySnapshot::adapters_of(const TenantId& tenant) const {
  static const Adapters kNone;
  const auto found = tenants_.find(tenant);
  return found == tenants_.end() ? kNone : *found->second;
}

const PackageRef* RegistrySnapshot::package_of(const AdapterDigest& digest) const {
  const auto found = packages_.find(digest);
  return found == packages_.end() ? nullptr : &found->second.front();
}

void RegistrySnapshot::put(const TenantId& tenant, AdapterInfo info) {
  Adapters adapters = adapters_of(tenant);
  const std::string name = info.name;
  adapters[name] = std::make_shared<const AdapterInfo>(std::move(info));
  tenants_[tenant] = std::make_shared<const Adapters>(std::move(adapters));
}

void RegistrySnapshot::put_all(const TenantId& tenant, std::map<std::string, AdapterInfo> infos) {
  Adapters adapters;
  for (auto& [name, info] : infos) {
    adapters.emplace(name, std::make_shared<const AdapterInfo>(std::move(info)));
  }
  tenants_[tenant] = std::make_shared<const Adapters>(std::move(adapters));
}

void RegistrySnapshot::erase(const TenantId& tenant, std::string_view name) {
  Adapters adapters = adapters_of(tenant);
  adapters.erase(adapters.find(name));
  tenants_[tenant] = std::make_shared<const Adapters>(std::move(adapters));
}

void RegistrySnapshot::add_reference(const AdapterVersion& version) {
  packages_[version.digest].push_back(version.package);
  ++num_references_[version.package.content];
}

bool RegistrySnapshot::drop_reference(const AdapterVersion& version) {
  const ContentDigest& content = version.package.content;
  auto& packages = packages_[version.digest];
  packages.erase(std::ranges::find(packages, content, &PackageRef::content));
  if (packages.empty()) packages_.erase(version.digest);
  const auto count = num_references_.find(content);
  if (--count->second > 0) return false;
  num_references_.erase(count);
  return true;
}

Result<RegistrySnapshot> read_registry(const Store& store) {
  using Add = Result<void> (RegistryReader::*)(std::string_view, std::string_view);
  RegistryReader reader;
  const auto scan = [&](const std::string& prefix, Add add) -> Result<void> {
    Result<void> added;
    const auto visit = [&](std::string_view key, std::string_view value) {
      added = (reader.*add)(key.substr(prefix.size()), value);
      return added.has_value();
    };
    auto scanned = store.scan(Family::kMeta, prefix, {}, visit);
    return scanned ? added : scanned;
  };
  // In this order: a version needs its adapter, an alias its version.
  if (auto read = scan(keys::all_adapters(), &RegistryReader::add_adapter); !read) {
    return read.error();
  }
  if (auto read = scan(keys::all_versions(), &RegistryReader::add_version); !read) {
    return read.error();
  }
  if (auto read = scan(keys::all_aliases(), &RegistryReader::add_alias); !read) {
    return read.error();
  }
  return reader.finish();
}

}  // namespace tessera
