#include "gateway/http/wakeup.hpp"

#include <utility>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace tessera {

namespace net = boost::asio;

Alarm::Alarm(const net::any_io_executor& loop, std::function<void()> rang)
    : state_(std::make_shared<State>(loop, std::move(rang))) {}

void Alarm::set(Time deadline) {
  state_->deadline = deadline;
  if (deadline < state_->armed_for) arm(state_);
}

void Alarm::arm(const std::shared_ptr<State>& state) {
  state->armed_for = state->deadline;
  state->timer.expires_at(state->deadline);  // an earlier wait ends with an error
  state->timer.async_wait([weak = std::weak_ptr(state)](const boost::system::error_code& error) {
    const auto alive = weak.lock();
    if (alive && !error) fired(alive);
  });
}

void Alarm::fired(const std::shared_ptr<State>& state) {
  state->armed_for = kNever;
  if (state->deadline == kNever) return;
  if (state->deadline > std::chrono::steady_clock::now()) return arm(state);
  state->deadline = kNever;
  state->rang();
}

void Wakeup::wake() {
  if (!is_woken_.exchange(true)) queue_->push(shared_from_this());
}

// The flag is cleared before whoever waits looks, so a wake after that comes anew.
void Wakeup::heard() {
  is_woken_.exchange(false);
  timer_.cancel();
}

net::awaitable<void> Wakeup::wait() {
  co_await timer_.async_wait(net::as_tuple(net::use_awaitable));
}

net::awaitable<void> Wakeup::wait_until(Alarm::Time deadline) {
  if (!alarm_) alarm_.emplace(executor_, [this] { timer_.cancel(); });
  alarm_->set(deadline);
  co_await timer_.async_wait(net::as_tuple(net::use_awaitable));
  alarm_->clear();
}

}  // namespace tessera
