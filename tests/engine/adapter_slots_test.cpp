#include "engine/adapter_slots.hpp"

#include <array>
#include <memory>
#include <stdexcept>
#include <vector>

#include <gtest/gtest.h>

#include "engine/schedule/running_adapters.hpp"
#include "tests/engine/adapter_shelf.hpp"
#include "tests/engine/fake_backend.hpp"
#include "tests/engine/tiny_model.hpp"

namespace tessera {
namespace {

std::shared_ptr<const PackedAdapter> packed(int number) {
  return pack_adapter(random_adapter(tiny_spec(), static_cast<std::uint64_t>(number)),
                      PageType::kF32);
}

class AdapterSlotsTest : public testing::Test {
 protected:
  AdapterSlots::Pin pin(AdapterSlots& slots, int number) {
    return slots.pin(AdapterShelf::digest(number), packed(number));
  }

  FakeBackend backend_{96, 2, {}};
};

TEST_F(AdapterSlotsTest, APinnedAgainAdapterKeepsItsSlot) {
  AdapterSlots slots(backend_, {});
  const auto first = pin(slots, 1);
  const auto other = pin(slots, 2);
  const auto again = pin(slots, 1);
  EXPECT_EQ(first.slot(), again.slot());
  EXPECT_NE(first.slot(), other.slot());
  EXPECT_EQ(slots.num_loads(), 2U);
  EXPECT_EQ(backend_.num_adapters(), 2);
}

TEST_F(AdapterSlotsTest, TheLeastRecentlyPinnedIdleOneMakesRoom) {
  AdapterSlots slots(backend_, {.max_adapters = 2, .max_resident = 2});
  pin(slots, 1);
  pin(slots, 2);
  pin(slots, 1);
  pin(slots, 3);
  EXPECT_TRUE(slots.holds(AdapterShelf::digest(1)));
  EXPECT_FALSE(slots.holds(AdapterShelf::digest(2)));
  EXPECT_EQ(slots.count(), 2);
}

TEST_F(AdapterSlotsTest, WhatIsPinnedStaysHoweverOldItIs) {
  AdapterSlots slots(backend_, {.max_adapters = 2, .max_resident = 2});
  const auto kept = pin(slots, 1);
  for (int number = 2; number < 8; ++number) pin(slots, number);
  EXPECT_TRUE(slots.holds(AdapterShelf::digest(1)));
  EXPECT_EQ(slots.count(), 2);
}

TEST_F(AdapterSlotsTest, BytesAreBoundedToo) {
  const std::size_t one = packed(1)->bytes();
  const std::size_t two = packed(2)->bytes();
  AdapterSlots slots(backend_, {.max_adapters = 8, .max_bytes = one + two - 1});
  pin(slots, 1);
  EXPECT_EQ(slots.bytes(), one);
  pin(slots, 2);
  EXPECT_EQ(slots.bytes(), two);
  EXPECT_EQ(slots.count(), 1);
}

TEST_F(AdapterSlotsTest, EvictingTheIdleLeavesThePinned) {
  AdapterSlots slots(backend_, {});
  auto kept = pin(slots, 1);
  pin(slots, 2);
  pin(slots, 3);
  EXPECT_EQ(slots.evict_idle(), 2);
  EXPECT_EQ(slots.count(), 1);
  const auto moved = std::move(kept);
  EXPECT_EQ(slots.evict_idle(), 0);
}

TEST_F(AdapterSlotsTest, APinKeepsThePagesAliveAndAnEvictionLetsThemGo) {
  AdapterSlots slots(backend_, {});
  auto adapter = packed(1);
  const std::weak_ptr<const PackedAdapter> pages = adapter;
  auto held = slots.pin(AdapterShelf::digest(1), adapter);
  adapter.reset();
  EXPECT_FALSE(pages.expired());
  held = {};
  slots.evict_idle();
  EXPECT_TRUE(pages.expired());
}

TEST_F(AdapterSlotsTest, OneThatIsUsedOftenOutlivesASweepOverOthers) {
  AdapterSlots slots(backend_, {.max_adapters = 2, .max_resident = 3});
  for (int use = 0; use < 10; ++use) pin(slots, 1);
  for (int number = 2; number < 8; ++number) pin(slots, number);
  EXPECT_TRUE(slots.holds(AdapterShelf::digest(1)));
  EXPECT_EQ(slots.count(), 3);
}

TEST_F(AdapterSlotsTest, WhereTheDeviceHasNoRoomMoreOfTheIdleGo) {
  AdapterSlots slots(backend_, {});
  backend_.refuse_beyond(2);
  const auto kept = pin(slots, 1);
  pin(slots, 2);
  const auto next = pin(slots, 3);
  EXPECT_TRUE(slots.holds(AdapterShelf::digest(3)));
  EXPECT_FALSE(slots.holds(AdapterShelf::digest(2)));
  EXPECT_THROW(pin(slots, 4), std::runtime_error) << "the others are pinned";
  EXPECT_EQ(slots.count(), 2) << "and stay";
}

TEST_F(AdapterSlotsTest, EvictionsAreToldOnceAndSpareThePinned) {
  AdapterSlots slots(backend_, {});
  const auto kept = pin(slots, 1);
  pin(slots, 2);
  slots.evict(AdapterShelf::digest(1));
  slots.evict(AdapterShelf::digest(2));
  slots.evict(AdapterShelf::digest(3));
  EXPECT_EQ(slots.take_evicted(), std::vector{AdapterShelf::digest(2)});
  EXPECT_FALSE(slots.has_evicted());
  EXPECT_EQ(slots.resident(), std::vector{AdapterShelf::digest(1)});
}

AdapterUse use_of(int number, std::size_t bytes) {
  return {.adapter = AdapterShelf::digest(number), .bytes = bytes};
}
constexpr AdapterUse kBase{};

TEST(RunningAdapters, TheBaseCountsAsOne) {
  RunningAdapters running({.max_adapters = 2, .max_bytes = 100});
  running.add(std::array{kBase});
  running.add(std::array{use_of(1, 10)});
  EXPECT_FALSE(running.fits(std::array{use_of(2, 10)}));
  EXPECT_TRUE(running.fits(std::array{use_of(1, 10)}));
  EXPECT_TRUE(running.fits(std::array{kBase}));
  running.remove(std::array{kBase});
  EXPECT_TRUE(running.fits(std::array{use_of(2, 10)}));
}

TEST(RunningAdapters, BytesAreCountedOnceForEachAdapter) {
  RunningAdapters running({.max_adapters = 8, .max_bytes = 100});
  running.add(std::array{use_of(1, 60)});
  running.add(std::array{use_of(1, 60)});
  EXPECT_FALSE(running.fits(std::array{use_of(2, 50)}));
  EXPECT_TRUE(running.fits(std::array{use_of(2, 40)}));
  running.remove(std::array{use_of(1, 60)});
  EXPECT_FALSE(running.fits(std::array{use_of(2, 50)}));
  running.remove(std::array{use_of(1, 60)});
  EXPECT_TRUE(running.fits(std::array{use_of(2, 500)})) << "alone, whatever its size";
}

TEST(RunningAdapters, AMixFitsWithAllOfItsAdaptersOrNotAtAll) {
  RunningAdapters running({.max_adapters = 3, .max_bytes = 100});
  running.add(std::array{use_of(1, 40)});
  EXPECT_TRUE(running.fits(std::array{use_of(1, 40), use_of(2, 40), use_of(3, 20)}));
  EXPECT_FALSE(running.fits(std::array{use_of(2, 10), use_of(3, 10), use_of(4, 10)}));
  EXPECT_FALSE(running.fits(std::array{use_of(2, 40), use_of(3, 21)}));
  running.add(std::array{use_of(1, 40), use_of(2, 40)});
  EXPECT_EQ(running.count(), 2);
  running.remove(std::array{use_of(1, 40)});
  EXPECT_EQ(running.count(), 2) << "the mix still uses both";
  running.remove(std::array{use_of(1, 40), use_of(2, 40)});
  EXPECT_EQ(running.count(), 0);
}

}  // namespace
}  // namespace tessera
