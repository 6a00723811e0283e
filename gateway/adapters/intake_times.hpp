// intake_times.hpp — where the time of one upload went, for its line in the log.
#pragma once

#include <chrono>

#include "storage/clock.hpp"
#include "storage/log.hpp"

namespace tessera {

// Stages one behind the other; one that an upload does not come to stays 0. Used by one thread.
class IntakeTimes {
 public:
  using Stage = std::chrono::duration<double, std::milli> IntakeTimes::*;

  explicit IntakeTimes(const Clock& clock) : clock_(clock), last_(clock.steady_now()) {}

  // What has passed since the last stage's end was `stage`.
  void ended(Stage stage) {
    const SteadyTime now = clock_.steady_now();
    this->*stage += now - last_;
    last_ = now;
  }

  LogField field(std::string_view name, Stage stage) const {
    return {name, (this->*stage).count()};
  }

  std::chrono::duration<double, std::milli> queued{};     // for a thread of the intake
  std::chrono::duration<double, std::milli> validated{};  // in the child: read, checked, packed
  std::chrono::duration<double, std::milli> tried{};      // probe and acceptance checks
  std::chrono::duration<double, std::milli> stored{};     // its bytes, beyond the trial's time
  std::chrono::duration<double, std::milli> committed{};

 private:
  const Clock& clock_;
  SteadyTime last_;
};

}  // namespace tessera
