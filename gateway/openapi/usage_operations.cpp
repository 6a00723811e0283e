// usage_operations.cpp — the shapes of usage, costs and audit logs, of /admin/v1/live and backups.
#include <algorithm>
#include <iterator>
#include <utility>

#include "gateway/config.hpp"
#include "gateway/openapi/operations.hpp"

namespace tessera::openapi {
namespace {

// There are no users.
Json constant_null() {
  return {{"type", "null"}};
}

Json page_of(std::string_view result) {
  const Json bucket = object({{"object", constant("bucket")},
                              {"start_time", unix_time()},
                              {"end_time", unix_time()},
                              {"results", array(ref(result))}});
  return object({{"object", constant("page")},
                 {"data", array(bucket)},
                 {"has_more", boolean()},
                 {"next_page", nullable(text())}});
}

void add_usage_schemas(Json& schemas) {
  const Members whose = {{"project_id", nullable(text())}, {"api_key_id", nullable(text())}};
  const Members user = {{"user_id", constant_null()}};
  schemas["CompletionsUsage"] =
      object(joined({{"object", constant("organization.usage.completions.result")},
                     {"input_tokens", integer()},
                     {"input_cached_tokens", integer()},
                     {"output_tokens", integer()},
                     {"num_model_requests", integer()},
                     {"model", nullable(text())},
                     {"batch", nullable(boolean())},
                     {"service_tier", nullable(words({"default", "flex", "priority"}))}},
                    joined(whose, user)));
  schemas["CompletionsUsagePage"] = page_of("CompletionsUsage");
  schemas["EmbeddingsUsage"] =
      object(joined({{"object", constant("organization.usage.embeddings.result")},
                     {"input_tokens", integer()},
                     {"num_model_requests", integer()},
                     {"model", nullable(text())}},
                    joined(whose, user)));
  schemas["EmbeddingsUsagePage"] = page_of("EmbeddingsUsage");
  const Json amount =
      object({{"value", number()}, {"value_pico_usd", integer()}, {"currency", constant("usd")}});
  schemas["Costs"] = object(joined({{"object", constant("organization.costs.result")},
                                    {"amount", amount},
                                    {"line_item", nullable(text())}},
                                   whose));
  schemas["CostsPage"] = page_of("Costs");
  // The details of a record are under its own type's name: what it is about, or why it failed.
  Json record = object({{"id", text()},
                        {"object", constant("organization.audit_log")},
                        {"type", text()},
                        {"effective_at", unix_time()},
                        optional("actor", any()),
                        optional("project", object({{"id", text()}}))});
  record["additionalProperties"] =
      either({object({{"id", text()}}), object({{"error_code", text()}})});
  schemas["AuditLog"] = record;
  schemas["AuditLogList"] = list_of("AuditLog");
}

// What the server is doing, and copies of what it keeps.
void add_server_schemas(Json& schemas) {
  const Json engine = object({{"running", integer()},
                              {"waiting", integer()},
                              {"waiting_for_adapter", integer()},
                              {"kv_blocks", integer()},
                              {"used_kv_blocks", integer()},
                              {"cached_kv_blocks", integer()},
                              {"steps", integer()},
                              {"prompt_tokens", integer()},
                              {"cached_tokens", integer()},
                              {"generated_tokens", integer()}});
  const Json residency = object({{"device_adapters", integer()},
                                 {"device_bytes", integer()},
                                 {"host_adapters", integer()},
                                 {"host_bytes", integer()},
                                 {"host_max_bytes", integer()},
                                 {"host_pinned_bytes", integer()},
                                 {"loading", integer()}});
  const Json tenant = object({{"project_id", text()},
                              {"name", text()},
                              {"requests", integer()},
                              {"input_tokens", integer()},
                              {"output_tokens", integer()},
                              {"output_tokens_per_second", number()}});
  schemas["Live"] = object({{"object", constant("live")},
                            {"time_ms", integer()},
                            {"started_at", unix_time()},
                            {"model", text()},
                            {"draining", boolean()},
                            {"connections", integer()},
                            {"engine", engine},
                            {"residency", residency},
                            {"window_seconds", integer()},
                            {"num_tenants", integer()},
                            {"tenants", array(tenant)}});
  const Members backup = {
      {"id", text()},   {"object", constant("backup")}, {"created_at", unix_time()},
      {"path", text()}, {"usage_head", text()},         {"audit_head", text()}};
  schemas["Backup"] = object(backup);
  schemas["BackupList"] = list_of("Backup");
}

}  // namespace

namespace {

// Of all reports: their time, what they are grouped by and cut down to.
std::vector<Parameter> report_parameters(std::initializer_list<std::string_view> groups,
                                         const std::vector<Parameter>& more) {
  constexpr std::int64_t kMaxTime = 253'402'300'799;
  std::vector<Parameter> parameters = {{"start_time", integer(0, kMaxTime), true},
                                       {"end_time", integer(0, kMaxTime)},
                                       {"bucket_width", words({"1m", "1h", "1d"})},
                                       {"group_by[]", array(words(groups))},
                                       {"project_ids[]", array(text())},
                                       {"api_key_ids[]", array(text())},
                                       {"limit", integer(1, 1440)},
                                       {"page", text()}};
  std::ranges::copy(more, std::back_inserter(parameters));
  return parameters;
}

std::vector<Parameter> embeddings_parameters() {
  return report_parameters({"project_id", "user_id", "api_key_id", "model"},
                           {{"models[]", array(text())}, {"user_ids[]", array(text())}});
}
std::vector<Parameter> costs_parameters() {
  return report_parameters({"project_id", "line_item", "api_key_id", "model"}, {});
}

}  // namespace

std::vector<Parameter> usage_parameters() {
  return report_parameters(
      {"project_id", "user_id", "api_key_id", "model", "batch", "service_tier"},
      {{"models[]", array(text())}, {"user_ids[]", array(text())}, {"batch", boolean()}});
}

void add_usage_export(std::string_view pattern, std::vector<Parameter> more,
                      std::vector<Operation>& operations) {
  constexpr std::int64_t kMaxTime = 253'402'300'799;
  std::vector<Parameter> query = {{"from", integer(0, kMaxTime)},
                                  {"to", integer(0, kMaxTime)},
                                  {"format", words({"jsonl", "csv", "cloudevents"})}};
  std::ranges::move(more, std::back_inserter(query));
  operations.push_back({.method = "GET",
                        .pattern = pattern,
                        .summary = "Every usage record, a line each.",
                        .answers = {{200, text(), "application/jsonl"},
                                    {200, text(), "text/csv"},
                                    {200, text(), "application/cloudevents+jsonl"}},
                        .query = std::move(query)});
}

namespace {

void add_operations(std::vector<Operation>& operations) {
  const auto add = [&](std::string_view method, std::string_view pattern, std::string_view summary,
                       Answer answer, std::vector<Parameter> query = {}) {
    operations.push_back({.method = method,
                          .pattern = pattern,
                          .summary = summary,
                          .answers = {std::move(answer)},
                          .query = std::move(query)});
  };
  add("GET", "/v1/organization/usage/completions", "What was used, in buckets of time.",
      {200, ref("CompletionsUsagePage")}, usage_parameters());
  add("GET", "/v1/organization/usage/embeddings", "What was embedded, in buckets of time.",
      {200, ref("EmbeddingsUsagePage")}, embeddings_parameters());
  add("GET", "/v1/organization/costs", "What it cost.", {200, ref("CostsPage")},
      costs_parameters());
  add("GET", "/v1/organization/audit_logs", "What was changed, and by whom.",
      {200, ref("AuditLogList")}, audit_parameters());
  add("GET", "/admin/v1/live", "What the server is doing right now.", {200, ref("Live")});
  add("GET", "/admin/v1/backups", "Lists backups.", {200, ref("BackupList")}, page_parameters());
  add("POST", "/admin/v1/backups", "Makes one.", {201, ref("Backup")});
  add("POST", "/admin/v1/backup", "The same.", {201, ref("Backup")});
  add("DELETE", "/admin/v1/backups/{backup}", "Deletes one.", {200, deleted("backup")});
}

}  // namespace

void describe_usage(Surface& surface) {
  add_usage_schemas(surface.schemas);
  add_server_schemas(surface.schemas);
  add_usage_export("/v1/organization/usage/export", {{"project_id", text()}}, surface.operations);
  add_operations(surface.operations);
}

}  // namespace tessera::openapi
