// residency_api.cpp — hints about where a version's pages should be: preload, pin, unpin, evict.
//
// They are hints: a preload may be evicted before it is used, and an eviction leaves pages alone
// that a request is using. A pin lasts until it is taken back, the version is deleted or the server
// ends; what a tenant may pin is a share of the memory (adapters/host_cache.hpp).
#include <nlohmann/json.hpp>

#include "gateway/adapters/adapter_json.hpp"
#include "gateway/adapters/adapter_requests.hpp"
#include "gateway/api/api_json.hpp"
#include "gateway/handlers.hpp"

namespace tessera {
namespace {

using Version = std::shared_ptr<const AdapterVersion>;

Result<Version> find_ready(const Platform& platform, const Call& call) {
  auto version = find_version(platform, call);
  if (!version || (*version)->status == VersionStatus::kReady) return version;
  return Error{Code::kVersionNotReady, "The version is " +
                                           std::string(to_string((*version)->status)) +
                                           "; only one that is ready has pages."};
}

Reply resident_reply(const Platform& platform, const AdapterVersion& version, int status) {
  return json_reply(version_json(platform, version), status);
}

}  // namespace

Result<Reply> preload_adapter_version(Platform& platform, Call& call) {
  const auto version = find_ready(platform, call);
  if (!version) return version.error();
  platform.host_cache->prefetch((*version)->digest, call.caller.tenant.str());
  return resident_reply(platform, **version, 202);
}

Result<Reply> pin_adapter_version(Platform& platform, Call& call) {
  const auto version = find_ready(platform, call);
  if (!version) return version.error();
  const auto pinned = platform.host_cache->pin((*version)->digest, call.caller.tenant.str());
  if (!pinned) return pinned.error();
  return resident_reply(platform, **version, 202);
}

Result<Reply> unpin_adapter_version(Platform& platform, Call& call) {
  const auto version = find_version(platform, call);
  if (!version) return version.error();
  platform.host_cache->unpin((*version)->digest, call.caller.tenant.str());
  return resident_reply(platform, **version, 200);
}

// The digest may be another tenant's too, who then waits for a load: that is all it costs.
Result<Reply> evict_adapter_version(Platform& platform, Call& call) {
  const auto version = find_version(platform, call);
  if (!version) return version.error();
  platform.engine->evict_adapter((*version)->digest);
  platform.host_cache->evict((*version)->digest);
  return resident_reply(platform, **version, 200);
}

}  // namespace tessera
