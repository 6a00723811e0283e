#include "gateway/adapters/registry_journal.hpp"

#include <string>
#include <utility>
#include <vector>

namespace tessera {
namespace {

// "support-bot", "support-bot@7" or "support-bot:canary".
std::string target_of(const RegistryChange& change) {
  if (change.version > 0) return change.adapter + '@' + std::to_string(change.version);
  if (!change.alias.empty()) return change.adapter + ':' + change.alias;
  return change.adapter;
}

}  // namespace

Result<void> AuditedJournal::write(Batch batch, std::span<const RegistryChange> changes) {
  std::vector<AuditRecord> records;
  for (const RegistryChange& change : changes) {
    records.push_back(new_audit_record(std::string(event_name(change.kind)), change.actor,
                                       change.tenant, target_of(change), change.time));
  }
  return directory_.write_audited(std::move(batch), records);
}

}  // namespace tessera
