#include "kernels/cpu/thread_pool.hpp"

#include <atomic>
#include <chrono>
#include <numeric>
#include <set>
#include <thread>
#include <vector>

#include <sched.h>

#include <gtest/gtest.h>

#include "tests/kernels/allocation_counter.hpp"

namespace tessera {
namespace {

TEST(PartOf, CoversEveryItemOnceInOrderWithSizesThatDifferByOne) {
  for (int threads = 1; threads <= 9; ++threads) {
    for (int count = 0; count <= 40; ++count) {
      int next = 0;
      for (int thread = 0; thread < threads; ++thread) {
        const Range part = part_of(count, thread, threads);
        EXPECT_EQ(part.begin, next);
        EXPECT_GE(part.end - part.begin, count / threads);
        EXPECT_LE(part.end - part.begin, count / threads + 1);
        next = part.end;
      }
      EXPECT_EQ(next, count);
    }
  }
}

TEST(PartOf, DoesNotOverflowOnLargeCounts) {
  const Range last = part_of(2'000'000'000, 63, 64);
  EXPECT_EQ(last.end, 2'000'000'000);
}

TEST(ThreadPool, CallsEveryThreadOnceAndTheCallerIsThreadZero) {
  ThreadPool pool(4);
  std::vector<std::atomic<int>> calls(4);
  std::thread::id zero;
  pool.run([&](int thread) {
    ++calls[static_cast<std::size_t>(thread)];
    if (thread == 0) zero = std::this_thread::get_id();
  });
  for (const auto& call : calls) EXPECT_EQ(call, 1);
  EXPECT_EQ(zero, std::this_thread::get_id());
}

TEST(ThreadPool, ARunSeesAllThatTheRunBeforeWrote) {
  ThreadPool pool(3);
  std::vector<int> values(3, 0);
  for (int run = 0; run < 2000; ++run) {
    std::vector<int> next(3);
    pool.run([&](int thread) {
      next[static_cast<std::size_t>(thread)] = std::accumulate(values.begin(), values.end(), 1);
    });
    for (int& value : next) value %= 1000;
    ASSERT_EQ(next, std::vector<int>(3, next[0]));
    values = next;
  }
}

TEST(ThreadPool, OfOneThreadRunsOnTheCaller) {
  ThreadPool pool(1);
  int calls = 0;
  pool.run([&](int thread) { calls += thread + 1; });
  EXPECT_EQ(calls, 1);
}

TEST(ThreadPool, ARunAllocatesNothing) {
  ThreadPool pool(3);
  std::atomic<int> calls = 0;
  const auto work = [&](int) { ++calls; };
  pool.run(work);
  const std::int64_t before = num_allocations();
  for (int run = 0; run < 1000; ++run) pool.run(work);
  EXPECT_EQ(num_allocations(), before);
  EXPECT_EQ(calls, 3 * 1001);
}

// Within the budget a worker spins, past it it sleeps; a run finds it either way.
TEST(ThreadPool, ARunFindsItsWorkersAwakeOrAsleep) {
  ThreadPool pool(2);
  const auto pause = [](std::chrono::microseconds length) {
    const auto end = std::chrono::steady_clock::now() + length;
    while (std::chrono::steady_clock::now() < end) continue;
  };
  std::atomic<int> calls = 0;
  for (int run = 0; run < 50; ++run) {
    pause(run % 2 == 0 ? 4 * kSpinBudget : kSpinBudget / 10);
    pool.run([&](int) { ++calls; });
  }
  EXPECT_EQ(calls, 100);
}

cpu_set_t cpus_of_this_thread() {
  cpu_set_t set;
  CPU_ZERO(&set);
  EXPECT_EQ(sched_getaffinity(0, sizeof(set), &set), 0);
  return set;
}

TEST(ThreadPool, PinsEachWorkerToACpuOfItsOwnAndLeavesTheCallerAlone) {
  const cpu_set_t allowed = cpus_of_this_thread();
  const int num_cpus = CPU_COUNT(&allowed);
  ThreadPool pool(num_cpus + 1, Pinning::kOneCpuEach);  // one worker too many
  EXPECT_EQ(pool.num_pinned(), num_cpus - 1);
  std::vector<cpu_set_t> sets(static_cast<std::size_t>(pool.num_threads()));
  pool.run([&](int thread) { sets[static_cast<std::size_t>(thread)] = cpus_of_this_thread(); });
  EXPECT_TRUE(CPU_EQUAL(&sets.front(), &allowed));
  EXPECT_TRUE(CPU_EQUAL(&sets.back(), &allowed));
  std::set<int> taken;
  for (std::size_t worker = 1; worker + 1 < sets.size(); ++worker) {
    ASSERT_EQ(CPU_COUNT(&sets[worker]), 1);
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
      if (CPU_ISSET(static_cast<unsigned>(cpu), &sets[worker])) taken.insert(cpu);
    }
  }
  EXPECT_EQ(taken.size(), static_cast<std::size_t>(num_cpus - 1));
}

// In a thread of its own: the test's must stay free.
void expect_pinned_caller(Pinning pinning, bool is_pinned) {
  std::thread([&] {
    const cpu_set_t allowed = cpus_of_this_thread();
    ThreadPool pool(2, pinning);
    pool.pin_caller();
    const cpu_set_t set = cpus_of_this_thread();
    EXPECT_EQ(CPU_COUNT(&set), is_pinned ? 1 : CPU_COUNT(&allowed));
    int first = 0;
    while (!CPU_ISSET(static_cast<unsigned>(first), &allowed)) ++first;
    EXPECT_TRUE(CPU_ISSET(static_cast<unsigned>(first), &set));
  }).join();
}

TEST(ThreadPool, DealsEveryItemOnce) {
  for (int threads = 1; threads <= 5; ++threads) {
    ThreadPool pool(threads);
    for (int count = 0; count <= 40; ++count) {
      std::vector<std::atomic<int>> calls(static_cast<std::size_t>(count));
      pool.deal(count, [&](int item) { ++calls[static_cast<std::size_t>(item)]; });
      for (const auto& call : calls) EXPECT_EQ(call, 1) << threads << " of " << count;
    }
  }
}

// The one who is held up has begun one item; others do the rest of its share.
TEST(ThreadPool, OneWhoIsHeldUpKeepsNothingButItsItemFromOthers) {
  constexpr int kItems = 12;
  for (const int held_up : {0, kItems / 2}) {
    ThreadPool pool(2);
    std::atomic<int> num_others = 0;
    bool others_went_on = false;
    pool.deal(kItems, [&](int item) {
      if (item != held_up) {
        ++num_others;
        return;
      }
      const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(30);
      while (num_others < kItems - 1 && std::chrono::steady_clock::now() < give_up) {
        std::this_thread::yield();
      }
      others_went_on = num_others == kItems - 1;
    });
    EXPECT_TRUE(others_went_on);
  }
}

TEST(ThreadPool, PinsTheCallerOnlyWhenToldTo) {
  expect_pinned_caller(Pinning::kOneCpuEach, true);
  expect_pinned_caller(Pinning::kNone, false);
}

TEST(ThreadPool, PinsNobodyUnlessAsked) {
  const ThreadPool pool(2);
  EXPECT_EQ(pool.num_pinned(), 0);
}

TEST(ThreadPool, IsDestroyedWithoutEverRunning) {
  const ThreadPool pool(4);
}

}  // namespace
}  // namespace tessera
