// registry_journal.hpp — what the gateway keeps and tells of changes to adapters.
//
// Each change of the registry is written with its audit record, in one batch, so that neither is
// there without the other; then those who listen to events hear of it.
#pragma once

#include "adapters/registry_changes.hpp"
#include "gateway/adapters/adapter_events.hpp"
#include "tenancy/directory.hpp"

namespace tessera {

// Thread-safe; directory and events outlive it.
class AuditedJournal final : public RegistryJournal {
 public:
  AuditedJournal(TenantDirectory& directory, AdapterEvents& events)
      : directory_(directory), events_(events) {}

  Result<void> write(Batch batch, std::span<const RegistryChange> changes) override;
  void tell(std::span<const RegistryChange> changes) override { events_.publish(changes); }

 private:
  TenantDirectory& directory_;
  AdapterEvents& events_;
};

}  // namespace tessera
