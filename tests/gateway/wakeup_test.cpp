// Wakes from other threads, none of which may be lost, and deadlines that move.
#include "gateway/http/wakeup.hpp"

#include <atomic>
#include <thread>
#include <vector>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <gtest/gtest.h>

#include "gateway/http/io_loops.hpp"

namespace tessera {
namespace {

namespace net = boost::asio;
using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

// What one thread counts up and a coroutine follows, telling how far it has seen.
struct Counted {
  std::atomic<int> made = 0;
  std::atomic<int> seen = 0;
};

net::awaitable<void> follow(std::shared_ptr<Wakeup> wakeup, Counted& counted, int last,
                            std::chrono::seconds patience, int& num_late) {
  while (counted.seen < last) {
    const auto deadline = Clock::now() + patience;
    while (counted.made == counted.seen && Clock::now() < deadline) {
      co_await wakeup->wait_until(deadline);
    }
    if (counted.made == counted.seen) ++num_late;
    counted.seen = counted.made.load();
    counted.seen.notify_one();
  }
}

// Each wake is needed: the next comes only when the one before was heard.
TEST(Wakeup, LosesNoWakeHoweverTheyFall) {
  constexpr int kWakes = 20'000;
  IoLoops loops(1);
  net::io_context& loop = loops.next();
  Counted counted;
  int num_late = 0;
  const auto wakeup = std::make_shared<Wakeup>(loop.get_executor());
  net::co_spawn(loop, follow(wakeup, counted, kWakes, 10s, num_late), net::detached);
  loops.start();
  for (int i = 1; i <= kWakes; ++i) {
    counted.made = i;
    wakeup->wake();
    for (int seen = counted.seen; seen < i; seen = counted.seen) counted.seen.wait(seen);
  }
  loops.stop();
  EXPECT_EQ(num_late, 0) << "wakes that only a deadline made up for";
}

// And where they come faster than they are heard, the last one is heard.
TEST(Wakeup, HearsTheLastOfMany) {
  constexpr int kBursts = 500, kThreads = 3;
  IoLoops loops(1);
  net::io_context& loop = loops.next();
  Counted counted;
  int num_late = 0;
  const auto wakeup = std::make_shared<Wakeup>(loop.get_executor());
  net::co_spawn(loop, follow(wakeup, counted, kBursts * kThreads, 10s, num_late), net::detached);
  loops.start();
  {
    std::vector<std::jthread> threads;
    for (int thread = 0; thread < kThreads; ++thread) {
      threads.emplace_back([&] {
        for (int i = 0; i < kBursts; ++i) {
          ++counted.made;
          wakeup->wake();
        }
      });
    }
  }
  constexpr int kLast = kBursts * kThreads;
  for (int seen = counted.seen; seen < kLast; seen = counted.seen) counted.seen.wait(seen);
  loops.stop();
  EXPECT_EQ(num_late, 0);
}

net::awaitable<void> wait_once(std::shared_ptr<Wakeup> wakeup, Clock::time_point deadline,
                               bool& done) {
  co_await wakeup->wait_until(deadline);
  done = true;
}

TEST(Wakeup, WaitsNoLongerThanTheDeadline) {
  net::io_context loop;
  bool done = false;
  const auto deadline = Clock::now() + 20ms;
  const auto wakeup = std::make_shared<Wakeup>(loop.get_executor());
  net::co_spawn(loop, wait_once(wakeup, deadline, done), net::detached);
  while (!done && loop.run_one_for(10s) > 0) continue;
  EXPECT_TRUE(done);
  EXPECT_GE(Clock::now(), deadline);
}

// Whoever is woken often does not crowd out the others, and none of them is forgotten.
TEST(Wakeup, HearsAllThatOneThreadWakesAtOnce) {
  constexpr int kWakeups = 100, kRounds = 50;
  IoLoops loops(1);
  net::io_context& loop = loops.next();
  std::vector<Counted> counted(kWakeups);
  std::vector<std::shared_ptr<Wakeup>> wakeups;
  int num_late = 0;
  for (Counted& each : counted) {
    wakeups.push_back(std::make_shared<Wakeup>(loop.get_executor()));
    net::co_spawn(loop, follow(wakeups.back(), each, kRounds, 10s, num_late), net::detached);
  }
  loops.start();
  for (int round = 1; round <= kRounds; ++round) {
    for (int i = 0; i < kWakeups; ++i) {
      counted[static_cast<std::size_t>(i)].made = round;
      wakeups[static_cast<std::size_t>(i)]->wake();
    }
    for (Counted& each : counted) {
      for (int seen = each.seen; seen < round; seen = each.seen) each.seen.wait(seen);
    }
  }
  loops.stop();
  EXPECT_EQ(num_late, 0);
}

// A loop that goes while somebody is still to be woken on it.
TEST(Wakeup, OutlastsNoLoop) {
  std::weak_ptr<Wakeup> left;
  {
    net::io_context loop;
    const auto wakeup = std::make_shared<Wakeup>(loop.get_executor());
    left = wakeup;
    wakeup->wake();
  }
  EXPECT_TRUE(left.expired());
}

// Runs until the alarm has rung or nothing is left to be done.
struct Rung {
  net::io_context loop;
  int count = 0;
  Clock::time_point at = {};
  Alarm alarm{loop.get_executor(), [this] {
                ++count;
                at = Clock::now();
              }};
};

TEST(Alarm, RingsOnceWhenItsDeadlineHasPassed) {
  Rung rung;
  const auto deadline = Clock::now() + 20ms;
  rung.alarm.set(deadline);
  rung.loop.run_for(10s);
  EXPECT_EQ(rung.count, 1);
  EXPECT_GE(rung.at, deadline);
}

TEST(Alarm, RingsAtALaterDeadlineThoughTheTimerWasArmedForTheEarlierOne) {
  Rung rung;
  const auto later = Clock::now() + 40ms;
  rung.alarm.set(Clock::now() + 10ms);
  rung.alarm.set(later);
  rung.loop.run_for(10s);
  EXPECT_EQ(rung.count, 1);
  EXPECT_GE(rung.at, later);
}

TEST(Alarm, RingsAtAnEarlierDeadlineThoughTheTimerWasArmedForTheLaterOne) {
  Rung rung;
  rung.alarm.set(Clock::now() + 1h);
  rung.alarm.set(Clock::now() + 10ms);
  rung.loop.run_one_for(10s);  // the wait that was given up
  rung.loop.run_one_for(10s);
  EXPECT_EQ(rung.count, 1);
}

TEST(Alarm, IsSilentOnceCleared) {
  Rung rung;
  rung.alarm.set(Clock::now() + 10ms);
  rung.alarm.clear();
  rung.loop.run_for(10s);  // until its timer has fired
  EXPECT_EQ(rung.count, 0);
}

TEST(Alarm, IsSilentWhenItIsGone) {
  net::io_context loop;
  int count = 0;
  {
    Alarm alarm(loop.get_executor(), [&count] { ++count; });
    alarm.set(Clock::now());
  }
  loop.run_for(10s);
  EXPECT_EQ(count, 0);
}

TEST(IoLoops, GivesEachLoopAThreadOfItsOwn) {
  IoLoops loops(2);
  net::io_context& first = loops.next();
  net::io_context& second = loops.next();
  EXPECT_NE(&first, &second);
  EXPECT_EQ(&loops.next(), &first);
  loops.start();
  std::atomic<int> num_done = 0;
  std::thread::id ran_on[2];
  const auto note = [&](int loop) {
    ran_on[loop] = std::this_thread::get_id();
    ++num_done;
    num_done.notify_one();
  };
  net::post(first, [&] { note(0); });
  net::post(second, [&] { note(1); });
  for (int done = num_done; done < 2; done = num_done) num_done.wait(done);
  EXPECT_NE(ran_on[0], ran_on[1]);
}

}  // namespace
}  // namespace tessera
