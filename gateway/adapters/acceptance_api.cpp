// /v1/adapters/{name}/acceptance: the checks that every later version has to pass (acceptance.hpp).
#include <nlohmann/json.hpp>

#include "gateway/adapters/acceptance.hpp"
#include "gateway/api/api_json.hpp"
#include "gateway/handlers.hpp"
#include "storage/json.hpp"

namespace tessera {
namespace {

using Json = nlohmann::ordered_json;

// The checks as they are kept, under their object's name; without any, an empty list.
Result<Reply> acceptance_reply(const std::string& adapter, const std::string& checks) {
  Json json;
  json["object"] = "adapter.acceptance";
  json["adapter"] = adapter;
  json["checks"] = Json::array();
  if (!checks.empty()) {
    auto kept = parse_json(checks, {.max_bytes = kMaxAcceptanceBytes});
    if (!kept) return Error{Code::kCorrupt, "the kept acceptance checks cannot be read"};
    json["checks"] = std::move((*kept)["checks"]);
  }
  return json_reply(json);
}

}  // namespace

Result<Reply> get_acceptance(Platform& platform, Call& call) {
  const auto info = platform.adapters->get(call.caller.tenant, call.arguments.at(0));
  if (!info) return info.error();
  const auto checks = platform.acceptance->get(call.caller.tenant, **info);
  if (!checks) return checks.error();
  return acceptance_reply((*info)->name, *checks);
}

Result<Reply> put_acceptance(Platform& platform, Call& call) {
  const auto info = platform.adapters->get(call.caller.tenant, call.arguments.at(0));
  if (!info) return info.error();
  const auto checks =
      parse_acceptance(call.request.body, platform.model, platform.clock.wall_now());
  if (!checks) return checks.error();
  const std::string text = checks->empty() ? "" : std::string(call.request.body);
  const auto kept = platform.acceptance->put(call.caller.tenant, **info, text);
  if (!kept) return kept.error();
  return acceptance_reply((*info)->name, text);
}

Result<Reply> delete_acceptance(Platform& platform, Call& call) {
  const auto info = platform.adapters->get(call.caller.tenant, call.arguments.at(0));
  if (!info) return info.error();
  const auto gone = platform.acceptance->put(call.caller.tenant, **info, "");
  if (!gone) return gone.error();
  return acceptance_reply((*info)->name, "");
}

}  // namespace tessera
