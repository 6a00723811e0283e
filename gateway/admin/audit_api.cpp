// audit_api.cpp — who changed what, when: everything, for admins; a tenant's own, for itself.
//
// Newest first, as OpenAI lists it. The records lie in order of time, so a page reads backwards in
// windows that double until it is full: what it costs depends on the page, not on the log.
#include <algorithm>
#include <charconv>
#include <set>
#include <utility>

#include <nlohmann/json.hpp>

#include "gateway/api/api_json.hpp"
#include "gateway/handlers.hpp"
#include "tenancy/audit_log.hpp"

namespace tessera {
namespace {

using nlohmann::ordered_json;
using std::chrono::seconds;

constexpr std::int64_t kMaxUnixSeconds = 253'402'300'799;  // the end of the year 9999
constexpr std::size_t kMaxFilterValues = 100;

struct AuditQuery {
  WallTime from{};
  WallTime to{seconds(kMaxUnixSeconds)};
  std::set<std::string, std::less<>> events = {};  // these four: empty for any
  std::set<std::string, std::less<>> tenants = {};
  std::set<std::string, std::less<>> actors = {};
  std::set<std::string, std::less<>> targets = {};
  std::string after = {};  // the id of the last record of the page before
  std::size_t limit = 0;
};

Error invalid(std::string_view name, const std::string& expected) {
  return {Code::kInvalidValue, "'" + std::string(name) + "' must be " + expected + ".",
          std::string(name)};
}

// effective_at[gt], [gte], [lt] and [lte], in whole seconds.
Result<void> read_bound(std::string_view name, std::string_view value, AuditQuery& query) {
  std::int64_t unix_time = 0;
  const auto parsed = std::from_chars(value.data(), value.data() + value.size(), unix_time);
  if (parsed.ec != std::errc() || parsed.ptr != value.data() + value.size() || unix_time < 0 ||
      unix_time > kMaxUnixSeconds) {
    return invalid(name, "a Unix time in seconds");
  }
  const WallTime time{seconds(unix_time)};
  if (name == "effective_at[gt]") query.from = time + seconds(1);
  if (name == "effective_at[gte]") query.from = time;
  if (name == "effective_at[lt]") query.to = time;
  if (name == "effective_at[lte]") query.to = time + seconds(1);
  return {};
}

Result<AuditQuery> read_query(const Target& target) {
  AuditQuery query;
  const auto limit = integer_parameter(target, "limit", 1, kMaxPageSize);
  if (!limit) return limit.error();
  query.limit = static_cast<std::size_t>(limit->value_or(kDefaultPageSize));
  for (const auto& [full_name, value] : target.query) {
    std::string_view name = full_name;
    if (name.starts_with("effective_at[")) {
      if (auto read = read_bound(name, value, query); !read) return read.error();
    }
    if (name.ends_with("[]")) name.remove_suffix(2);
    if (name == "event_types") query.events.insert(value);
    if (name == "project_ids") query.tenants.insert(value);
    if (name == "actor_ids") query.actors.insert(value);
    if (name == "resource_ids") query.targets.insert(value);
    if (name == "after") query.after = value;
    if (name == "before") return invalid(name, "absent: pages go from new to old by 'after'");
  }
  if (target.query.size() > kMaxFilterValues) return invalid("event_types", "fewer");
  return query;
}

bool asks_for(const AuditQuery& query, const AuditRecord& record) {
  const auto is_one = [](const auto& wanted, const std::string& value) {
    return wanted.empty() || wanted.contains(value);
  };
  return is_one(query.events, record.event) && is_one(query.tenants, record.tenant.str()) &&
         is_one(query.actors, record.actor.str()) && is_one(query.targets, record.target);
}

// The records of [from, to) that are asked for, newest first, put behind `found`.
Result<void> read_window(const Store& store, const AuditQuery& query, WallTime from, WallTime to,
                         std::vector<AuditRecord>& found) {
  const auto begin = static_cast<std::ptrdiff_t>(found.size());
  auto scanned = scan_audit(store, from, to, [&](const AuditRecord& record) {
    if (asks_for(query, record)) found.push_back(record);
    return true;
  });
  std::reverse(found.begin() + begin, found.end());
  return scanned;
}

// One record more than the page has room for, if there are so many.
Result<std::vector<AuditRecord>> read_page(const Store& store, const AuditQuery& query,
                                           WallTime now) {
  std::vector<AuditRecord> found;
  const auto enough = [&] { return found.size() > query.limit; };
  WallTime to = std::min(query.to, now + std::chrono::hours(24));  // clocks may have been set back
  if (!query.after.empty()) {
    const auto last = find_audit(store, query.after);
    if (!last) return last.error();
    // Another tenant's is told like none.
    const bool is_seen =
        *last && (query.tenants.empty() || query.tenants.contains((*last)->tenant.str()));
    if (!is_seen) return invalid("after", "the id of an audit record");
    to = std::min(to, (*last)->time);
    // Those of the very same instant come in the order of their ids.
    if (auto read = read_window(store, query, (*last)->time,
                                (*last)->time + std::chrono::microseconds(1), found);
        !read) {
      return read.error();
    }
    std::erase_if(found, [&](const AuditRecord& record) { return record.id >= query.after; });
  }
  for (auto width = std::chrono::hours(1); to > query.from && !enough(); width *= 2) {
    const WallTime from = to - query.from > width ? to - width : query.from;
    if (auto read = read_window(store, query, from, to, found); !read) return read.error();
    to = from;
  }
  return found;
}

ordered_json record_json(const AuditRecord& record) {
  ordered_json json;
  json["id"] = record.id;
  json["object"] = "organization.audit_log";
  json["type"] = record.event;
  json["effective_at"] = unix_seconds(record.time);
  constexpr std::string_view kOidc = "oidc:";
  if (record.actor.str().starts_with(kOidc)) {
    json["actor"]["type"] = "session";
    json["actor"]["session"]["user"]["id"] = record.actor.str().substr(kOidc.size());
  } else if (!record.actor.empty()) {
    json["actor"] = {{"type", "api_key"},
                     {"api_key", {{"id", record.actor.str()}, {"type", "service_account"}}}};
  }
  if (!record.tenant.empty()) json["project"]["id"] = record.tenant.str();
  if (record.event == "login.failed") {
    json["actor"] = {{"type", "session"}, {"session", {{"ip_address", record.target}}}};
    json[record.event]["error_code"] = record.reason;
    return json;
  }
  json[record.event]["id"] = record.target;
  return json;
}

Result<Reply> list_records(Platform& platform, const Call& call, const AuditQuery& query) {
  auto records = read_page(*platform.store, query, call.received_wall);
  if (!records) return records.error();
  const bool has_more = records->size() > query.limit;
  if (has_more) records->resize(query.limit);
  ordered_json body;
  body["object"] = "list";
  body["data"] = ordered_json::array();
  for (const AuditRecord& record : *records) body["data"].push_back(record_json(record));
  const auto id_or_null = [&](bool there, const auto& at) {
    return there ? ordered_json(at().id) : ordered_json(nullptr);
  };
  const bool any = !records->empty();
  body["first_id"] = id_or_null(any, [&]() -> const AuditRecord& { return records->front(); });
  body["last_id"] = id_or_null(any, [&]() -> const AuditRecord& { return records->back(); });
  body["has_more"] = has_more;
  return json_reply(body);
}

}  // namespace

Result<Reply> list_audit_logs(Platform& platform, Call& call) {
  const auto query = read_query(call.target);
  if (!query) return query.error();
  return list_records(platform, call, *query);
}

Result<Reply> list_own_audit_logs(Platform& platform, Call& call) {
  auto query = read_query(call.target);
  if (!query) return query.error();
  query->tenants = {call.caller.tenant.str()};
  return list_records(platform, call, *query);
}

}  // namespace tessera
