// adapter_events.hpp — what happens to a tenant's adapters, for those who listen.
//
// Each event has an id; the last ones of a tenant are remembered, so that a client that was cut off
// and says which it saw last (Last-Event-ID) misses none. If that one is not remembered any more,
// or is of an earlier run of the server, it is told so first and gets all that are: it should then
// read the adapters' state anew.
//
// A listener that does not take its events is ended when too many wait; so is each one after a
// while, so that a key that was withdrawn hears nothing more than that.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "adapters/registry_changes.hpp"
#include "gateway/http/event_stream.hpp"
#include "storage/clock.hpp"
#include "storage/ids.hpp"
#include "storage/mutex.hpp"
#include "storage/result.hpp"

namespace tessera {

inline constexpr std::size_t kRememberedEvents = 128;    // of a tenant
inline constexpr std::size_t kRememberedTenants = 4096;  // the one that was silent longest goes
inline constexpr std::size_t kMaxWaitingEvents = 512;    // of a listener
inline constexpr int kMaxListeners = 16;                 // of a tenant
inline constexpr std::chrono::minutes kMaxListening{15};

// A change as it is told.
nlohmann::ordered_json event_json(const RegistryChange& change);

// Thread-safe. Its streams may outlive it.
class AdapterEvents {
 public:
  AdapterEvents(const Clock& clock, WallTime started);

  // Never waits.
  void publish(std::span<const RegistryChange> changes);

  struct Request {
    TenantId tenant;
    std::string adapter = {};                    // empty: all of the tenant's
    std::optional<std::string> last_event = {};  // id that the client saw last
    // Whether the client may still hear it; asked before anything is told. May be empty.
    std::function<bool()> is_allowed = {};
  };
  // Errors: kRateLimitExceeded if the tenant has as many listeners as it may.
  Result<std::unique_ptr<EventStream>> listen(Request request);

  // Ends all streams; there will be no others.
  void close();

  int num_listeners(const TenantId& tenant) const;

 private:
  struct State;
  class Listener;

  std::shared_ptr<State> state_;
};

}  // namespace tessera
