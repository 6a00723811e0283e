// usage_export_api.cpp — /v1/organization/usage/export and /v1/tenant/usage/export.
#include <utility>

#include "gateway/admin/usage_export.hpp"
#include "gateway/api/api_json.hpp"
#include "gateway/handlers.hpp"

namespace tessera {
namespace {

constexpr std::int64_t kMaxUnixSeconds = 253'402'300'799;  // the end of the year 9999

Result<ExportQuery> read_query(const Call& call) {
  const auto from = integer_parameter(call.target, "from", 0, kMaxUnixSeconds);
  if (!from) return from.error();
  const auto to = integer_parameter(call.target, "to", 0, kMaxUnixSeconds);
  if (!to) return to.error();
  const auto format = export_format_from_string(call.target.parameter("format").value_or("jsonl"));
  if (!format) {
    return Error{Code::kInvalidValue, "'format' must be jsonl, csv or cloudevents.", "format"};
  }
  ExportQuery query{.format = *format};
  query.from = WallTime(std::chrono::seconds(from->value_or(0)));
  query.to =
      *to ? WallTime(std::chrono::seconds(**to)) : call.received_wall + std::chrono::seconds(1);
  query.source = "/v1/organization";
  return query;
}

Reply export_reply(const Platform& platform, ExportQuery query) {
  HttpResponse response;
  response.headers.emplace_back("Content-Type", media_type_of(query.format));
  response.headers.emplace_back("Cache-Control", "no-store");
  response.pieces = std::make_shared<UsageExport>(*platform.ledger, std::move(query));
  return Reply(std::move(response));
}

}  // namespace

Result<Reply> export_usage(Platform& platform, Call& call) {
  auto query = read_query(call);
  if (!query) return query.error();
  if (const auto project = call.target.parameter("project_id"))
    query->tenant = TenantId(std::string(*project));
  return export_reply(platform, *std::move(query));
}

Result<Reply> export_own_usage(Platform& platform, Call& call) {
  auto query = read_query(call);
  if (!query) return query.error();
  query->tenant = call.caller.tenant;
  query->source = "/v1/organization/projects/" + call.caller.tenant.str();
  return export_reply(platform, *std::move(query));
}

}  // namespace tessera
