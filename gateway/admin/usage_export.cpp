#include "gateway/admin/usage_export.hpp"

#include <ctime>
#include <utility>

#include <nlohmann/json.hpp>

#include "gateway/api/api_json.hpp"
#include "storage/json.hpp"

namespace tessera {
namespace {

using nlohmann::ordered_json;

constexpr std::string_view kEventType = "com.tessera.usage.recorded";

// Records that are passed over, of other tenants, before a page ends without one: the client hears
// something now and then, and the worker is free for others.
constexpr std::size_t kMaxPassedOver = 50'000;

std::string rfc3339(WallTime time) {
  const std::time_t seconds = unix_seconds(time);
  const auto micros = (time.time_since_epoch() % std::chrono::seconds(1)).count();
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  char text[64];
  std::snprintf(text, sizeof text, "%04d-%02d-%02dT%02d:%02d:%02d.%06dZ", parts.tm_year + 1900,
                parts.tm_mon + 1, parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec,
                static_cast<int>(micros));
  return text;
}

ordered_json record_json(const UsageRecord& record) {
  ordered_json json;
  json["request_id"] = record.request.str();
  json["project_id"] = record.tenant.str();
  json["api_key_id"] = record.key.str();
  json["model"] = record.model;
  json["adapter_sha256"] =
      record.adapter.empty() ? ordered_json(nullptr) : ordered_json(record.adapter);
  json["service_tier"] = record.service_tier.empty() ? "default" : record.service_tier;
  json["input_tokens"] = record.prompt_tokens;
  json["input_cached_tokens"] = record.cached_tokens;
  json["output_tokens"] = record.completion_tokens;
  json["cost_pico_usd"] = record.cost.pico_dollars;
  json["charged_as"] =  // by its Idempotency-Key
      record.charged_as.empty() ? ordered_json(nullptr) : ordered_json(record.charged_as.str());
  json["finish_reason"] = record.finish;
  json["operation"] = record.operation.empty() ? "completions" : record.operation;
  json["trace_id"] = record.trace.empty() ? ordered_json(nullptr) : ordered_json(record.trace);
  json["started_at"] = rfc3339(record.started);
  json["finished_at"] = rfc3339(record.finished);
  return json;
}

ordered_json event_json(const UsageRecord& record, const std::string& source) {
  ordered_json json;
  json["specversion"] = "1.0";
  json["id"] = record.request.str();
  json["source"] = source;
  json["type"] = kEventType;
  json["subject"] = record.tenant.str();
  json["time"] = rfc3339(record.finished);
  json["datacontenttype"] = "application/json";
  json["data"] = record_json(record);
  return json;
}

// A field of RFC 4180. What a spreadsheet would take for a formula begins with an apostrophe.
std::string csv_field(const ordered_json& value) {
  std::string text = value.is_string() ? value.get<std::string>() : to_text(value);
  if (value.is_null()) text.clear();
  const bool formula = value.is_string() && !text.empty() &&
                       std::string_view("=+-@\t\r").find(text[0]) != std::string_view::npos;
  if (formula) text.insert(text.begin(), '\'');
  if (text.find_first_of(",\"\r\n") == text.npos) return text;
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"') quoted += '"';
    quoted += c;
  }
  return quoted + '"';
}

// The names of a record's members, or its values.
std::string csv_line(const ordered_json& record, bool names) {
  std::string line;
  for (const auto& [name, value] : record.items()) {
    if (!line.empty()) line += ',';
    line += names ? name : csv_field(value);
  }
  return line + "\r\n";
}

}  // namespace

std::optional<ExportFormat> export_format_from_string(std::string_view name) {
  if (name == "jsonl") return ExportFormat::kJsonLines;
  if (name == "csv") return ExportFormat::kCsv;
  if (name == "cloudevents") return ExportFormat::kCloudEvents;
  return std::nullopt;
}

std::string_view media_type_of(ExportFormat format) {
  switch (format) {
    case ExportFormat::kJsonLines:
      return "application/jsonl";
    case ExportFormat::kCsv:
      return "text/csv; charset=utf-8; header=present";
    case ExportFormat::kCloudEvents:
      break;
  }
  return "application/cloudevents+jsonl";
}

UsageExport::UsageExport(const UsageLedger& ledger, ExportQuery query)
    : ledger_(ledger), query_(std::move(query)), last_time_(query_.from) {}

Result<std::string> UsageExport::next() {
  std::string out;
  if (!std::exchange(begun_, true) && query_.format == ExportFormat::kCsv) {
    out = csv_line(record_json({}), true);
  }
  while (!done_ && out.empty()) {
    std::size_t told = 0;
    std::size_t seen = 0;
    bool more = false;
    const auto scanned = ledger_.scan(last_time_, query_.to, [&](const UsageRecord& record) {
      // What lies at the very same instant comes in the order of its ids.
      if (record.finished == last_time_ && record.request.str() <= last_id_) return true;
      more = told == kUsageExportPage || seen == kMaxPassedOver;
      if (more) return false;
      ++seen;
      last_time_ = record.finished;
      last_id_ = record.request.str();
      if (query_.tenant && record.tenant != *query_.tenant) return true;
      ++told;
      append(record, out);
      return true;
    });
    if (!scanned) return scanned.error();
    done_ = !more;
  }
  return out;
}

void UsageExport::append(const UsageRecord& record, std::string& out) const {
  switch (query_.format) {
    case ExportFormat::kJsonLines:
      out += to_text(record_json(record)) + '\n';
      return;
    case ExportFormat::kCsv:
      out += csv_line(record_json(record), false);
      return;
    case ExportFormat::kCloudEvents:
      out += to_text(event_json(record, query_.source)) + '\n';
  }
}

}  // namespace tessera
