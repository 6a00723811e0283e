#include "gateway/http/woken_queue.hpp"

#include <cerrno>
#include <system_error>
#include <utility>

#include <sys/eventfd.h>
#include <unistd.h>

#include <boost/asio/buffer.hpp>
#include <boost/asio/execution/context.hpp>
#include <boost/asio/execution_context.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/query.hpp>

#include "gateway/http/wakeup.hpp"

namespace tessera {

namespace net = boost::asio;

namespace {

int make_bell() {
  const int bell = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (bell < 0) throw std::system_error(errno, std::generic_category(), "eventfd");
  return bell;
}

// How Asio keeps one of something for each loop.
class WokenService final : public net::execution_context::service {
 public:
  using key_type = WokenService;
  static inline net::execution_context::id id;

  explicit WokenService(net::io_context& loop)
      : service(loop), queue(std::make_shared<WokenQueue>(loop.get_executor())) {
    queue->listen();
  }

  const std::shared_ptr<WokenQueue> queue;

 private:
  void shutdown() override { queue->close(); }
};

}  // namespace

std::shared_ptr<WokenQueue> WokenQueue::of(const net::any_io_executor& loop) {
  net::execution_context& context = net::query(loop, net::execution::context);
  return net::use_service<WokenService>(static_cast<net::io_context&>(context)).queue;
}

WokenQueue::WokenQueue(const net::any_io_executor& loop)
    : bell_(std::in_place, loop, make_bell()) {}

void WokenQueue::push(std::shared_ptr<Wakeup> woken) {
  {
    const std::lock_guard lock(mutex_);
    if (is_closed_) return;
    woken_.push_back(std::move(woken));
    if (woken_.size() > 1) return;  // who came first rings
  }
  const std::uint64_t one = 1;
  // It fails if 2^64 - 2 rings were not heard yet; then it is ringing already.
  [[maybe_unused]] const auto written = ::write(bell_->native_handle(), &one, sizeof one);
}

void WokenQueue::listen() {
  bell_->async_read_some(
      net::buffer(&rung_, sizeof rung_),
      [self = weak_from_this()](const boost::system::error_code& error, std::size_t) {
        const auto queue = self.lock();
        if (queue && !error) queue->hear();
      });
}

void WokenQueue::hear() {
  listen();
  {
    const std::lock_guard lock(mutex_);
    heard_.swap(woken_);
  }
  for (const auto& wakeup : heard_) wakeup->heard();
  heard_.clear();
}

void WokenQueue::close() {
  std::vector<std::shared_ptr<Wakeup>> unheard;
  {
    const std::lock_guard lock(mutex_);
    is_closed_ = true;
    unheard.swap(woken_);
  }
  bell_.reset();
}

}  // namespace tessera
