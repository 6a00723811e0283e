#include "adapters/page_pool.hpp"

#include <gtest/gtest.h>

namespace tessera {
namespace {

constexpr std::size_t kSmall = 10'000;

TEST(PagePool, GivesOutWhatItWasGiven) {
  PagePool pool(10 * kHugePageBytes);
  AlignedBuffer<std::byte> memory = pool.take(kSmall);
  const std::byte* place = memory.data();
  pool.give(std::move(memory));
  EXPECT_EQ(pool.bytes(), kSmall);
  const AlignedBuffer<std::byte> again = pool.take(kSmall);
  EXPECT_EQ(again.data(), place);
  EXPECT_EQ(again.size(), kSmall);
  EXPECT_EQ(pool.bytes(), 0U);
  EXPECT_NE(pool.take(kSmall).data(), place);
}

TEST(PagePool, MemoryFitsWhoeverTakesAsMuchOfIt) {
  PagePool pool(10 * kHugePageBytes);
  AlignedBuffer<std::byte> memory = pool.take(kHugePageBytes - kHugePageBytes / 8);
  const std::byte* place = memory.data();
  pool.give(std::move(memory));
  EXPECT_NE(pool.take(kSmall).data(), place);
  EXPECT_NE(pool.take(kHugePageBytes + 1).data(), place);
  const AlignedBuffer<std::byte> larger = pool.take(kHugePageBytes);
  EXPECT_EQ(larger.data(), place);
  EXPECT_EQ(larger.size(), kHugePageBytes);
}

TEST(PagePool, KeepsTheLastOnesWithinItsLimit) {
  PagePool pool(2 * kSmall);
  AlignedBuffer<std::byte> first(kSmall);
  AlignedBuffer<std::byte> second(kSmall);
  AlignedBuffer<std::byte> third(kSmall);
  const std::byte* place = second.data();
  pool.give(std::move(first));
  pool.give(std::move(second));
  pool.give(std::move(third));
  EXPECT_EQ(pool.bytes(), 2 * kSmall);
  EXPECT_EQ(pool.take(kSmall).data(), place);
  pool.give(AlignedBuffer<std::byte>(3 * kSmall));  // more than all it may keep
  EXPECT_EQ(pool.bytes(), kSmall);
}

}  // namespace
}  // namespace tessera
