// usage_command.cpp — `tessera usage`: what was consumed.
#include <ctime>

#include "gateway/cli/commands.hpp"
#include "gateway/cli/remote.hpp"

namespace tessera {
namespace {

using Json = nlohmann::ordered_json;
using Arguments = std::vector<std::string>;

struct UsageOptions {
  std::int64_t days = 7;
  std::string width = "1d";
};

std::string target_of(const UsageOptions& options, const Arguments& names) {
  const std::int64_t start = std::time(nullptr) / 86'400 * 86'400 - (options.days - 1) * 86'400;
  std::string target = "/v1/organization/usage/completions?start_time=" + std::to_string(start) +
                       "&bucket_width=" + options.width + "&group_by[]=project_id&group_by[]=model";
  if (!names.empty()) target += "&project_ids[]=" + percent_encoded(names[0]);
  return target;
}

// One row for each group of each bucket.
Json flattened(const Json& page) {
  Json rows = Json::array();
  for (const Json& bucket : page["data"]) {
    for (Json row : bucket["results"]) {
      row["start_time"] = bucket["start_time"];
      rows.push_back(std::move(row));
    }
  }
  return rows;
}

}  // namespace

int usage_command(std::span<const std::string> arguments) {
  UsageOptions options;
  const RemoteCommand command = {
      .name = "usage",
      .summary = "Tells what was consumed, by time, tenant and model.",
      .actions = {{"show", "[TENANT]", "of one tenant, or of all", 0, 1,
                   [&](const Remote& remote, const Arguments& names) -> Result<void> {
                     const auto page = remote.get(target_of(options, names));
                     if (!page) return page.error();
                     print_objects(
                         remote, flattened(*page),
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
                   }}},
      .options = {integer_option("--days", "N", "up to now (default: 7)", {1, 366}, options.days),
                  choice_option("--by", {"1m", "1h", "1d"},
                                "how long a row's time is (default: 1d)", options.width)}};
  return run_remote_command(command, arguments);
}

}  // namespace tessera
