#include "gateway/http/wakeup.hpp"

#include <utility>

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
  pause_.end();
}

net::awaitable<void> Wakeup::wait() {
  co_await pause_.wait();
}

net::awaitable<void> Wakeup::wait_until(Alarm::Time deadline) {
  if (!alarm_) alarm_.emplace(executor_, [this] { pause_.end(); });
  alarm_->set(deadline);
  co_await pause_.wait();
  alarm_->clear();
}

}  // namespace tessera
