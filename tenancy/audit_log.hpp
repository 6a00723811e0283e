// audit_log.hpp — who changed what, when: one record for each change by an admin or a key holder,
// written in the same batch as the change itself, so that neither is there without the other.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "storage/clock.hpp"
#include "storage/ids.hpp"
#include "storage/store.hpp"

namespace tessera {

struct AuditRecord {
  std::string id = {};  // "audit_" + ULID
  WallTime time = {};
  std::string event = {};   // OpenAI's names: "project.created", "api_key.deleted", …
  KeyId actor = {};         // empty: the server itself
  TenantId tenant = {};     // that was acted upon; empty: the platform
  std::string target = {};  // the id of the object that was made, changed or removed
  // Of "login.failed", whose target is the network that it came from: the error's code.
  std::string reason = {};

  bool operator==(const AuditRecord&) const = default;
};

AuditRecord new_audit_record(std::string event, const KeyId& actor, const TenantId& tenant,
                             std::string target, WallTime now);

// Adds `record` and its link of the audit chain (tenancy/hash_chain.hpp) to a batch. The caller
// holds a lock that serialises audited changes. Errors: kCorrupt, those of Store.
Result<void> append_audit(const Store& store, Batch& batch, const AuditRecord& record);

// Visits the records with from <= time < to, oldest first, until `visit` returns false.
// Errors: kCorrupt, those of Store.
Result<void> scan_audit(const Store& store, WallTime from, WallTime to,
                        const std::function<bool(const AuditRecord&)>& visit);

// The record of that id, or nullopt if there is none. Errors: those of scan_audit.
Result<std::optional<AuditRecord>> find_audit(const Store& store, std::string_view id);

}  // namespace tessera
