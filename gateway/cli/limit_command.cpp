// limit_command.cpp — `tessera limit`: how much a tenant may ask.
#include <charconv>

#include "gateway/cli/commands.hpp"
#include "gateway/cli/remote.hpp"

namespace tessera {
namespace {

using Json = nlohmann::ordered_json;
using Arguments = std::vector<std::string>;

std::string limits_of(const std::string& tenant) {
  return "/v1/organization/projects/" + percent_encoded(tenant) + "/rate_limits";
}

void print_limits(const Remote& remote, const Json& limits) {
  Json rows = Json::array();
  for (const auto& [name, value] : limits.items()) {
    if (value.is_number()) rows.push_back({{"name", name}, {"value", value}});
  }
  print_objects(remote, remote.json() ? limits : rows, {"LIMIT", "VALUE"}, [](const Json& row) {
    return Arguments{cell_text(row["name"]), cell_text(row["value"])};
  });
}

// "max_tokens_per_1_minute=100000" and so on.
Result<Json> parse_changes(const Arguments& names) {
  Json body = Json::object();
  for (const std::string& text : std::span(names).subspan(1)) {
    const std::size_t equals = text.find('=');
    std::int64_t value = 0;
    const char* const begin = text.data() + std::min(equals, text.size() - 1) + 1;
    const char* const end = text.data() + text.size();
    const auto parsed = std::from_chars(begin, end, value);
    if (equals == text.npos || parsed.ec != std::errc() || parsed.ptr != end) {
      return Error{Code::kInvalidValue, "'" + text + "' is not NAME=NUMBER."};
    }
    body[text.substr(0, equals)] = value;
  }
  return Result<Json>(boost::system::in_place_value, std::move(body));
}

}  // namespace

int limit_command(std::span<const std::string> arguments) {
  const RemoteCommand command = {
      .name = "limit",
      .summary = "Shows and changes a tenant's limits; a change is in force with the next request.",
      .actions = {{"show", "TENANT", "all of them", 1, 1,
                   [](const Remote& remote, const Arguments& names) -> Result<void> {
                     const auto listed = remote.get(limits_of(names[0]));
                     if (!listed) return listed.error();
                     print_limits(remote, (*listed)["data"][0]);
                     return {};
                   }},
                  {"set", "TENANT NAME=NUMBER...", "change some", 2, 32,
                   [](const Remote& remote, const Arguments& names) -> Result<void> {
                     const auto body = parse_changes(names);
                     if (!body) return body.error();
                     const auto changed = remote.post(limits_of(names[0]) + "/rl_all", *body);
                     if (!changed) return changed.error();
                     print_limits(remote, *changed);
                     return {};
                   }}},
      .notes = "Example: tessera limit set proj_01… max_requests_per_1_minute=1200\n"};
  return run_remote_command(command, arguments);
}

}  // namespace tessera
