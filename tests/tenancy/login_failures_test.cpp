#include "tenancy/login_failures.hpp"

#include <gtest/gtest.h>

namespace tessera {
namespace {

using namespace std::chrono_literals;

constexpr SteadyTime kStart{1h};

std::string network(std::size_t i) {
  return "10.0." + std::to_string(i / 256) + "." + std::to_string(i % 256);
}

TEST(LoginFailures, ANetworkIsToldOnceAMinute) {
  LoginFailures failures;
  EXPECT_EQ(failures.note("10.0.0.1", kStart), "10.0.0.1");
  EXPECT_EQ(failures.note("10.0.0.1", kStart + 59s), std::nullopt);
  EXPECT_EQ(failures.note("10.0.0.2", kStart + 59s), "10.0.0.2");
  EXPECT_EQ(failures.note("10.0.0.1", kStart + 60s), "10.0.0.1");
}

TEST(LoginFailures, ManyNetworksOfAMinuteAreOneRecordMore) {
  LoginFailures failures;
  for (std::size_t i = 0; i < LoginFailures::kMaxOfMinute; ++i) {
    EXPECT_EQ(failures.note(network(i), kStart), network(i));
  }
  EXPECT_EQ(failures.note("192.0.2.1", kStart), LoginFailures::kOthers);
  EXPECT_EQ(failures.note("192.0.2.2", kStart), std::nullopt);
  EXPECT_EQ(failures.note(network(0), kStart), std::nullopt);
  EXPECT_EQ(failures.note("192.0.2.2", kStart + 1min), "192.0.2.2");
}

TEST(LoginFailures, ADaysRecordsAreBoundedAndNoMinuteIsWithoutOne) {
  LoginFailures failures;
  int named = 0;
  int others = 0;
  for (int minute = 0; minute < 24 * 60; ++minute) {
    for (std::size_t i = 0; i < 100; ++i) {
      const auto told = failures.note(network(i), kStart + std::chrono::minutes(minute));
      if (told) ++(*told == LoginFailures::kOthers ? others : named);
    }
  }
  EXPECT_EQ(named, LoginFailures::kMaxOfDay);
  EXPECT_EQ(others, 24 * 60);
  EXPECT_EQ(failures.note(network(0), kStart + 24h), network(0)) << "a new day";
}

}  // namespace
}  // namespace tessera
