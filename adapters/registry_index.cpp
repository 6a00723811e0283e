#include "adapters/registry_index.hpp"

#include <algorithm>
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
    auto& adapters = tenants_[tenant];
    adapters.insert_or_assign(adapters.end(), std::string(key), std::move(*info));
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
    const int number = version->version;
    info->versions.insert_or_assign(info->versions.end(), number,
                                    std::make_shared<const AdapterVersion>(std::move(*version)));
    return {};
  }

  Result<void> add_alias(std::string_view key, std::string_view value) {
    auto alias = parse_alias_record(value);
    if (!alias) return alias.error();
    AdapterInfo* info = find(key);
    const auto exists = [&](const AliasShare& share) {
      return info->find(share.version) != nullptr;
    };
    if (info == nullptr || !std::ranges::all_of(alias->target.shares, exists)) {
      return corrupt("an adapter alias in the store points at no version");
    }
    info->aliases.insert_or_assign(std::string(key), *std::move(alias));
    return {};
  }

  RegistryIndex::Tenants finish() {
    RegistryIndex::Tenants tenants;
    for (auto& [tenant, infos] : tenants_) {
      RegistryIndex::Adapters& adapters = tenants[tenant];
      for (auto& [name, info] : infos) {
        adapters.emplace_hint(adapters.end(), name,
                              std::make_shared<const AdapterInfo>(std::move(info)));
      }
    }
    return tenants;
  }

 private:
  // The adapter that a key's first two names are about; leaves the rest of the key. Keys come in
  // order, so it is often the one that was found last.
  AdapterInfo* find(std::string_view& key) {
    const std::string_view whole = key;
    const std::string_view tenant = cut_name(key);
    const std::string_view name = cut_name(key);
    const std::string_view both = whole.substr(0, whole.size() - key.size());
    if (both == last_names_) return last_found_;
    last_names_ = both;
    last_found_ = look_up(TenantId(std::string(tenant)), name);
    return last_found_;
  }

  AdapterInfo* look_up(const TenantId& tenant, std::string_view name) {
    const auto adapters = tenants_.find(tenant);
    if (adapters == tenants_.end()) return nullptr;
    const auto info = adapters->second.find(name);
    return info == adapters->second.end() ? nullptr : &info->second;
  }

  std::unordered_map<TenantId, std::map<std::string, AdapterInfo, std::less<>>> tenants_;
  std::string last_names_;
  AdapterInfo* last_found_ = nullptr;
};

}  // namespace

RegistryIndex::InfoPtr RegistryIndex::find(const TenantId& tenant, std::string_view name) const {
  MutexLock lock(mutex_);
  const auto adapters = tenants_.find(tenant);
  if (adapters == tenants_.end()) return nullptr;
  const auto found = adapters->second.find(name);
  return found == adapters->second.end() ? nullptr : found->second;
}

std::vector<RegistryIndex::InfoPtr> RegistryIndex::list(const TenantId& tenant) const {
  std::vector<InfoPtr> infos;
  MutexLock lock(mutex_);
  const auto adapters = tenants_.find(tenant);
  if (adapters == tenants_.end()) return infos;
  infos.reserve(adapters->second.size());
  for (const auto& [name, info] : adapters->second) infos.push_back(info);
  return infos;
}

void RegistryIndex::put(const TenantId& tenant, InfoPtr info) {
  InfoPtr before;  // goes after the lock
  MutexLock lock(mutex_);
  before = std::exchange(tenants_[tenant][info->name], info);
}

void RegistryIndex::erase(const TenantId& tenant, std::string_view name) {
  InfoPtr before;
  MutexLock lock(mutex_);
  Adapters& adapters = tenants_.at(tenant);
  const auto found = adapters.find(name);
  before = std::move(found->second);
  adapters.erase(found);
}

Result<RegistryIndex::Tenants> read_registry_index(const Store& store) {
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
