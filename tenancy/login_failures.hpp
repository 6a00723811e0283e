// login_failures.hpp — which failed logins of admins the audit log is told of.
//
// Whoever guesses keys may do so a thousand times a second from a thousand addresses, and each
// record is a synced write that stays. So a network is told once a minute, kMaxOfMinute of them and
// kMaxOfDay; all further ones of a minute are one record, of kOthers. That is less than a megabyte
// a day, and no minute with a failure in it is without a record.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "storage/clock.hpp"
#include "storage/mutex.hpp"

namespace tessera {

// Thread-safe. Minutes and days are counted by the steady clock.
class LoginFailures {
 public:
  static constexpr std::size_t kMaxOfMinute = 16;
  static constexpr int kMaxOfDay = 1440;
  static constexpr std::string_view kOthers = "others";

  // A login from `network` has failed. What the audit log is to be told: the network, or kOthers;
  // nullopt: it has been told.
  std::optional<std::string> note(const std::string& network, SteadyTime now);

 private:
  Mutex mutex_;
  std::optional<SteadyTime> minute_ TESSERA_GUARDED_BY(mutex_);         // its first failure
  std::set<std::string, std::less<>> told_ TESSERA_GUARDED_BY(mutex_);  // in this minute
  SteadyTime day_ TESSERA_GUARDED_BY(mutex_);
  int num_of_day_ TESSERA_GUARDED_BY(mutex_) = 0;  // but for kOthers
};

}  // namespace tessera
