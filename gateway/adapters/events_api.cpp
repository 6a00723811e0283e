// events_api.cpp — /v1/adapters/events and /v1/adapters/{name}/events: what happens, as it happens.
#include "gateway/handlers.hpp"

namespace tessera {
namespace {

constexpr std::size_t kMaxEventIdBytes = 64;

// Whether the key still opens what it opened when the stream began.
std::function<bool()> still_allowed(const Platform& platform, const Caller& caller) {
  return [&directory = *platform.directory, &clock = platform.clock, key = caller.key,
          tenant = caller.tenant] {
    const auto snapshot = directory.snapshot();
    const ApiKeyRecord* record = snapshot->find_key(key);
    if (record == nullptr || !record->scopes.contains(Scope::kAdapterRead)) return false;
    if (record->expires_at && *record->expires_at <= clock.wall_now()) return false;
    const TenantEntry* entry = snapshot->find(tenant);
    return entry != nullptr && !entry->tenant.archived_at;
  };
}

Result<Reply> listen(Platform& platform, Call& call, std::string adapter) {
  AdapterEvents::Request request{.tenant = call.caller.tenant,
                                 .adapter = std::move(adapter),
                                 .is_allowed = still_allowed(platform, call.caller)};
  const std::string_view last = header(call.request.headers, "last-event-id");
  if (last.size() > kMaxEventIdBytes) {
    return Error{Code::kInvalidValue, "Last-Event-ID is none of this server's.", "Last-Event-ID"};
  }
  if (!last.empty()) request.last_event = last;
  auto stream = platform.events.listen(std::move(request));
  if (!stream) return stream.error();
  return Reply(*std::move(stream));
}

}  // namespace

Result<Reply> stream_events(Platform& platform, Call& call) {
  return listen(platform, call, {});
}

Result<Reply> stream_adapter_events(Platform& platform, Call& call) {
  const auto info = platform.adapters->get(call.caller.tenant, call.arguments.at(0));
  if (!info) return info.error();
  return listen(platform, call, (*info)->name);
}

}  // namespace tessera
