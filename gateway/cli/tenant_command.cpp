// tenant_command.cpp — `tessera tenant`: the platform's tenants.
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

void print_tenants(const Remote& remote, const Json& tenants) {
  print_objects(remote, tenants, {"ID", "NAME", "SLUG", "STATUS", "CREATED"},
                [](const Json& tenant) {
                  return Arguments{cell_text(tenant["id"]), cell_text(tenant["name"]),
                                   cell_text(tenant["slug"]), cell_text(tenant["status"]),
                                   time_text(tenant["created_at"])};
                });
}

Result<void> print_answer(const Remote& remote, const Result<Json>& answer) {
  if (!answer) return answer.error();
  print_tenants(remote, *answer);
  return {};
}

}  // namespace

int tenant_command(std::span<const std::string> arguments) {
  std::string slug;
  bool all = false;
  const RemoteCommand command = {
      .name = "tenant",
      .summary = "Lists, makes and archives tenants.",
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
           {"archive", "TENANT", "refuse its keys from now on; its data stays", 1, 1,
            [](const Remote& remote, const Arguments& names) {
              return print_answer(remote,
                                  remote.post(project(names[0]) + "/archive", Json::object()));
            }}},
      .options = {
          text_option("--slug", "SLUG", "create: its part of URLs (default: from the name)", slug),
          switch_option("--all", "list: archived ones too", all)}};
  return run_remote_command(command, arguments);
}

}  // namespace tessera
