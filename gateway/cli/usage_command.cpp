// usage_command.cpp — `tessera usage`: what was consumed.
#include <cstdio>
#include <ctime>
#include <string_view>

#include "gateway/cli/commands.hpp"
#include "gateway/cli/remote.hpp"

namespace tessera {
namespace {

using Json = nlohmann::ordered_json;
using Arguments = std::vector<std::string>;

struct UsageOptions {
  std::int64_t days = 7;
  std::string width = "1d";
  std::string format = "jsonl";
};

std::int64_t first_second(const UsageOptions& options) {
  return std::time(nullptr) / 86'400 * 86'400 - (options.days - 1) * 86'400;
}

// OpenAI's largest pages.
std::string largest_page(const std::string& width) {
  return width == "1m" ? "1440" : width == "1h" ? "168" : "31";
}

std::string target_of(std::string_view operation, const UsageOptions& options,
                      const Arguments& names) {
  std::string target = "/v1/organization/usage/" + std::string(operation) +
                       "?start_time=" + std::to_string(first_second(options)) +
                       "&bucket_width=" + options.width + "&limit=" + largest_page(options.width) +
                       "&group_by[]=project_id&group_by[]=model";
  if (!names.empty()) target += "&project_ids[]=" + percent_encoded(names[0]);
  return target;
}

// One row for each group of each bucket.
void flatten(const Json& page, Json& rows) {
  for (const Json& bucket : page["data"]) {
    for (Json row : bucket["results"]) {
      row["start_time"] = bucket["start_time"];
      rows.push_back(std::move(row));
    }
  }
}

// Of all pages.
Result<void> read_pages(const Remote& remote, const std::string& first, Json& rows) {
  for (std::string target = first;;) {
    const auto page = remote.get(target);
    if (!page) return page.error();
    flatten(*page, rows);
    if (!page->value("has_more", false)) return {};
    target = first + "&page=" + percent_encoded((*page)["next_page"].get<std::string>());
  }
}

// Completions, then embeddings, which have no output.
Result<Json> read_rows(const Remote& remote, const UsageOptions& options, const Arguments& names) {
  Json rows = Json::array();
  for (const std::string_view operation : {"completions", "embeddings"}) {
    const auto read = read_pages(remote, target_of(operation, options, names), rows);
    if (!read) return read.error();
  }
  for (Json& row : rows) {
    for (const char* name : {"input_cached_tokens", "output_tokens"}) {
      if (!row.contains(name)) row[name] = 0;
    }
  }
  return Result<Json>(boost::system::in_place_value, std::move(rows));
}

Result<void> export_records(const Remote& remote, const UsageOptions& options,
                            const Arguments& names) {
  std::string target =
      "/v1/organization/usage/export?from=" + std::to_string(first_second(options)) +
      "&format=" + options.format;
  if (!names.empty()) target += "&project_id=" + percent_encoded(names[0]);
  auto exported = remote.stream(target, [](std::string_view piece) -> Result<void> {
    if (std::fwrite(piece.data(), 1, piece.size(), stdout) == piece.size()) return {};
    return Error{Code::kIo, "cannot write to the standard output"};
  });
  if (exported && std::fflush(stdout) != 0) {
    return Error{Code::kIo, "cannot write to the standard output"};
  }
  return exported;
}

}  // namespace

int usage_command(std::span<const std::string> arguments) {
  UsageOptions options;
  const RemoteCommand command = {
      .name = "usage",
      .summary = "Tells what was consumed, by time, tenant and model.",
      .actions = {{"show", "[TENANT]", "of one tenant, or of all", 0, 1,
                   [&](const Remote& remote, const Arguments& names) -> Result<void> {
                     const auto rows = read_rows(remote, options, names);
                     if (!rows) return rows.error();
                     print_objects(
                         remote, *rows,
                         {"FROM", "TENANT", "MODEL", "REQUESTS", "INPUT", "CACHED", "OUTPUT"},
                         [](const Json& row) {
                           return Arguments{time_text(row["start_time"]),
                                            cell_text(row["project_id"]),
                                            cell_text(row["model"]),
                                            cell_text(row["num_model_requests"]),
                                            cell_text(row["input_tokens"]),
                                            cell_text(row["input_cached_tokens"]),
                                            cell_text(row["output_tokens"])};
                         });
                     return {};
                   }},
                  {"export", "[TENANT]", "every record, to the standard output", 0, 1,
                   [&](const Remote& remote, const Arguments& names) {
                     return export_records(remote, options, names);
                   }}},
      .options = {integer_option("--days", "N", "up to now (default: 7)", {1, 366}, options.days),
                  choice_option("--by", {"1m", "1h", "1d"},
                                "show: how long a row's time is (default: 1d)", options.width),
                  choice_option("--format", {"jsonl", "csv", "cloudevents"},
                                "export: the form of a record (default: jsonl)", options.format)}};
  return run_remote_command(command, arguments);
}

}  // namespace tessera
