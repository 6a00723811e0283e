#include "tenancy/audit_log.hpp"

#include "storage/keys.hpp"
#include "tenancy/hash_chain.hpp"
#include "tenancy/records.hpp"

namespace tessera {
namespace {

constexpr std::string_view kIdPrefix = "audit_";

}  // namespace

AuditRecord new_audit_record(std::string event, const KeyId& actor, const TenantId& tenant,
                             std::string target, WallTime now) {
  return {.id = std::string(kIdPrefix) + new_ulid(now),
          .time = now,
          .event = std::move(event),
          .actor = actor,
          .tenant = tenant,
          .target = std::move(target)};
}

Result<void> append_audit(const Store& store, Batch& batch, const AuditRecord& record) {
  return append_to_chain(store, Chain::kAudit, keys::audit_record(record.time, record.id),
                         encode(record), batch);
}

Result<void> scan_audit(const Store& store, WallTime from, WallTime to,
                        const std::function<bool(const AuditRecord&)>& visit) {
  return scan_records<AuditRecord>(store, Family::kAudit, "", keys::audit_records_from(from),
                                   [&](std::string_view, const AuditRecord& record) {
                                     return record.time < to && visit(record);
                                   });
}

Result<std::optional<AuditRecord>> find_audit(const Store& store, std::string_view id) {
  std::optional<AuditRecord> found;
  if (!id.starts_with(kIdPrefix)) return found;
  const auto time = ulid_time(id.substr(kIdPrefix.size()));
  if (!time) return found;
  const auto scanned = scan_audit(store, *time, *time + std::chrono::milliseconds(1),
                                  [&](const AuditRecord& record) {
                                    if (record.id == id) found = record;
                                    return !found;
                                  });
  if (!scanned) return scanned.error();
  return found;
}

}  // namespace tessera
