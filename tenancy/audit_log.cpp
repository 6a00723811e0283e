#include "tenancy/audit_log.hpp"

#include "storage/keys.hpp"
#include "tenancy/hash_chain.hpp"
#include "tenancy/records.hpp"

namespace tessera {

AuditRecord new_audit_record(std::string event, const KeyId& actor, const TenantId& tenant,
                             std::string target, WallTime now) {
  return {.id = "audit_" + new_ulid(now),
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

}  // namespace tessera
