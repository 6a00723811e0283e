#include "adapters/host_cache.hpp"

#include <future>
#include <map>
#include <mutex>
#include <random>
#include <semaphore>
#include <thread>

#include <gtest/gtest.h>

#include "tests/adapters/test_package.hpp"

namespace tessera {
namespace {

using namespace std::chrono_literals;
using State = HostCache::State;

AdapterDigest digest_of(unsigned i) {
  AdapterDigest digest;
  digest.bytes[0] = static_cast<std::uint8_t>(i);
  digest.bytes[1] = static_cast<std::uint8_t>(i >> 8);
  return digest;
}

// Adapters of one size, made at once; digests that are told to fail fail.
class Loads {
 public:
  Result<HostCache::Pin> operator()(const AdapterDigest& digest) {
    std::lock_guard lock(mutex_);
    ++count_[digest];
    if (broken_.contains(digest)) return Error{Code::kCorrupt, "broken"};
    return pack_adapter(adapter_, PageType::kF32);
  }
  void set_broken(const AdapterDigest& digest, bool broken) {
    std::lock_guard lock(mutex_);
    if (broken) {
      broken_.insert(digest);
    } else {
      broken_.erase(digest);
    }
  }
  int count(const AdapterDigest& digest) {
    std::lock_guard lock(mutex_);
    return count_[digest];
  }
  std::size_t bytes_each() const { return pack_adapter(adapter_, PageType::kF32)->bytes(); }

 private:
  const Adapter adapter_ = *TestPackage().validate().adapter;
  std::mutex mutex_;
  std::map<AdapterDigest, int> count_;
  std::set<AdapterDigest> broken_;
};

class Cache : public testing::Test {
 protected:
  // A cache that holds `capacity` adapters.
  void open(std::size_t capacity, int num_loaders = 1) {
    cache =
        std::make_unique<HostCache>([this](const AdapterDigest& digest) { return loads(digest); },
                                    HostCache::Config{.max_bytes = capacity * loads.bytes_each(),
                                                      .num_loaders = num_loaders,
                                                      .failure_memory = 2s},
                                    clock);
    cache->set_wake([this] { woken.release(); });
  }

  // Asks until the answer is not "loading", waiting for the cache's wake-up in between.
  HostCache::Lookup wait_for(unsigned i) {
    for (;;) {
      auto found = cache->get(digest_of(i));
      if (found.state != State::kLoading) return found;
      woken.acquire();
    }
  }

  bool is_resident(unsigned i) {
    const int before = loads.count(digest_of(i));
    wait_for(i);
    return loads.count(digest_of(i)) == before;
  }

  Loads loads;
  ManualClock clock;
  std::counting_semaphore<> woken{0};
  std::unique_ptr<HostCache> cache;
};

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

TEST_F(Cache, OneSlowLoadDoesNotHoldUpTheAnswersAboutOthers) {
  std::promise<void> gate;
  auto opened = gate.get_future().share();
  HostCache slow(
      [&](const AdapterDigest& digest) {
        if (digest == digest_of(1)) opened.wait();
        return loads(digest);
      },
      {.max_bytes = 10 * loads.bytes_each(), .num_loaders = 2}, clock);
  slow.set_wake([this] { woken.release(); });
  EXPECT_EQ(slow.get(digest_of(1)).state, State::kLoading);
  slow.prefetch(digest_of(2));
  woken.acquire();
  EXPECT_EQ(slow.get(digest_of(2)).state, State::kReady);
  EXPECT_EQ(slow.get(digest_of(1)).state, State::kLoading);
  EXPECT_EQ(slow.stats().loading, 1U);
  gate.set_value();
  woken.acquire();
  EXPECT_EQ(slow.get(digest_of(1)).state, State::kReady);
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
