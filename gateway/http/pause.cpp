#include "gateway/http/pause.hpp"

#include <utility>

#include <boost/asio/execution/context.hpp>
#include <boost/asio/execution_context.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/query.hpp>
#include <boost/intrusive/list.hpp>

namespace tessera {

namespace net = boost::asio;

// Those that wait on one loop. Each belongs to the coroutine that its own handler keeps alive, so
// somebody has to let go of them when the loop does not go on.
class Pauses final : public net::execution_context::service {
 public:
  using key_type = Pauses;
  static inline net::execution_context::id id;

  static Pauses& of(const net::any_io_executor& loop) {
    net::execution_context& context = net::query(loop, net::execution::context);
    return net::use_service<Pauses>(static_cast<net::io_context&>(context));
  }

  explicit Pauses(net::io_context& loop) : service(loop) {}

  void add(Pause& pause) { waiting_.push_back(pause); }

 private:
  void shutdown() override {
    while (!waiting_.empty()) waiting_.front().take().reset();
  }

  boost::intrusive::list<Pause, boost::intrusive::constant_time_size<false>> waiting_;
};

Pause::Pause(const net::any_io_executor& loop) : all_(Pauses::of(loop)) {}

net::awaitable<void> Pause::wait() {
  const auto begin = [this](Handler handler) {
    waiting_.emplace(std::move(handler));
    all_.add(*this);
  };
  return net::async_initiate<const net::use_awaitable_t<>, void()>(begin, net::use_awaitable);
}

void Pause::end() {
  if (auto handler = take()) std::move (*handler)();
}

// The handler, which nothing here refers to any more.
std::optional<Pause::Handler> Pause::take() {
  if (waiting_) unlink();
  return std::exchange(waiting_, std::nullopt);
}

}  // namespace tessera
