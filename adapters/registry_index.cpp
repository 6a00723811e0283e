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

// Collects the three kinds of records while they are scanned. Each kind comes in the order of its
// adapters' names, so the adapters stand in a row and are gone along once for each kind.
class RegistryReader {
 public:
  explicit RegistryReader(const VersionSeen& seen) : seen_(seen) {}

  Result<void> add_adapter(std::string_view key, std::string_view value) {
    auto info = parse_adapter_record(value);
    if (!info) return info.error();
    const std::string_view names = key;
    const std::string_view tenant = cut_name(key);
    if (read_.empty() || read_.back().tenant() != tenant) {
      tenants_.try_emplace(TenantId(std::string(tenant)));
    }
    info->name = key;
    read_.push_back({.names = std::string(names) + '\0',
                     .info = std::make_shared<AdapterInfo>(*std::move(info))});
    return {};
  }

  Result<void> add_version(std::string_view key, std::string_view value) {
    auto parsed = parse_version_record(value);
    if (!parsed) return parsed.error();
    const std::string_view whole = key;
    AdapterInfo* info = find(key);
    if (info == nullptr || key.size() != sizeof(std::uint32_t)) {
      return corrupt("an adapter version in the store belongs to no adapter");
    }
    const int number = static_cast<int>(keys::number_at_end(key));
    parsed->adapter = info->name;
    parsed->version = number;
    const auto version = std::make_shared<const AdapterVersion>(*std::move(parsed));
    info->versions.insert_or_assign(info->versions.end(), number, version);
    seen_(whole.substr(0, whole.find('\0')), *version);
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
    info->aliases.insert_or_assign(info->aliases.end(), std::string(key), *std::move(alias));
    return {};
  }

  void rewind() { at_ = 0; }

  RegistryIndex::Tenants finish() {
    RegistryIndex::Adapters* adapters = nullptr;
    std::string_view last_tenant;
    for (Read& read : read_) {
      if (adapters == nullptr || read.tenant() != last_tenant) {
        last_tenant = read.tenant();
        adapters = &tenants_.at(TenantId(std::string(last_tenant)));
      }
      adapters->emplace_hint(adapters->end(), read.info->name, std::move(read.info));
    }
    return std::move(tenants_);
  }

 private:
  struct Read {
    std::string names;  // of tenant and adapter, with a NUL behind each
    std::shared_ptr<AdapterInfo> info;

    std::string_view tenant() const { return std::string_view(names).substr(0, names.find('\0')); }
  };

  // The adapter that a key's first two names are about; leaves the rest of the key.
  AdapterInfo* find(std::string_view& key) {
    const std::string_view whole = key;
    cut_name(key);
    cut_name(key);
    const std::string_view names = whole.substr(0, whole.size() - key.size());
    while (at_ < read_.size() && read_[at_].names < names) ++at_;
    return at_ < read_.size() && read_[at_].names == names ? read_[at_].info.get() : nullptr;
  }

  const VersionSeen& seen_;
  std::vector<Read> read_;
  std::size_t at_ = 0;  // where the last one was found
  RegistryIndex::Tenants tenants_;
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

Result<RegistryIndex::Tenants> read_registry_index(const Store& store, const VersionSeen& seen) {
  using Add = Result<void> (RegistryReader::*)(std::string_view, std::string_view);
  RegistryReader reader(seen);
  const auto scan = [&](const std::string& prefix, Add add) -> Result<void> {
    Result<void> added;
    reader.rewind();
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
