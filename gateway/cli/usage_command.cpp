// usage_command.cpp — `tessera usage`: what was consumed.
#include <algorithm>
#include <cstdio>
#include <ctime>
#include <iterator>
#include <span>
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
  std::vector<std::string> groups;  // empty: kUsualGroups
  std::string format = "jsonl";
};

// What rows may be told apart by: here, with the server, and in a table.
struct Group {
  std::string_view name;
  std::string_view field;
  std::string_view title;
};
constexpr Group kGroups[] = {{"tenant", "project_id", "TENANT"},
                             {"key", "api_key_id", "KEY"},
                             {"model", "model", "MODEL"},
                             {"tier", "service_tier", "TIER"}};
const Arguments kUsualGroups = {"tenant", "model"};

// In the table's order. Errors: kInvalidValue for a name that is none of them.
Result<std::vector<Group>> groups_of(const UsageOptions& options) {
  const Arguments& asked = options.groups.empty() ? kUsualGroups : options.groups;
  std::vector<Group> groups;
  for (const Group& group : kGroups) {
    if (std::ranges::find(asked, group.name) != asked.end()) groups.push_back(group);
  }
  for (const std::string& name : asked) {
    if (std::ranges::find(kGroups, name, &Group::name) != std::end(kGroups)) continue;
    return Error{Code::kInvalidValue, "--group is tenant, key, model or tier, not '" + name + "'."};
  }
  return groups;
}

std::int64_t first_second(const UsageOptions& options) {
  return std::time(nullptr) / 86'400 * 86'400 - (options.days - 1) * 86'400;
}

// OpenAI's largest pages.
std::string largest_page(const std::string& width) {
  return width == "1m" ? "1440" : width == "1h" ? "168" : "31";
}

// The operation's report; a page of it is as large as may be.
std::string target_of(std::string_view report, std::span<const Group> groups,
                      const UsageOptions& options, const Arguments& names) {
  std::string target = "/v1/organization/" + std::string(report) +
                       "?start_time=" + std::to_string(first_second(options)) +
                       "&bucket_width=" + options.width + "&limit=" + largest_page(options.width);
  for (const Group& group : groups) {
    // Embeddings have no tiers, costs call a model a line item.
    if (group.name == "tier" && report != "usage/completions") continue;
    const bool is_item = group.name == "model" && report == "costs";
    target += "&group_by[]=" + std::string(is_item ? "line_item" : group.field);
  }
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

// Completions, then embeddings, which have neither output nor tiers.
Result<Json> read_rows(const Remote& remote, std::span<const Group> groups,
                       const UsageOptions& options, const Arguments& names) {
  Json rows = Json::array();
  for (const std::string_view report : {"usage/completions", "usage/embeddings"}) {
    const auto read = read_pages(remote, target_of(report, groups, options, names), rows);
    if (!read) return read.error();
  }
  for (Json& row : rows) {
    for (const char* name : {"input_cached_tokens", "output_tokens"}) {
      if (!row.contains(name)) row[name] = 0;
    }
    if (!row.contains("service_tier")) row["service_tier"] = nullptr;
  }
  return Result<Json>(boost::system::in_place_value, std::move(rows));
}

// A table of when, of what, and of `numbers`, which stand under `titles`.
void print_rows(const Remote& remote, const Json& rows, std::span<const Group> groups,
                const Arguments& titles, const Arguments& numbers) {
  Arguments header = {"FROM"};
  for (const Group& group : groups) header.emplace_back(group.title);
  header.insert(header.end(), titles.begin(), titles.end());
  print_objects(remote, rows, header, [&](const Json& row) {
    Arguments cells = {time_text(row["start_time"])};
    for (const Group& group : groups) cells.push_back(cell_text(row[std::string(group.field)]));
    for (const std::string& number : numbers) cells.push_back(cell_text(row[number]));
    return cells;
  });
}

Result<void> show(const Remote& remote, const UsageOptions& options, const Arguments& names) {
  const auto groups = groups_of(options);
  if (!groups) return groups.error();
  const auto rows = read_rows(remote, *groups, options, names);
  if (!rows) return rows.error();
  print_rows(remote, *rows, *groups, {"REQUESTS", "INPUT", "CACHED", "OUTPUT"},
             {"num_model_requests", "input_tokens", "input_cached_tokens", "output_tokens"});
  return {};
}

// Exact, by its digits: a trillionth of a dollar is the ledger's unit.
std::string dollars_text(std::int64_t pico_usd) {
  const std::string digits = std::to_string(pico_usd % 1'000'000'000'000);
  std::string fraction = std::string(12 - digits.size(), '0') + digits;
  fraction.erase(std::max<std::size_t>(fraction.find_last_not_of('0') + 1, 2));
  return std::to_string(pico_usd / 1'000'000'000'000) + '.' + fraction;
}

Result<void> show_costs(const Remote& remote, const UsageOptions& options, const Arguments& names) {
  auto groups = groups_of(options);
  if (!groups) return groups.error();
  std::erase_if(*groups, [](const Group& group) { return group.name == "tier"; });
  Json rows = Json::array();
  const auto read = read_pages(remote, target_of("costs", *groups, options, names), rows);
  if (!read) return read.error();
  for (Json& row : rows) {
    row["model"] = row["line_item"];
    row["usd"] = dollars_text(row["amount"]["value_pico_usd"].get<std::int64_t>());
  }
  print_rows(remote, rows, *groups, {"USD"}, {"usd"});
  return {};
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
      .summary = "Tells what was consumed, and what it cost, by time, tenant, key, model or tier.",
      .actions = {{"show", "[TENANT]", "tokens of one tenant, or of all", 0, 1,
                   [&](const Remote& remote, const Arguments& names) {
                     return show(remote, options, names);
                   }},
                  {"costs", "[TENANT]", "the same in dollars", 0, 1,
                   [&](const Remote& remote, const Arguments& names) {
                     return show_costs(remote, options, names);
                   }},
                  {"export", "[TENANT]", "every record, to the standard output", 0, 1,
                   [&](const Remote& remote, const Arguments& names) {
                     return export_records(remote, options, names);
                   }}},
      .options = {
          integer_option("--days", "N", "up to now (default: 7)", {1, 366}, options.days),
          choice_option("--by", {"1m", "1h", "1d"},
                        "show, costs: how long a row's time is (default: 1d)", options.width),
          list_option("--group", "WHAT",
                      "show, costs: a row for each tenant, key, model or tier (default: "
                      "tenant and model); may be repeated",
                      options.groups),
          choice_option("--format", {"jsonl", "csv", "cloudevents"},
                        "export: the form of a record (default: jsonl)", options.format)}};
  return run_remote_command(command, arguments);
}

}  // namespace tessera
