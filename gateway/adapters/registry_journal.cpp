#include "gateway/adapters/registry_journal.hpp"

#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

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
  if (!webhooks_) return directory_.write_audited(std::move(batch), records);
  Webhooks::Queued queued;
  for (const RegistryChange& change : changes) {
    auto event = make_webhook_event({}, std::string(event_name(change.kind)), change.tenant,
                                    event_json(change), change.time);
    auto more = webhooks_->prepare(batch, event, change.time);
    std::move(more.begin(), more.end(), std::back_inserter(queued));
  }
  auto written = directory_.write_audited(std::move(batch), records);
  if (written) webhooks_->commit(queued);
  return written;
}

}  // namespace tessera
