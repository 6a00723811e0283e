// registry.hpp — the adapters of every tenant: names, immutable versions, aliases, original bytes.
//
// A name belongs to one tenant and has versions 1, 2, 3 ...; a version is a digest and never
// changes; an alias ("prod") points at a version. Every change is one atomic batch in the store:
// after publish() has returned the version survives a crash, before it nothing of it is visible.
// Requests are resolved against an immutable snapshot in memory, so the request path neither reads
// the store nor waits for an upload.
//
// The uploaded bytes are kept as they came, in chunks keyed by the digest of the bytes. Equal bytes
// are kept once; they go with the last version that has them. (Not keyed by the adapter's digest:
// two files that mean the same may differ in what their makers wrote beside the tensors, and one
// tenant must not be handed another's.)
//
// Isolation: a name that is another tenant's and a name that does not exist are answered with the
// same text.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "adapters/adapter.hpp"
#include "adapters/base_model.hpp"
#include "adapters/package_chunks.hpp"
#include "adapters/registry_records.hpp"
#include "adapters/registry_snapshot.hpp"
#include "storage/clock.hpp"
#include "storage/digest.hpp"
#include "storage/ids.hpp"
#include "storage/mutex.hpp"
#include "storage/result.hpp"
#include "storage/store.hpp"

namespace tessera {

// What a tenant may keep; equal bytes count once.
struct AdapterQuota {
  std::uint64_t max_adapters = 0;  // names
  std::uint64_t max_bytes = 0;     // of uploaded files
};

struct PublishRequest {
  TenantId tenant;
  std::string name;
  std::string_view config;
  std::span<const std::byte> tensors;
  KeyId created_by;
  WallTime now;
  AdapterQuota quota;
};

struct Published {
  AdapterVersion version;
  bool created = true;  // false: the name already had a version with this digest
};

// Whether a version that an alias points at may be removed; the alias then goes with it.
enum class Removal : std::uint8_t { kUnlessAliased, kForced };

// What a request is pinned to when it is admitted.
struct ResolvedAdapter {
  AdapterDigest digest;
  std::string display_name;  // "support-bot@7"
};

// [a-z0-9][a-z0-9._-]{0,62}
bool is_valid_adapter_name(std::string_view name);

// The answer to a model that is not there, or not the caller's: always the same.
Error model_not_found(std::string_view model);

// Thread-safe. Changes are serialised; reads see one consistent snapshot.
class AdapterRegistry {
 public:
  // Reads what the store has. `store` outlives the registry. Errors: kIo, kCorrupt.
  static Result<std::unique_ptr<AdapterRegistry>> open(Store& store, BaseModel base);

  const BaseModel& base() const { return base_; }

  // Makes `adapter`, which validate_adapter() made of the request's files, the next version of its
  // name, and points the alias "prod" at it. If the name already has a version with the same digest
  // that version is returned, and nothing changes but that a missing "prod" points at it.
  // Errors: kInvalidValue (name), kNameExists (the base's name), kStorageQuotaExceeded, and those
  // of Store::write; nothing of it is visible then.
  Result<Published> publish(const PublishRequest& request, const Adapter& adapter);

  // In byte order of the names.
  std::vector<std::shared_ptr<const AdapterInfo>> list(const TenantId& tenant) const;
  // Errors: kModelNotFound.
  Result<std::shared_ptr<const AdapterInfo>> get(const TenantId& tenant,
                                                 std::string_view name) const;

  // Deletes a name with all of its versions, or one version. Numbers are never used again: if the
  // name returns, its versions count on. Requests whose adapter is in the engine's hands by then
  // finish; one that still waits for it to be loaded ends as if the model did not exist, because
  // the bytes are gone. Errors: kModelNotFound; kConflict if an alias points at the version and the
  // removal is not forced. What was removed is returned.
  Result<std::shared_ptr<const AdapterInfo>> remove(const TenantId& tenant, std::string_view name);
  Result<AdapterVersion> remove_version(const TenantId& tenant, std::string_view name, int version,
                                        Removal removal = Removal::kUnlessAliased);

  // `model` is "name" (its alias "prod"), "name@7" or "name:alias".
  // Errors: kModelNotFound; kVersionNotReady if the version was made for another base.
  Result<ResolvedAdapter> resolve(const TenantId& tenant, std::string_view model) const;

  // Whether any version, of whatever tenant, has this digest.
  bool has(const AdapterDigest& digest) const;

  // The files of a version, as uploaded, checked against their digest.
  // Errors: kNotFound if no version has this digest; kCorrupt if the bytes are not what they were.
  Result<AdapterFiles> load(const AdapterDigest& digest) const;

  struct Usage {
    std::uint64_t adapters = 0;
    std::uint64_t bytes = 0;
  };
  Usage usage(const TenantId& tenant) const;

 private:
  AdapterRegistry(Store& store, BaseModel base, RegistrySnapshot snapshot);

  std::shared_ptr<const RegistrySnapshot> snapshot() const TESSERA_EXCLUDES(snapshot_mutex_);
  void replace_snapshot(RegistrySnapshot next) TESSERA_EXCLUDES(snapshot_mutex_);
  Result<void> check_name(std::string_view name) const;
  Result<void> restore_default_alias(const TenantId& tenant, AdapterInfo info, int version)
      TESSERA_REQUIRES(change_mutex_);
  // Writes `version` as the next one of `info`, and makes both visible.
  Result<AdapterInfo> new_adapter(const PublishRequest& request) const;
  Result<void> commit(const PublishRequest& request, AdapterInfo info, AdapterVersion& version,
                      const RegistrySnapshot& before) TESSERA_REQUIRES(change_mutex_);

  Store& store_;
  const BaseModel base_;
  Mutex change_mutex_;  // held by the one change in progress, from reading to writing
  mutable Mutex snapshot_mutex_;
  std::shared_ptr<const RegistrySnapshot> snapshot_ TESSERA_GUARDED_BY(snapshot_mutex_);
};

}  // namespace tessera
