// recent_requests.hpp — which requests have a usage record, told without asking the store.
//
// A request's id tells when it was made (storage/ids.hpp). Of those made after some moment, memory
// has all that were recorded; that moment moves on as the oldest are forgotten. Of the others only
// the store can tell.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <unordered_set>

#include "storage/clock.hpp"
#include "storage/ids.hpp"

namespace tessera {

// One thread at a time.
class RecentRequests {
 public:
  static constexpr std::size_t kRemembered = 8192;  // at least; twice as many at most

  // Nothing is remembered, and all that were recorded so far were made by `last`.
  void begin(WallTime last);
  void note_recorded(const RequestId& request);

  // nullopt: only the store can tell.
  std::optional<bool> is_recorded(const RequestId& request) const;

 private:
  struct Some {
    std::unordered_set<std::string> ids = {};
    WallTime newest = WallTime::min();
  };

  WallTime forgotten_ = WallTime::max();  // those made by then
  Some older_, newer_;
};

}  // namespace tessera
