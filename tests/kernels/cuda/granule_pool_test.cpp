// granule_pool_test.cpp — the pool that KV blocks and adapters share.
#include "kernels/cuda/granule_pool.hpp"

#include <map>
#include <random>

#include <gtest/gtest.h>

namespace tessera {
namespace {

constexpr std::size_t kGranule = GranulePool::kGranule;

TEST(GranulePool, GivesRunsThatDoNotOverlapAndTakesAllOfThemBack) {
  if (num_devices() == 0) GTEST_SKIP() << "no CUDA device on this machine";
  constexpr std::size_t kCapacity = 64 * kGranule;
  GranulePool pool(kCapacity);
  std::mt19937 random(7);
  std::map<std::byte*, std::size_t> held;
  std::size_t held_bytes = 0;
  for (int i = 0; i < 5000; ++i) {
    if (random() % 2 == 0 && !held.empty()) {
      auto run = held.begin();
      std::advance(run, static_cast<std::ptrdiff_t>(random() % held.size()));
      pool.release(run->first);
      held_bytes -= run->second;
      held.erase(run);
    } else if (std::byte* run = pool.allocate(1 + random() % (9 * kGranule)); run != nullptr) {
      const auto after = held.lower_bound(run);
      ASSERT_TRUE(after == held.begin() ||
                  std::prev(after)->first + std::prev(after)->second <= run);
      const std::size_t before = pool.free_bytes() + held_bytes;
      const std::size_t bytes = kCapacity - before;
      ASSERT_TRUE(after == held.end() || run + bytes <= after->first);
      held[run] = bytes;
      held_bytes += bytes;
    }
    ASSERT_EQ(pool.free_bytes() + held_bytes, kCapacity);
  }
  for (const auto& [run, bytes] : held) pool.release(run);
  std::byte* const whole = pool.allocate(kCapacity);
  EXPECT_NE(whole, nullptr) << "neighbours are merged";
  EXPECT_EQ(pool.allocate(1), nullptr);
  pool.release(whole);
}

TEST(GranulePool, NothingIsHalfTaken) {
  if (num_devices() == 0) GTEST_SKIP() << "no CUDA device on this machine";
  GranulePool pool(4 * kGranule);
  EXPECT_EQ(pool.allocate(5 * kGranule), nullptr);
  EXPECT_EQ(pool.free_bytes(), 4 * kGranule);
}

}  // namespace
}  // namespace tessera
