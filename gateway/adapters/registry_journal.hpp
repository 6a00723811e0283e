// registry_journal.hpp — what the gateway keeps and tells of changes to adapters.
//
// Each change of the registry is written with its audit record, in one batch, so that neither is
// there without the other; then those who listen to events hear of it. Webhooks' events are queued
// in that batch too.
#pragma once

#include "adapters/registry_changes.hpp"
#include "gateway/adapters/adapter_events.hpp"
#include "gateway/webhooks/webhooks.hpp"
#include "tenancy/directory.hpp"

namespace tessera {

// Thread-safe; what it is made of outlives it. `webhooks` may be null.
class AuditedJournal final : public RegistryJournal {
 public:
  AuditedJournal(TenantDirectory& directory, AdapterEvents& events, Webhooks* webhooks = nullptr)
      : directory_(directory), events_(events), webhooks_(webhooks) {}

  Result<void> write(Batch batch, std::span<const RegistryChange> changes) override;
  void tell(std::span<const RegistryChange> changes) override { events_.publish(changes); }

 private:
  TenantDirectory& directory_;
  AdapterEvents& events_;
  Webhooks* const webhooks_;
};

}  // namespace tessera
