// clock.hpp — time as an argument, so that tests can move it.
//
// Rates and deadlines use the steady clock, records use the wall clock. Nothing below the gateway
// reads a clock by itself: functions take `now`, long-lived objects take a Clock.
#pragma once

#include <atomic>
#include <chrono>

namespace tessera {

using SteadyTime = std::chrono::steady_clock::time_point;
using WallTime = std::chrono::sys_time<std::chrono::microseconds>;

// Thread-safe.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual SteadyTime steady_now() const = 0;
  virtual WallTime wall_now() const = 0;
};

class SystemClock final : public Clock {
 public:
  SteadyTime steady_now() const override { return std::chrono::steady_clock::now(); }
  WallTime wall_now() const override {
    return std::chrono::time_point_cast<std::chrono::microseconds>(
        std::chrono::system_clock::now());
  }
};

// For tests: stands still until advanced.
class ManualClock final : public Clock {
 public:
  SteadyTime steady_now() const override { return SteadyTime(nanos()); }
  WallTime wall_now() const override {
    return WallTime(std::chrono::duration_cast<std::chrono::microseconds>(nanos()));
  }
  void advance(std::chrono::nanoseconds by) { nanos_.fetch_add(by.count()); }

 private:
  std::chrono::nanoseconds nanos() const { return std::chrono::nanoseconds(nanos_.load()); }

  std::atomic<std::int64_t> nanos_ = std::int64_t{1'700'000'000} * 1'000'000'000;
};

}  // namespace tessera
