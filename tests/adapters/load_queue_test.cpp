#include "adapters/load_queue.hpp"

#include <gtest/gtest.h>

namespace tessera {
namespace {

using namespace std::chrono_literals;

constexpr SteadyTime kStart{1h};

AdapterDigest digest(int number) {
  AdapterDigest digest;
  digest.bytes[0] = static_cast<std::uint8_t>(number);
  return digest;
}

int number_of(const std::optional<LoadQueue::Job>& job) {
  return job ? job->digest.bytes[0] : -1;
}

TEST(LoadQueue, TenantsTakeTurnsHoweverManyLoadsOneHas) {
  LoadQueue queue({.max_loading_of_tenant = 100});
  for (int number = 0; number < 50; ++number) queue.push("many", digest(number));
  queue.push("one", digest(200));
  queue.push("two", digest(201));
  EXPECT_EQ(number_of(queue.pop(kStart)), 0);
  EXPECT_EQ(number_of(queue.pop(kStart)), 200);
  EXPECT_EQ(number_of(queue.pop(kStart)), 201);
  EXPECT_EQ(number_of(queue.pop(kStart)), 1);
  EXPECT_EQ(number_of(queue.pop(kStart)), 2);
}

TEST(LoadQueue, ATenantHasOnlySoManyUnderWay) {
  LoadQueue queue({.max_loading_of_tenant = 2});
  for (int number = 0; number < 4; ++number) queue.push("a", digest(number));
  queue.pop(kStart);
  queue.pop(kStart);
  EXPECT_FALSE(queue.pop(kStart));
  EXPECT_FALSE(queue.next_due()) << "only an end can help";
  queue.push("b", digest(9));
  EXPECT_EQ(number_of(queue.pop(kStart)), 9);
  queue.finish("a");
  EXPECT_EQ(number_of(queue.pop(kStart)), 2);
}

TEST(LoadQueue, ATenantsRateIsABurstAndThenItsPeriod) {
  LoadQueue queue(
      {.max_loading_of_tenant = 100, .loads_per_second_of_tenant = 10, .load_burst_of_tenant = 3});
  for (int number = 0; number < 6; ++number) queue.push("a", digest(number));
  for (int number = 0; number < 3; ++number) EXPECT_EQ(number_of(queue.pop(kStart)), number);
  EXPECT_FALSE(queue.pop(kStart));
  ASSERT_TRUE(queue.next_due());
  EXPECT_EQ(*queue.next_due(), kStart + 100ms);
  EXPECT_FALSE(queue.pop(kStart + 99ms));
  EXPECT_EQ(number_of(queue.pop(kStart + 100ms)), 3);
  EXPECT_FALSE(queue.pop(kStart + 199ms));
  EXPECT_EQ(number_of(queue.pop(kStart + 200ms)), 4);

  queue.push("b", digest(9));
  EXPECT_EQ(number_of(queue.pop(kStart + 200ms)), 9) << "another's rate is its own";
}

}  // namespace
}  // namespace tessera
