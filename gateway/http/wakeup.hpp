// wakeup.hpp — how another thread wakes a coroutine: by cancelling the timer that it waits on.
//
// wake() posts the cancel to the strand that the coroutine occupies, so it runs after the wait has
// begun and cannot be lost; a stale one only causes one more look at what was waited for. (Asio's
// channels are not used: in Boost 1.81 a cancelled receive leaves them broken, asio issue 1241.)
#pragma once

#include <memory>
#include <utility>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>

namespace tessera {

struct Wakeup : std::enable_shared_from_this<Wakeup> {
  explicit Wakeup(boost::asio::any_io_executor strand)
      : executor(std::move(strand)), timer(executor) {}

  // May be called from any thread.
  void wake() {
    boost::asio::post(executor, [self = shared_from_this()] { self->timer.cancel(); });
  }

  boost::asio::any_io_executor executor;
  boost::asio::steady_timer timer;  // touched on the strand only
};

}  // namespace tessera
