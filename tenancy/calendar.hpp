// calendar.hpp — the days and months that quotas and budgets are counted by, in UTC.
#pragma once

#include <chrono>
#include <cstdint>

#include "storage/clock.hpp"

namespace tessera {

enum class Period : std::uint8_t { kDay, kMonth };

inline std::chrono::sys_days day_of(WallTime time) {
  return std::chrono::floor<std::chrono::days>(time);
}

// The first instant of the period that `time` is in, and of the next one.
inline WallTime start_of(Period period, WallTime time) {
  const auto day = day_of(time);
  if (period == Period::kDay) return WallTime(day);
  const std::chrono::year_month_day date(day);
  return WallTime(std::chrono::sys_days(date.year() / date.month() / 1));
}

inline WallTime end_of(Period period, WallTime time) {
  const auto day = day_of(time);
  if (period == Period::kDay) return WallTime(day + std::chrono::days(1));
  const std::chrono::year_month_day date(day);
  return WallTime(std::chrono::sys_days((date.year() / date.month() + std::chrono::months(1)) / 1));
}

}  // namespace tessera
