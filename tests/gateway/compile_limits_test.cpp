#include "gateway/inference/compile_limits.hpp"

#include <chrono>
#include <memory>
#include <variant>
#include <vector>

#include <gtest/gtest.h>

#include "gateway/config.hpp"

namespace tessera {
namespace {

using namespace std::chrono_literals;
using Ticket = std::unique_ptr<CompileLimits::Ticket>;

constexpr SteadyTime kStart{1h};
const TenantId kHostile("proj_a");
const TenantId kOther("proj_b");

bool enters(CompileLimits& limits, const TenantId& tenant, SteadyTime now,
            std::chrono::nanoseconds takes = 0s) {
  auto entered = limits.enter(tenant, now);
  if (!std::holds_alternative<Ticket>(entered)) return false;
  std::get<Ticket>(entered)->took(takes);
  return true;
}

TEST(CompileLimits, WhatIsUsualIsNeverRefused) {
  CompileLimits limits;
  for (int i = 0; i < 5000; ++i) ASSERT_TRUE(enters(limits, kOther, kStart, 200us)) << i;
}

TEST(CompileLimits, WhoUsedHisBurstWaitsAndNobodyElseDoes) {
  CompileLimits limits;
  ASSERT_TRUE(enters(limits, kHostile, kStart, kCompileBurst + 1s));
  auto refused = limits.enter(kHostile, kStart);
  ASSERT_TRUE(std::holds_alternative<std::chrono::nanoseconds>(refused));
  const auto wait = std::get<std::chrono::nanoseconds>(refused);
  EXPECT_TRUE(enters(limits, kOther, kStart));
  EXPECT_FALSE(enters(limits, kHostile, kStart + 1s * kCompileShareInverse - 1ms));
  EXPECT_TRUE(enters(limits, kHostile, kStart + wait)) << "the wait that was told is enough";
}

TEST(CompileLimits, HowManyMayWaitIsBounded) {
  CompileLimits limits;
  std::vector<Ticket> tickets;
  for (int i = 0; i < kMaxCompilesOfTenant; ++i) {
    tickets.push_back(std::get<Ticket>(limits.enter(kHostile, kStart)));
  }
  EXPECT_FALSE(enters(limits, kHostile, kStart));
  EXPECT_TRUE(enters(limits, kOther, kStart));
  tickets.pop_back();
  EXPECT_TRUE(enters(limits, kHostile, kStart));
}

}  // namespace
}  // namespace tessera
