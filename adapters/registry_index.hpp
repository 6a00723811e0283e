// registry_index.hpp — all adapters of all tenants in memory, as the request path finds them.
//
// An adapter is an immutable value behind a shared pointer; a change puts another in its place. So
// whoever looked one up keeps what he saw, and a look-up costs a lock that is held for a moment.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "adapters/registry_records.hpp"
#include "storage/ids.hpp"
#include "storage/mutex.hpp"
#include "storage/result.hpp"
#include "storage/store.hpp"

namespace tessera {

// Thread-safe.
class RegistryIndex {
 public:
  using InfoPtr = std::shared_ptr<const AdapterInfo>;
  using Adapters = std::map<std::string, InfoPtr, std::less<>>;
  using Tenants = std::unordered_map<TenantId, Adapters>;

  explicit RegistryIndex(Tenants tenants) : tenants_(std::move(tenants)) {}

  // Null if the tenant has no such adapter.
  InfoPtr find(const TenantId& tenant, std::string_view name) const;
  // In byte order of the names.
  std::vector<InfoPtr> list(const TenantId& tenant) const;

  // Puts `info` in the place of its name.
  void put(const TenantId& tenant, InfoPtr info);
  void erase(const TenantId& tenant, std::string_view name);

 private:
  mutable Mutex mutex_;
  Tenants tenants_ TESSERA_GUARDED_BY(mutex_);
};

// What the store holds; `seen` is called for each version as it is read. Errors: kCorrupt if
// records contradict each other or cannot be read; kIo.
using VersionSeen = std::function<void(std::string_view tenant, const AdapterVersion& version)>;
Result<RegistryIndex::Tenants> read_registry_index(const Store& store, const VersionSeen& seen);

}  // namespace tessera
