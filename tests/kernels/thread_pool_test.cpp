#include "kernels/cpu/thread_pool.hpp"

#include <atomic>
#include <numeric>
#include <vector>

#include <gtest/gtest.h>

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

TEST(ThreadPool, IsDestroyedWithoutEverRunning) {
  const ThreadPool pool(4);
}

}  // namespace
}  // namespace tessera
