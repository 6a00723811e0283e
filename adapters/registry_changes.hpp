// registry_changes.hpp — [seam] what happens to adapters, told to the log and to those who watch.
//
// The audit log is the tenancy's and streams of events are the gateway's, both out of this folder's
// sight. The registry hands each batch to its journal, which adds what it keeps of the change and
// writes it, so that neither is there without the other; once the change is visible it says so.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "adapters/registry_records.hpp"
#include "storage/clock.hpp"
#include "storage/ids.hpp"
#include "storage/result.hpp"
#include "storage/store.hpp"

namespace tessera {

struct RegistryChange {
  enum class Kind : std::uint8_t {
    kAdapterCreated,
    kAdapterUpdated,  // its labels
    kAdapterDeleted,
    kVersionCreated,  // in the status that the change names
    kVersionUpdated,  // its status is another
    kVersionDeleted,
    kAliasUpdated,  // made or moved
    kAliasDeleted,
  };

  Kind kind = Kind::kAdapterCreated;
  TenantId tenant = {};
  std::string adapter = {};
  int version = 0;                               // of the three about versions
  VersionStatus status = VersionStatus::kReady;  // of the first two about versions
  std::string alias = {};                        // of the two about aliases
  AliasTarget target = {};                       // of kAliasUpdated
  KeyId actor = {};                              // empty: the server itself
  WallTime time = {};
};

// "adapter.version.created", as the audit log and the streams of events call it.
std::string_view event_name(RegistryChange::Kind kind);

// Called under the registry's lock, one change at a time: must not call the registry.
class RegistryJournal {
 public:
  virtual ~RegistryJournal() = default;

  // Writes `batch`, synced, with whatever is kept of `changes`, which are what it does.
  // Errors: those of Store::write; nothing has happened then.
  virtual Result<void> write(Batch batch, std::span<const RegistryChange> changes) = 0;
  // They are visible now. Must not wait.
  virtual void tell(std::span<const RegistryChange> changes) = 0;
};

}  // namespace tessera
