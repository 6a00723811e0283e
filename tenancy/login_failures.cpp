#include "tenancy/login_failures.hpp"

namespace tessera {

std::optional<std::string> LoginFailures::note(const std::string& network, SteadyTime now) {
  const MutexLock lock(mutex_);
  if (!minute_ || now - *minute_ >= std::chrono::minutes(1)) {
    minute_ = now;
    told_.clear();
  }
  if (num_of_day_ == 0 || now - day_ >= std::chrono::hours(24)) {
    day_ = now;
    num_of_day_ = 0;
  }
  if (told_.contains(network)) return std::nullopt;
  const bool is_named = told_.size() < kMaxOfMinute && num_of_day_ < kMaxOfDay;
  const std::string told = is_named ? network : std::string(kOthers);
  if (!told_.insert(told).second) return std::nullopt;
  if (is_named) ++num_of_day_;
  return told;
}

}  // namespace tessera
