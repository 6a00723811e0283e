// limit_command.cpp — `tessera limit`: how much a tenant, one of its keys or models, may ask, and
// what it may spend.
#include <charconv>
#include <cstdio>

#include "gateway/cli/commands.hpp"
#include "gateway/cli/remote.hpp"

namespace tessera {
namespace {

using Json = nlohmann::ordered_json;
using Arguments = std::vector<std::string>;

struct LimitOptions {
  std::string key;  // whose limits are meant; at most one of these two
  std::string model;
};

constexpr std::size_t kMaxAddresses = 20;  // of an alert

// "organization" stands for all tenants together.
constexpr std::string_view kOrganization = "organization";

std::string place_of(const std::string& tenant, std::string_view what) {
  if (tenant == kOrganization) return "/v1/organization/" + std::string(what);
  return "/v1/organization/projects/" + percent_encoded(tenant) + "/" + std::string(what);
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

Result<Json> made(Json value) {
  return Result<Json>(boost::system::in_place_value, std::move(value));
}

// A number, or null for "none".
Result<Json> parse_value(std::string_view text, const std::string& whole) {
  if (text == "none") return made(nullptr);
  std::int64_t value = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool is_number =
      parsed.ec == std::errc() && parsed.ptr == text.data() + text.size() && !text.empty();
  if (is_number) return made(value);
  return Error{Code::kInvalidValue, "'" + whole + "' is not NAME=NUMBER or NAME=none."};
}

// "max_tokens_per_1_minute=100000" and so on.
Result<Json> parse_changes(const Arguments& names) {
  Json body = Json::object();
  for (const std::string& text : std::span(names).subspan(1)) {
    const std::size_t equals = text.find('=');
    if (equals == text.npos || equals == 0) {
      return Error{Code::kInvalidValue, "'" + text + "' is not NAME=NUMBER or NAME=none."};
    }
    auto value = parse_value(std::string_view(text).substr(equals + 1), text);
    if (!value) return value;
    body[text.substr(0, equals)] = *std::move(value);
  }
  return made(std::move(body));
}

Result<void> check_options(const std::string& tenant, const LimitOptions& options) {
  if (!options.key.empty() && !options.model.empty()) {
    return Error{Code::kInvalidValue, "Give --key or --model, not both."};
  }
  if (tenant == kOrganization && !(options.key.empty() && options.model.empty())) {
    return Error{Code::kInvalidValue, "The organization's limits are of all keys and models."};
  }
  return {};
}

// The limits of what the options name: a key's, a model's or the whole tenant's.
Result<Json> read_limits(const Remote& remote, const std::string& tenant,
                         const LimitOptions& options) {
  if (auto checked = check_options(tenant, options); !checked) return checked.error();
  if (!options.key.empty()) {
    auto key = remote.get(place_of(tenant, "api_keys/" + percent_encoded(options.key)));
    if (!key) return key;
    return made((*key)["limits"]);
  }
  const auto listed = remote.list(place_of(tenant, "rate_limits"));
  if (!listed) return listed;
  const std::string model = options.model.empty() ? "*" : options.model;
  for (const Json& limits : *listed) {
    if (limits["model"] == model) return made(limits);
  }
  return Error{Code::kNotFound, "The model has no limits of its own."};
}

Result<void> show(const Remote& remote, const std::string& tenant, const LimitOptions& options) {
  const auto limits = read_limits(remote, tenant, options);
  if (!limits) return limits.error();
  if (remote.json() || !options.key.empty() || !options.model.empty()) {
    print_limits(remote, *limits);
    return {};
  }
  const auto spend = remote.get(place_of(tenant, "spend_limit"));
  if (!spend) return spend.error();
  Json all = *limits;
  all["spend_cents_per_1_month"] = (*spend)["threshold_amount"];
  print_limits(remote, all);
  return {};
}

Result<void> set(const Remote& remote, const Arguments& names, const LimitOptions& options) {
  if (auto checked = check_options(names[0], options); !checked) return checked.error();
  const auto body = parse_changes(names);
  if (!body) return body.error();
  if (!options.key.empty()) {
    const std::string place = place_of(names[0], "api_keys/" + percent_encoded(options.key));
    const auto changed = remote.post(place, {{"limits", *body}});
    if (!changed) return changed.error();
    print_limits(remote, (*changed)["limits"]);
    return {};
  }
  const std::string id = options.model.empty() ? "rl_all" : "rl_" + options.model;
  const auto changed = remote.post(place_of(names[0], "rate_limits/" + percent_encoded(id)), *body);
  if (!changed) return changed.error();
  print_limits(remote, *changed);
  return {};
}

// In cents a month; "none" takes the limit away.
Result<void> set_spend(const Remote& remote, const Arguments& names) {
  const std::string place = place_of(names[0], "spend_limit");
  const auto cents = parse_value(names[1], names[1]);
  if (!cents) return Error{Code::kInvalidValue, "'" + names[1] + "' is not a number of cents."};
  const auto changed =
      cents->is_null() ? remote.remove(place) : remote.post(place, {{"threshold_amount", *cents}});
  if (!changed) return changed.error();
  if (remote.json()) {
    print_limits(remote, *changed);
  } else {
    std::printf("%s\n", cents->is_null() ? "no spend limit" : "set");
  }
  return {};
}

void print_alerts(const Remote& remote, const Json& alerts) {
  print_objects(remote, alerts, {"ALERT", "CENTS", "RECIPIENTS", "LAST TOLD"},
                [](const Json& alert) {
                  std::string recipients;
                  for (const Json& address : alert["notification_channel"]["recipients"]) {
                    recipients += (recipients.empty() ? "" : " ") + address.get<std::string>();
                  }
                  return Arguments{cell_text(alert["id"]), cell_text(alert["threshold_amount"]),
                                   recipients, time_text(alert["last_triggered_month"])};
                });
}

Result<void> show_alerts(const Remote& remote, const Arguments& names) {
  const auto alerts = remote.list(place_of(names[0], "spend_alerts"));
  if (!alerts) return alerts.error();
  print_alerts(remote, *alerts);
  return {};
}

// Recipients are whom a webhook's receiver is to write to; the server itself sends no mail.
Result<void> add_alert(const Remote& remote, const Arguments& names) {
  const auto cents = parse_value(names[1], names[1]);
  if (!cents || cents->is_null()) {
    return Error{Code::kInvalidValue, "'" + names[1] + "' is not a number of cents."};
  }
  const Arguments recipients(names.begin() + 2, names.end());
  const auto added =
      remote.post(place_of(names[0], "spend_alerts"),
                  {{"threshold_amount", *cents},
                   {"currency", "USD"},
                   {"interval", "month"},
                   {"notification_channel", {{"type", "email"}, {"recipients", recipients}}}});
  if (!added) return added.error();
  print_alerts(remote, remote.json() ? *added : Json::array({*added}));
  return {};
}

Result<void> remove_alert(const Remote& remote, const Arguments& names) {
  const auto removed =
      remote.remove(place_of(names[0], "spend_alerts/" + percent_encoded(names[1])));
  if (!removed) return removed.error();
  std::printf("deleted %s\n", names[1].c_str());
  return {};
}

}  // namespace

int limit_command(std::span<const std::string> arguments) {
  LimitOptions options;
  const RemoteCommand command = {
      .name = "limit",
      .summary =
          "Shows and changes limits of a tenant, of one of its keys or of one of its models; "
          "a change\nis in force with the next request. TENANT is a tenant's id, or "
          "`organization` for all of them\ntogether.",
      .actions = {{"show", "TENANT", "all of them", 1, 1,
                   [&](const Remote& remote, const Arguments& names) {
                     return show(remote, names[0], options);
                   }},
                  {"set", "TENANT NAME=NUMBER...", "change some; NAME=none takes one away", 2, 32,
                   [&](const Remote& remote, const Arguments& names) {
                     return set(remote, names, options);
                   }},
                  {"spend", "TENANT CENTS", "what it may spend a month; `none` for no limit", 2, 2,
                   [](const Remote& remote, const Arguments& names) {
                     return set_spend(remote, names);
                   }},
                  {"alerts", "TENANT", "at what it spends in a month somebody is told", 1, 1,
                   show_alerts},
                  {"alert", "TENANT CENTS [ADDRESS...]", "tell webhooks when it has spent so much",
                   2, 2 + kMaxAddresses, add_alert},
                  {"unalert", "TENANT ALERT", "take one away", 2, 2, remove_alert}},
      .options = {text_option("--key", "KEY", "show, set: of this key", options.key),
                  text_option("--model", "MODEL", "show, set: of this model", options.model)},
      .notes =
          "Names are those that `tessera limit show` prints: of requests and tokens, and of a\n"
          "tenant's adapters max_adapters, max_adapter_bytes, max_adapter_rank,\n"
          "max_concurrent_uploads, max_uploads_per_1_day, max_resident_adapters and\n"
          "max_resident_adapter_bytes (in memory at a time); max_queue is of its requests that "
          "wait.\n"
          "Example: tessera limit set proj_01… max_requests_per_1_minute=1200\n"};
  return run_remote_command(command, arguments);
}

}  // namespace tessera
