#include "gateway/adapters/adapter_requests.hpp"

#include "gateway/api/preconditions.hpp"

namespace tessera {
namespace {

Error no_such_version() {
  return {Code::kNotFound, "There is no such version."};
}

}  // namespace

Result<int> version_argument(const std::string& text) {
  const auto number = parse_version_number(text);
  if (!number) return no_such_version();
  return *number;
}

Result<std::shared_ptr<const AdapterVersion>> find_version(const Platform& platform,
                                                           const Call& call) {
  const auto info = platform.adapters->get(call.caller.tenant, call.arguments.at(0));
  if (!info) return info.error();
  const auto number = version_argument(call.arguments.at(1));
  if (!number) return number.error();
  const auto version = (*info)->versions.find(*number);
  if (version == (*info)->versions.end()) return no_such_version();
  return version->second;
}

FileActor actor_of(const Call& call) {
  return {call.caller.tenant, call.caller.key};
}

Result<ChangeRequest> change_of(const Platform& platform, const Call& call) {
  auto precondition = precondition_of(call.request.headers);
  if (!precondition) return precondition.error();
  return ChangeRequest{.tenant = call.caller.tenant,
                       .name = call.arguments.at(0),
                       .actor = call.caller.key,
                       .now = platform.clock.wall_now(),
                       .precondition = *std::move(precondition)};
}

}  // namespace tessera
