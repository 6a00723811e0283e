// A coroutine that pauses goes on where it is told to, or goes with its loop.
#include "gateway/http/pause.hpp"

#include <memory>
#include <vector>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <gtest/gtest.h>

namespace tessera {
namespace {

namespace net = boost::asio;

struct Steps {
  explicit Steps(net::io_context& loop) : pause(loop.get_executor()) {}

  Pause pause;
  int num_taken = 0;
};

// Owns what it waits on, as a connection's does.
net::awaitable<void> take(std::shared_ptr<Steps> steps, int count) {
  for (int i = 0; i < count; ++i) {
    co_await steps->pause.wait();
    ++steps->num_taken;
  }
}

TEST(Pause, ItsCoroutineGoesOnBeforeItsEndReturns) {
  net::io_context loop;
  const auto steps = std::make_shared<Steps>(loop);
  steps->pause.end();  // nobody waits
  net::co_spawn(loop, take(steps, 3), net::detached);
  std::vector<int> seen;
  for (int i = 0; i < 4; ++i) {
    net::post(loop, [&] {
      steps->pause.end();
      seen.push_back(steps->num_taken);
    });
  }
  loop.run();
  EXPECT_EQ(seen, (std::vector<int>{1, 2, 3, 3}));
}

TEST(Pause, ItsCoroutineMayTakeItAlong) {
  net::io_context loop;
  auto steps = std::make_shared<Steps>(loop);
  const std::weak_ptr<Steps> left = steps;
  Pause& pause = steps->pause;
  net::co_spawn(loop, take(std::move(steps), 1), net::detached);
  net::post(loop, [&] { pause.end(); });
  loop.run();
  EXPECT_TRUE(left.expired());
}

TEST(Pause, WhatStillPausesGoesWithTheLoop) {
  std::vector<std::weak_ptr<Steps>> left;
  {
    net::io_context loop;
    for (int i = 0; i < 3; ++i) {
      auto steps = std::make_shared<Steps>(loop);
      left.push_back(steps);
      net::co_spawn(loop, take(std::move(steps), 1), net::detached);
    }
    loop.poll();
    for (const auto& steps : left) EXPECT_FALSE(steps.expired());
  }
  for (const auto& steps : left) EXPECT_TRUE(steps.expired());
}

}  // namespace
}  // namespace tessera
