// records.hpp — the records of tenancy as the store keeps them: one JSON object each.
//
// Times are microseconds since 1970, digests hex, sets of scopes their names. decode() is strict: a
// record that lacks a field or has it in another type is kCorrupt. Reading more fields than this
// program knows is allowed, so that an older program can open what a newer one wrote.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "storage/result.hpp"
#include "storage/store.hpp"
#include "tenancy/audit_log.hpp"
#include "tenancy/tenant.hpp"
#include "tenancy/usage_books.hpp"
#include "tenancy/usage_ledger.hpp"

namespace tessera {

std::string encode(const Tenant& tenant);
std::string encode(const TenantLimits& limits);
std::string encode(const MeterLimits& limits);
std::string encode(const TenantPolicy& policy);
std::string encode(const ServiceAccount& account);
std::string encode(const ApiKeyRecord& key);
std::string encode(const AuditRecord& record);
std::string encode(const UsageRecord& record);
std::string encode(const CountedTotals& totals);
std::string encode(const OrganizationAlerts& alerts);
std::string encode(const KeyCharge& charge);

// Both are instantiated for the types above. Errors: kCorrupt; scan_records also those of Store.
template <class Record>
Result<Record> decode(std::string_view text);

// Store::scan of records, each decoded: visits until `visit(key, record)` returns false.
template <class Record>
Result<void> scan_records(const Store& store, Family family, std::string_view prefix,
                          std::string_view start,
                          const std::function<bool(std::string_view, const Record&)>& visit);

}  // namespace tessera
