// wakeup.hpp — how another thread wakes a coroutine, and how little that costs.
//
// The loop that the coroutine runs on hears of a wake between two of its steps (woken_queue.hpp),
// so after the wait has begun: it cannot be lost; a stale one only causes one more look at what was
// waited for. Wakes that come before the loop has heard the first are one. (Asio's channels are not
// used: in Boost 1.81 a cancelled receive leaves them broken, asio issue 1241.)
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <utility>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/steady_timer.hpp>

#include "gateway/http/pause.hpp"
#include "gateway/http/woken_queue.hpp"

namespace tessera {

// A deadline that moves often and seldom passes. The timer under it is armed again only if the
// deadline comes nearer, and otherwise looks again when it fires: of requests in a row none pays
// for a timer. Used on one loop, where `rang` is called when the deadline has passed, once.
class Alarm {
 public:
  using Time = std::chrono::steady_clock::time_point;

  Alarm(const boost::asio::any_io_executor& loop, std::function<void()> rang);

  void set(Time deadline);
  void clear() { set(kNever); }

 private:
  static constexpr Time kNever = Time::max();

  struct State {
    State(const boost::asio::any_io_executor& loop, std::function<void()> rang_function)
        : timer(loop), rang(std::move(rang_function)) {}

    boost::asio::steady_timer timer;
    const std::function<void()> rang;
    Time deadline = kNever;
    Time armed_for = kNever;  // when the timer fires
  };

  static void arm(const std::shared_ptr<State>& state);
  static void fired(const std::shared_ptr<State>& state);

  std::shared_ptr<State> state_;  // what the timer knows of does not outlive it
};

class Wakeup : public std::enable_shared_from_this<Wakeup> {
 public:
  explicit Wakeup(const boost::asio::any_io_executor& loop)
      : executor_(loop), queue_(WokenQueue::of(loop)), pause_(loop) {}

  // May be called from any thread.
  void wake();

  // On the loop: wait until woken; by the deadline in the second form, which may be missed by
  // nothing but a wake. What was waited for may or may not be there then.
  boost::asio::awaitable<void> wait();
  boost::asio::awaitable<void> wait_until(Alarm::Time deadline);

 private:
  friend class WokenQueue;

  void heard();  // on the loop

  const boost::asio::any_io_executor executor_;
  const std::shared_ptr<WokenQueue> queue_;
  Pause pause_;
  std::optional<Alarm> alarm_;
  std::atomic<bool> is_woken_ = false;
};

}  // namespace tessera
