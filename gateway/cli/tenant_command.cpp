// tenant_command.cpp — `tessera tenant`: the platform's tenants.
#include <charconv>
#include <string_view>

#include "gateway/cli/commands.hpp"
#include "gateway/cli/remote.hpp"

namespace tessera {
namespace {

using Json = nlohmann::ordered_json;
using Arguments = std::vector<std::string>;

constexpr const char* kProjects = "/v1/organization/projects";

std::string project(const std::string& id) {
  return std::string(kProjects) + "/" + percent_encoded(id);
}

// "team=red,region=eu"
std::string labels_text(const Json& labels) {
  std::string text;
  for (const auto& [name, value] : labels.items()) {
    text += (text.empty() ? "" : ",") + name + '=' + value.get<std::string>();
  }
  return text;
}

void print_tenants(const Remote& remote, const Json& tenants) {
  print_objects(remote, tenants,
                {"ID", "NAME", "SLUG", "STATUS", "WEIGHT", "TIER", "LABELS", "CREATED"},
                [](const Json& tenant) {
                  return Arguments{cell_text(tenant["id"]),       cell_text(tenant["name"]),
                                   cell_text(tenant["slug"]),     cell_text(tenant["status"]),
                                   cell_text(tenant["weight"]),   cell_text(tenant["tier"]),
                                   labels_text(tenant["labels"]), time_text(tenant["created_at"])};
                });
}

// One of "weight=5", "tier=flex", "label.team=red" and "label.team=", which takes the label away.
Result<void> add_setting(const std::string& text, Json& body) {
  constexpr std::string_view kLabel = "label.";
  const std::size_t equals = text.find('=');
  const std::string name = text.substr(0, equals);
  const std::string value = equals == text.npos ? "" : text.substr(equals + 1);
  if (name == "weight") {
    std::int64_t weight = 0;
    const char* const end = value.data() + value.size();
    const auto parsed = std::from_chars(value.data(), end, weight);
    if (parsed.ec != std::errc() || parsed.ptr != end) {
      return Error{Code::kInvalidValue, "'" + text + "' is not weight=NUMBER."};
    }
    body["weight"] = weight;
  } else if (name == "tier") {
    body["tier"] = value;
  } else if (name.starts_with(kLabel) && name.size() > kLabel.size()) {
    body["labels"][name.substr(kLabel.size())] = value.empty() ? Json(nullptr) : Json(value);
  } else {
    return Error{Code::kInvalidValue,
                 "'" + text + "' is not weight=NUMBER, tier=NAME or label.NAME=VALUE."};
  }
  return {};
}

Result<void> print_answer(const Remote& remote, const Result<Json>& answer) {
  if (!answer) return answer.error();
  print_tenants(remote, *answer);
  return {};
}

constexpr std::string_view kAny = "any";  // no restriction

// Prints what a part of the tenant's policy has become: a word for all, and the members of `list`.
Result<void> print_policy(const Remote& remote, const Result<Json>& part, const char* list) {
  if (!part) return part.error();
  Json rows = Json::array();
  for (const Json& member : part->value(list, Json::array())) {
    rows.push_back({{"mode", part->value("mode", "allow_list")}, {"member", member}});
  }
  if (rows.empty()) rows.push_back({{"mode", kAny}, {"member", nullptr}});
  print_objects(remote, remote.json() ? *part : rows, {"MODE", "WHAT"}, [](const Json& row) {
    return Arguments{cell_text(row["mode"]), cell_text(row["member"])};
  });
  return {};
}

// TENANT [any | allow MODEL... | deny MODEL...]
Result<void> permit_models(const Remote& remote, const Arguments& names) {
  const std::string place = project(names[0]) + "/model_permissions";
  if (names.size() == 1) return print_policy(remote, remote.get(place), "model_ids");
  Json mode = names[1] + "_list";
  if (names[1] == kAny && names.size() == 2) mode = "all";
  const bool has_models = (names[1] == "allow" || names[1] == "deny") && names.size() > 2;
  if (mode != "all" && !has_models) {
    return Error{Code::kInvalidValue, "Give any, allow MODEL... or deny MODEL..."};
  }
  const Arguments models(names.begin() + 2, names.end());
  return print_policy(remote, remote.post(place, {{"mode", mode}, {"model_ids", models}}),
                      "model_ids");
}

// TENANT [any | RANGE...]
Result<void> permit_addresses(const Remote& remote, const Arguments& names) {
  const std::string place = project(names[0]) + "/ip_allowlist";
  if (names.size() == 1) return print_policy(remote, remote.get(place), "allowed_ips");
  Arguments ranges(names.begin() + 1, names.end());
  if (ranges.size() == 1 && ranges.front() == kAny) ranges.clear();
  return print_policy(remote, remote.post(place, {{"allowed_ips", ranges}}), "allowed_ips");
}

}  // namespace

int tenant_command(std::span<const std::string> arguments) {
  std::string slug;
  bool all = false;
  const RemoteCommand command = {
      .name = "tenant",
      .summary = "Lists, makes, changes and archives tenants.",
      .actions =
          {{"list", "", "every tenant", 0, 0,
            [&](const Remote& remote, const Arguments&) {
              return print_answer(
                  remote, remote.list(std::string(kProjects) + (all ? "?include_archived=true"
                                                                    : "?include_archived=false")));
            }},
           {"create", "NAME", "make one; `tessera key create` then makes its first key", 1, 1,
            [&](const Remote& remote, const Arguments& names) {
              Json body = {{"name", names[0]}};
              if (!slug.empty()) body["slug"] = slug;
              return print_answer(remote, remote.post(kProjects, body));
            }},
           {"show", "TENANT", "one of them", 1, 1,
            [](const Remote& remote, const Arguments& names) {
              return print_answer(remote, remote.get(project(names[0])));
            }},
           {"rename", "TENANT NAME", "give it another name", 2, 2,
            [](const Remote& remote, const Arguments& names) {
              return print_answer(remote, remote.post(project(names[0]), {{"name", names[1]}}));
            }},
           {"set", "TENANT NAME=VALUE...", "change its weight, tier or labels", 2, 32,
            [](const Remote& remote, const Arguments& names) -> Result<void> {
              Json body = Json::object();
              for (const std::string& text : std::span(names).subspan(1)) {
                if (auto added = add_setting(text, body); !added) return added;
              }
              return print_answer(remote, remote.post(project(names[0]), body));
            }},
           {"models", "TENANT [any|allow|deny MODEL...]", "which models its keys may use", 1, 64,
            permit_models},
           {"addresses", "TENANT [any|RANGE...]", "from where its keys may be used", 1, 64,
            permit_addresses},
           {"archive", "TENANT", "refuse its keys from now on; its data stays", 1, 1,
            [](const Remote& remote, const Arguments& names) {
              return print_answer(remote,
                                  remote.post(project(names[0]) + "/archive", Json::object()));
            }}},
      .options = {text_option("--slug", "SLUG", "create: its part of URLs (default: from the name)",
                              slug),
                  switch_option("--all", "list: archived ones too", all)},
      .notes =
          "weight=1...100: its share of the engine beside tenants that wait too\n"
          "tier=default|flex|priority: of requests that name none\n"
          "label.NAME=VALUE: your own, without effect; label.NAME= takes it away\n"
          "Example: tessera tenant set proj_01… weight=5 label.team=red\n"};
  return run_remote_command(command, arguments);
}

}  // namespace tessera
