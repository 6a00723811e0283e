// chaos_clock.hpp — a clock whose wall is set forward and back while its steady side goes on.
#pragma once

#include <atomic>
#include <chrono>

#include "storage/clock.hpp"

namespace tessera::chaos {

// As thread-safe as a ManualClock.
class JumpingClock final : public Clock {
 public:
  explicit JumpingClock(WallTime wall) : wall_(wall.time_since_epoch().count()) {}

  SteadyTime steady_now() const override {
    return SteadyTime(std::chrono::microseconds(steady_.load()));
  }
  WallTime wall_now() const override { return WallTime(std::chrono::microseconds(wall_.load())); }

  void advance(std::chrono::microseconds by) {
    steady_.fetch_add(by.count());
    wall_.fetch_add(by.count());
  }
  void set_wall(std::chrono::microseconds by) { wall_.fetch_add(by.count()); }

 private:
  std::atomic<std::int64_t> steady_ = 3'600'000'000;
  std::atomic<std::int64_t> wall_;
};

}  // namespace tessera::chaos
