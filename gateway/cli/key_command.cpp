// key_command.cpp — `tessera key`: API keys of tenants and of the platform's admins.
#include <cstdio>

#include "gateway/cli/commands.hpp"
#include "gateway/cli/remote.hpp"
#include "storage/json.hpp"

namespace tessera {
namespace {

using Json = nlohmann::ordered_json;
using Arguments = std::vector<std::string>;

struct KeyOptions {
  std::string name = "key";
  std::vector<std::string> scopes;
  std::vector<std::string> models;
  std::vector<std::string> addresses;
  std::string compat;
  std::int64_t days = 0;
  std::int64_t grace_seconds = 86'400;
};

// "admin" stands for the platform's own keys.
std::string keys_of(const std::string& tenant) {
  if (tenant == "admin") return "/v1/organization/admin_api_keys";
  return "/v1/organization/projects/" + percent_encoded(tenant) + "/api_keys";
}

std::string one_key(const Arguments& names) {
  return keys_of(names[0]) + "/" + percent_encoded(names[1]);
}

void print_keys(const Remote& remote, const Json& keys) {
  print_objects(remote, keys, {"ID", "NAME", "STATUS", "SCOPES", "LAST USED", "EXPIRES", "CREATED"},
                [](const Json& key) {
                  return Arguments{cell_text(key["id"]),
                                   cell_text(key["name"]),
                                   key["disabled_at"].is_null() ? "enabled" : "disabled",
                                   cell_text(key["scopes"]),
                                   time_text(key["last_used_at"]),
                                   time_text(key["expires_at"]),
                                   time_text(key["created_at"])};
                });
}

// A new value goes to stdout alone, so that it can be caught; what else is to be said, to stderr.
void print_value(const Remote& remote, const Json& made) {
  if (remote.json()) {
    std::printf("%s\n", to_text(made).c_str());
    return;
  }
  std::fprintf(stderr, "key %s, shown only this once:\n", cell_text(made["id"]).c_str());
  std::printf("%s\n", cell_text(made["value"]).c_str());
}

Result<void> print_answer(const Remote& remote, const Result<Json>& made) {
  if (!made) return made.error();
  print_value(remote, *made);
  return {};
}

// "any" alone takes a restriction away.
Json listed(const std::vector<std::string>& names) {
  if (names.size() == 1 && names.front() == "any") return Json::array();
  return names;
}

// What the options say of which models and from where.
void add_policy(const KeyOptions& options, Json& body) {
  if (!options.models.empty()) body["allowed_models"] = listed(options.models);
  if (!options.addresses.empty()) body["allowed_ips"] = listed(options.addresses);
  if (!options.compat.empty()) body["compat"] = options.compat;
}

Json new_key_body(const KeyOptions& options, bool is_admin) {
  Json body = {{"name", options.name}};
  if (!is_admin) add_policy(options, body);
  if (!options.scopes.empty() && !is_admin) body["scopes"] = options.scopes;
  if (options.days > 0) body["expires_in_seconds"] = options.days * 86'400;
  return body;
}

// A tenant's key belongs to a service account: to the one of that name, made if there is none.
Result<std::string> account_of(const Remote& remote, const std::string& accounts,
                               const std::string& name) {
  const auto listed = remote.list(accounts);
  if (!listed) return listed.error();
  for (const Json& account : *listed) {
    if (account["name"] == name) return account["id"].get<std::string>();
  }
  return std::string();
}

Result<void> create(const Remote& remote, const std::string& tenant, const KeyOptions& options) {
  if (tenant == "admin") {
    return print_answer(remote, remote.post(keys_of(tenant), new_key_body(options, true)));
  }
  const std::string accounts =
      "/v1/organization/projects/" + percent_encoded(tenant) + "/service_accounts";
  auto account = account_of(remote, accounts, options.name);
  if (!account) return account.error();
  if (account->empty()) {
    // A new account comes with a key of the usual scopes; it is the answer if no other was wanted.
    const auto made = remote.post(accounts, {{"name", options.name}});
    if (!made) return made.error();
    const bool usual = options.scopes.empty() && options.days == 0 && options.models.empty() &&
                       options.addresses.empty() && options.compat.empty();
    if (usual) {
      print_value(remote, (*made)["api_key"]);
      return {};
    }
    account = (*made)["id"].get<std::string>();
    const auto unwanted =
        remote.remove(keys_of(tenant) + "/" + (*made)["api_key"]["id"].get<std::string>());
    if (!unwanted) return unwanted.error();
  }
  return print_answer(
      remote, remote.post(accounts + "/" + *account + "/api_keys", new_key_body(options, false)));
}

Result<void> modify(const Remote& remote, const Arguments& names, const KeyOptions& options) {
  Json body = Json::object();
  add_policy(options, body);
  if (body.empty()) {
    return Error{Code::kInvalidValue, "Say what to change: --model, --ip or --compat."};
  }
  const auto changed = remote.post(one_key(names), body);
  if (!changed) return changed.error();
  print_objects(remote, remote.json() ? *changed : Json::array({*changed}),
                {"ID", "MODELS", "ADDRESSES", "COMPAT"}, [](const Json& key) {
                  const auto text = [](const Json& list) {
                    return list.empty() ? std::string("any") : cell_text(list);
                  };
                  return Arguments{cell_text(key["id"]), text(key["allowed_models"]),
                                   text(key["allowed_ips"]), cell_text(key["compat"])};
                });
  return {};
}

// Its answer is the key; the last word of the path says what became of it.
Result<void> switch_key(const Remote& remote, const Arguments& names, const char* verb) {
  const auto changed = remote.post(one_key(names) + "/" + verb, Json::object());
  if (!changed) return changed.error();
  if (remote.json()) {
    std::printf("%s\n", to_text(*changed).c_str());
  } else {
    std::printf("%sd %s\n", verb, names[1].c_str());
  }
  return {};
}

}  // namespace

int key_command(std::span<const std::string> arguments) {
  KeyOptions options;
  const RemoteCommand command = {
      .name = "key",
      .summary =
          "Lists, makes, rotates, disables and deletes API keys. TENANT is a tenant's id, or "
          "`admin` for\nthe platform's own.",
      .actions = {{"list", "TENANT", "its keys, without their secrets", 1, 1,
                   [](const Remote& remote, const Arguments& names) -> Result<void> {
                     const auto keys = remote.list(keys_of(names[0]));
                     if (!keys) return keys.error();
                     print_keys(remote, *keys);
                     return {};
                   }},
                  {"create", "TENANT", "make one and print it", 1, 1,
                   [&](const Remote& remote, const Arguments& names) {
                     return create(remote, names[0], options);
                   }},
                  {"rotate", "TENANT KEY", "give it another secret and print it", 2, 2,
                   [&](const Remote& remote, const Arguments& names) {
                     return print_answer(remote,
                                         remote.post(one_key(names) + "/rotate",
                                                     {{"grace_seconds", options.grace_seconds}}));
                   }},
                  {"set", "TENANT KEY", "change its models, addresses or strictness", 2, 2,
                   [&](const Remote& remote, const Arguments& names) {
                     return modify(remote, names, options);
                   }},
                  {"disable", "TENANT KEY", "refuse it until it is enabled", 2, 2,
                   [](const Remote& remote, const Arguments& names) {
                     return switch_key(remote, names, "disable");
                   }},
                  {"enable", "TENANT KEY", "accept it again", 2, 2,
                   [](const Remote& remote, const Arguments& names) {
                     return switch_key(remote, names, "enable");
                   }},
                  {"delete", "TENANT KEY", "refuse it from now on", 2, 2,
                   [](const Remote& remote, const Arguments& names) -> Result<void> {
                     const auto removed = remote.remove(one_key(names));
                     if (!removed) return removed.error();
                     std::printf("deleted %s\n", names[1].c_str());
                     return {};
                   }}},
      .options = {text_option("--name", "NAME",
                              "create: its name and service account (default: key)", options.name),
                  list_option("--scope", "SCOPE", "create: what it may do; may be repeated",
                              options.scopes),
                  list_option("--model", "MODEL",
                              "create, set: a model it may use (default: any); may be repeated",
                              options.models),
                  list_option("--ip", "RANGE",
                              "create, set: from where (default: any); may be repeated",
                              options.addresses),
                  choice_option("--compat", {"strict", "lenient"},
                                "create, set: what becomes of parameters that nobody knows: "
                                "refused (default), or left out and told",
                                options.compat),
                  integer_option("--days", "N", "create: how long it is valid (default: no end)",
                                 {1, 365}, options.days),
                  integer_option("--grace", "SECONDS",
                                 "rotate: how long the old secret stays valid (default: 86400)",
                                 {0, 2'592'000}, options.grace_seconds)},
      .notes =
          "Scopes: api.model.request api.adapter.read api.adapter.write api.adapter.download\n"
          "api.tenant.read api.tenant.write api.key.write\n"
          "Limits of a key: tessera limit set TENANT --key KEY NAME=NUMBER...\n"};
  return run_remote_command(command, arguments);
}

}  // namespace tessera
