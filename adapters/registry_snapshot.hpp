// registry_snapshot.hpp — all adapters of all tenants at one moment.
//
// Values: a change copies the snapshot, alters the copy and publishes it. Adapters are shared
// between copies, so only the maps around them are made anew.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "adapters/package_chunks.hpp"
#include "adapters/registry_records.hpp"
#include "storage/digest.hpp"
#include "storage/ids.hpp"
#include "storage/store.hpp"

namespace tessera {

class RegistrySnapshot {
 public:
  using Adapters = std::map<std::string, std::shared_ptr<const AdapterInfo>, std::less<>>;

  // Null if the tenant has no such adapter.
  std::shared_ptr<const AdapterInfo> find(const TenantId& tenant, std::string_view name) const;
  const Adapters& adapters_of(const TenantId& tenant) const;

  // The bytes of a digest, from any version that has it; null if none has.
  const PackageRef* package_of(const AdapterDigest& digest) const;
  bool has_package(const ContentDigest& content) const { return num_references_.contains(content); }

  // Puts `info` in the place of its name.
  void put(const TenantId& tenant, AdapterInfo info);
  // Puts all adapters of a tenant at once.
  void put_all(const TenantId& tenant, std::map<std::string, AdapterInfo> infos);
  // The name must be there.
  void erase(const TenantId& tenant, std::string_view name);

  // Counts a version's reference to its package; drop() is true if that was the last one.
  void add_reference(const AdapterVersion& version);
  bool drop_reference(const AdapterVersion& version);

 private:
  std::unordered_map<TenantId, std::shared_ptr<const Adapters>> tenants_;
  // One entry for each version that has the digest.
  std::unordered_map<AdapterDigest, std::vector<PackageRef>, DigestHash> packages_;
  std::unordered_map<ContentDigest, int, DigestHash> num_references_;
};

// What the store holds. Errors: kCorrupt if records contradict each other or cannot be read; kIo.
Result<RegistrySnapshot> read_registry(const Store& store);

}  // namespace tessera
