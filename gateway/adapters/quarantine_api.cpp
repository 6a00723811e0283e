// quarantine_api.cpp — an admin takes a version of a tenant's adapter out of service, or puts it
// back. Requests that are under way finish; no later one gets it.
#include <nlohmann/json.hpp>

#include "gateway/adapters/adapter_json.hpp"
#include "gateway/adapters/adapter_requests.hpp"
#include "gateway/api/api_json.hpp"
#include "gateway/handlers.hpp"

namespace tessera {
namespace {

// Arguments: project, adapter, version.
Result<Reply> set_quarantined(Platform& platform, const Call& call, bool quarantined) {
  const TenantId tenant(call.arguments.at(0));
  if (platform.directory->snapshot()->find(tenant) == nullptr) {
    return Error{Code::kNotFound, "There is no such project."};
  }
  const auto number = version_argument(call.arguments.at(2));
  if (!number) return number.error();
  const ChangeRequest change{.tenant = tenant,
                             .name = call.arguments.at(1),
                             .actor = call.caller.key,
                             .now = platform.clock.wall_now()};
  const auto version = platform.adapters->set_quarantined(change, *number, quarantined);
  if (!version) return version.error();
  return json_reply(version_json(*version));
}

}  // namespace

Result<Reply> quarantine_adapter_version(Platform& platform, Call& call) {
  return set_quarantined(platform, call, true);
}

Result<Reply> release_adapter_version(Platform& platform, Call& call) {
  return set_quarantined(platform, call, false);
}

}  // namespace tessera
