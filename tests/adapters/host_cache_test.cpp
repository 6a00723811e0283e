#include "adapters/host_cache.hpp"

#include <future>
#include <random>
#include <semaphore>
#include <thread>

#include <gtest/gtest.h>

#include "tests/adapters/host_cache_fixture.hpp"

namespace tessera {
namespace {

using namespace std::chrono_literals;
using State = HostCache::State;
using Cache = HostCacheTest;

TEST_F(Cache, AMissLoadsOnceAndThenHits) {
  open(4);
  EXPECT_EQ(cache->get(digest_of(1)).state, State::kLoading);
  const auto found = wait_for(1);
  ASSERT_EQ(found.state, State::kReady);
  EXPECT_EQ(wait_for(1).adapter, found.adapter);
  EXPECT_EQ(loads.count(digest_of(1)), 1);
  EXPECT_EQ(cache->stats().bytes, loads.bytes_each());
  EXPECT_EQ(cache->stats().entries, 1U);
  EXPECT_EQ(cache->stats().loads, 1U);
}

TEST_F(Cache, PrefetchLoadsBeforeAnyoneAsks) {
  open(4);
  cache->prefetch(digest_of(1));
  cache->prefetch(digest_of(1));
  woken.acquire();
  EXPECT_EQ(cache->get(digest_of(1)).state, State::kReady);
  EXPECT_EQ(loads.count(digest_of(1)), 1);
}

TEST_F(Cache, TheOneUnusedForLongestGoesFirst) {
  open(2);
  wait_for(1);
  wait_for(2);
  wait_for(1);
  wait_for(3);
  EXPECT_EQ(cache->stats().evictions, 1U);
  EXPECT_TRUE(is_resident(1));
  EXPECT_TRUE(is_resident(3));
  EXPECT_FALSE(is_resident(2));
}

TEST_F(Cache, OneThatIsUsedOftenOutlivesASweepOverOthers) {
  open(3);
  for (int use = 0; use < 10; ++use) wait_for(1);
  for (unsigned i = 2; i < 9; ++i) wait_for(i);
  EXPECT_TRUE(is_resident(1));
}

TEST_F(Cache, ATenantWhoCyclesThroughColdAdaptersEvictsTheirOwn) {
  open(8);
  for (unsigned i = 1; i <= 3; ++i) wait_for(i, "victim");
  for (unsigned i = 100; i < 300; ++i) {
    wait_for(i, "flooder");
    wait_for(i, "flooder");  // often used, too
  }
  for (unsigned i = 1; i <= 3; ++i) EXPECT_TRUE(is_resident(i)) << i;
  EXPECT_EQ(cache->stats().entries, 8U);
}

TEST_F(Cache, AloneATenantMayHaveItAllAndGivesItUpForOthers) {
  open(4);
  for (unsigned i = 1; i <= 4; ++i) wait_for(i, "a");
  EXPECT_EQ(cache->stats().evictions, 0U);
  for (unsigned i = 11; i <= 12; ++i) EXPECT_EQ(wait_for(i, "b").state, State::kReady);
  EXPECT_EQ(cache->stats().evictions, 2U);
  wait_for(13, "b");
  EXPECT_TRUE(is_resident(13));
  EXPECT_EQ(cache->stats().evictions, 3U);
  EXPECT_TRUE(is_resident(4)) << "b has had its share";
  EXPECT_TRUE(is_resident(3));
}

TEST_F(Cache, OneAdapterIsEverybodysMinimum) {
  open(2);
  for (unsigned i = 1; i <= 20; ++i) {
    EXPECT_EQ(wait_for(i, "tenant " + std::to_string(i)).state, State::kReady);
  }
}

TEST_F(Cache, WhatATenantPinsStaysWithinItsQuota) {
  open(8);
  wait_for(1);
  EXPECT_TRUE(cache->pin(digest_of(1), "a"));
  EXPECT_TRUE(cache->pin(digest_of(1), "a")) << "twice is once";
  EXPECT_TRUE(cache->pin(digest_of(2), "a")) << "which starts its load";
  wait_for(2);
  EXPECT_EQ(cache->stats().pinned_bytes, 2 * loads.bytes_each());
  wait_for(3);
  EXPECT_EQ(cache->pin(digest_of(3), "a").error().code, Code::kStorageQuotaExceeded);
  EXPECT_FALSE(cache->evict(digest_of(1)));
  for (unsigned i = 10; i < 30; ++i) wait_for(i);
  EXPECT_TRUE(is_resident(1));
  EXPECT_TRUE(is_resident(2));
  cache->unpin(digest_of(1), "b");
  EXPECT_TRUE(cache->where(digest_of(1)).pinned);
  cache->unpin(digest_of(1), "a");
  EXPECT_FALSE(cache->where(digest_of(1)).pinned);
  EXPECT_TRUE(cache->evict(digest_of(1)));
}

TEST_F(Cache, OneThatTurnsOutToExceedTheQuotaIsLoadedAndNotPinned) {
  open(3);
  EXPECT_TRUE(cache->pin(digest_of(1), "a"));
  EXPECT_EQ(wait_for(1).state, State::kReady);
  EXPECT_FALSE(cache->where(digest_of(1)).pinned);
  EXPECT_EQ(cache->stats().pinned_bytes, 0U);
}

TEST_F(Cache, TellsWhereAnAdapterIs) {
  using Place = HostCache::Residency::Place;
  open(4);
  EXPECT_EQ(cache->where(digest_of(1)).place, Place::kDisk);
  auto found = wait_for(1);
  EXPECT_EQ(cache->where(digest_of(1)).place, Place::kHost);
  EXPECT_EQ(cache->where(digest_of(1)).bytes, loads.bytes_each());
  EXPECT_TRUE(cache->where(digest_of(1)).in_use);
  EXPECT_FALSE(cache->evict(digest_of(1)));
  found.adapter.reset();
  EXPECT_FALSE(cache->where(digest_of(1)).in_use);
  EXPECT_TRUE(cache->evict(digest_of(1)));
  loads.set_broken(digest_of(2), true);
  wait_for(2);
  EXPECT_EQ(cache->where(digest_of(2)).place, Place::kFailed);
}

TEST_F(Cache, PagesAtHandNeedNoLoad) {
  open(2);
  const auto pages = loads(digest_of(1));
  cache->insert(digest_of(1), "a", *pages);
  EXPECT_EQ(cache->get(digest_of(1)).adapter, *pages);
  EXPECT_EQ(loads.count(digest_of(1)), 1) << "the one of this test";
}

TEST_F(Cache, PagesInUseAreNeitherFreedNorForgottenInTheCount) {
  open(2);
  const auto pinned = wait_for(1);
  wait_for(2);
  wait_for(3);
  EXPECT_EQ(wait_for(1).adapter, pinned.adapter) << "2 went, although 1 is older";
  EXPECT_EQ(loads.count(digest_of(1)), 1);
  EXPECT_LE(cache->stats().bytes, 2 * loads.bytes_each());
}

TEST_F(Cache, WhatDoesNotFitBesideThePinnedFailsAndComesLater) {
  open(1);
  auto pinned = wait_for(1);
  const auto refused = wait_for(2);
  ASSERT_EQ(refused.state, State::kFailed);
  EXPECT_EQ(refused.error.code, Code::kNoCapacity);
  EXPECT_EQ(cache->stats().bytes, loads.bytes_each());
  pinned.adapter.reset();
  clock.advance(2s);
  EXPECT_EQ(wait_for(2).state, State::kReady);
}

TEST_F(Cache, TellsWhatMoreRoomWouldHaveBeenGoodFor) {
  open(2);
  wait_for(1);
  EXPECT_EQ(cache->take_pressure().unfilled_bytes, loads.bytes_each());
  wait_for(2);
  wait_for(3);  // 1 goes
  EXPECT_EQ(cache->take_pressure().evicted_bytes, loads.bytes_each());
  const auto used = std::pair(wait_for(2), wait_for(3));
  EXPECT_EQ(wait_for(4).error.code, Code::kNoCapacity);
  const HostCache::Pressure pressure = cache->take_pressure();
  EXPECT_EQ(pressure.evicted_bytes, 0U);
  EXPECT_EQ(pressure.missing_bytes, loads.bytes_each());
  EXPECT_EQ(pressure.unfilled_bytes, 0U);
  EXPECT_EQ(cache->take_pressure().missing_bytes, 0U) << "told twice";

  cache->add_room(loads.bytes_each());
  EXPECT_EQ(wait_for(4).state, State::kReady);
  EXPECT_EQ(cache->stats().max_bytes, 3 * loads.bytes_each());
}

TEST_F(Cache, GivesRoomThatIsUnfilledOrOfAdaptersThatNobodyUses) {
  open(4);
  wait_for(1);
  auto used = wait_for(2);
  const std::size_t unit = loads.bytes_each() / 2;
  EXPECT_EQ(cache->give_unfilled(unit, 9, loads.bytes_each()), 2);  // one adapter's room is kept
  EXPECT_TRUE(is_resident(1));
  EXPECT_EQ(cache->give_unfilled(unit, 1, 0), 1);
  EXPECT_EQ(cache->give_idle(unit, 9), 3);
  EXPECT_EQ(cache->stats().max_bytes, loads.bytes_each());
  EXPECT_EQ(cache->stats().bytes, loads.bytes_each());
  EXPECT_EQ(used.adapter->max_rank(), wait_for(2).adapter->max_rank());
  EXPECT_EQ(cache->give_idle(unit, 9), 0);
  EXPECT_EQ(wait_for(3).error.code, Code::kNoCapacity);
  used = {};
  EXPECT_EQ(cache->give_idle(unit, 1), 1);
  EXPECT_EQ(wait_for(3).error.code, Code::kNoCapacity) << "larger than what is left";
  cache->add_room(unit);
  EXPECT_EQ(wait_for(3).state, State::kReady);
}

TEST_F(Cache, AnAdapterLargerThanTheCacheIsRefused) {
  open(0);
  EXPECT_EQ(wait_for(1).error.code, Code::kStorageQuotaExceeded);
}

TEST_F(Cache, AFailureIsRememberedForAMomentAndThenTriedAgain) {
  open(4);
  loads.set_broken(digest_of(1), true);
  EXPECT_EQ(wait_for(1).state, State::kFailed);
  clock.advance(1999ms);
  const auto still = cache->get(digest_of(1));
  EXPECT_EQ(still.state, State::kFailed);
  EXPECT_EQ(still.error.code, Code::kCorrupt);
  EXPECT_EQ(loads.count(digest_of(1)), 1);
  loads.set_broken(digest_of(1), false);
  clock.advance(1ms);
  EXPECT_EQ(wait_for(1).state, State::kReady);
  EXPECT_EQ(loads.count(digest_of(1)), 2);
  EXPECT_EQ(cache->stats().failures, 1U);
}

TEST_F(Cache, AForgottenAdapterIsLoadedAnewAndItsPinsLive) {
  open(4);
  const auto pin = wait_for(1).adapter;
  cache->forget(digest_of(1));
  cache->forget(digest_of(9));
  EXPECT_EQ(cache->stats().bytes, 0U);
  EXPECT_EQ(pin->view().layers.size(), 2U);
  EXPECT_EQ(cache->get(digest_of(1)).state, State::kLoading);
}

TEST_F(Cache, AForgottenFailureIsTriedAgainAtOnceAndWhatIsThereStays) {
  open(4);
  loads.set_broken(digest_of(1), true);
  EXPECT_EQ(wait_for(1).state, State::kFailed);
  wait_for(2);
  loads.set_broken(digest_of(1), false);
  for (unsigned i = 1; i <= 3; ++i) cache->forget_failure(digest_of(i));
  EXPECT_EQ(wait_for(1).state, State::kReady);
  EXPECT_TRUE(is_resident(2));
}

TEST_F(Cache, AFailureForgottenWhileItsLoadRunsIsNotRemembered) {
  std::binary_semaphore started{0};
  std::binary_semaphore gate{0};
  HostCache slow(
      [&](const AdapterDigest& digest) {
        started.release();
        gate.acquire();
        return loads(digest);
      },
      {.max_bytes = loads.bytes_each()}, clock);
  slow.set_wake([this] { woken.release(); });
  loads.set_broken(digest_of(1), true);
  slow.prefetch(digest_of(1));
  started.acquire();
  slow.forget_failure(digest_of(1));
  gate.release();
  woken.acquire();
  EXPECT_EQ(slow.get(digest_of(1)).state, State::kLoading) << "a new load";
  gate.release();
}

TEST_F(Cache, PinsOutliveTheCache) {
  open(1);
  const auto pin = wait_for(1).adapter;
  cache.reset();
  EXPECT_EQ(pin->max_rank(), 4);
}

TEST_F(Cache, OneTenantsSlowLoadDoesNotHoldUpAnothers) {
  std::promise<void> gate;
  auto opened = gate.get_future().share();
  HostCache slow(
      [&](const AdapterDigest& digest) {
        if (digest == digest_of(1)) opened.wait();
        return loads(digest);
      },
      {.max_bytes = 10 * loads.bytes_each(), .num_loaders = 2}, clock);
  slow.set_wake([this] { woken.release(); });
  EXPECT_EQ(slow.get(digest_of(1), "a").state, State::kLoading);
  slow.prefetch(digest_of(3), "a");  // a loader stays free for others
  slow.prefetch(digest_of(2), "b");
  woken.acquire();
  EXPECT_EQ(slow.get(digest_of(2)).state, State::kReady);
  EXPECT_EQ(slow.get(digest_of(1)).state, State::kLoading);
  EXPECT_EQ(slow.stats().loading, 2U);
  gate.set_value();
  woken.acquire();
  woken.acquire();
  EXPECT_EQ(slow.get(digest_of(1)).state, State::kReady);
  EXPECT_EQ(slow.get(digest_of(3)).state, State::kReady);
}

TEST_F(Cache, AfterSetWakeTheFormerCallbackIsNotCalled) {
  open(4);
  int calls = 0;
  cache->set_wake([&] { ++calls; });
  cache->set_wake([this] { woken.release(); });
  wait_for(1);
  EXPECT_EQ(calls, 0);
}

TEST_F(Cache, ManyThreadsAndFewPlacesNeverPassTheLimitOrLoseAPin) {
  constexpr std::size_t kPlaces = 4;
  constexpr unsigned kThreads = 4;
  open(kPlaces, 2);
  const std::size_t each = loads.bytes_each();
  std::vector<std::jthread> threads;
  for (unsigned seed = 0; seed < kThreads; ++seed) {
    threads.emplace_back([&, seed] {
      std::mt19937 random(seed);
      for (int num_used = 0; num_used < 500;) {
        const auto found = cache->get(digest_of(static_cast<unsigned>(random() % 12)));
        EXPECT_LE(cache->stats().bytes, kPlaces * each);
        if (found.state == State::kReady) {
          EXPECT_EQ(found.adapter->max_rank(), 4);
          ++num_used;
        } else if (found.state == State::kFailed) {
          EXPECT_EQ(found.error.code, Code::kNoCapacity);
        } else {
          std::this_thread::yield();
        }
      }
    });
  }
  threads.clear();
  EXPECT_LE(cache->stats().entries, kPlaces);
}

}  // namespace
}  // namespace tessera
