#include "gateway/workers.hpp"

#include <atomic>
#include <memory>
#include <utility>

#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>

#include "gateway/http/wakeup.hpp"

namespace tessera {

namespace net = boost::asio;

net::awaitable<void> Workers::run(std::function<void()> job) {
  const net::any_io_executor executor = co_await net::this_coro::executor;
  const auto wakeup = std::make_shared<Wakeup>(executor);
  const auto done = std::make_shared<std::atomic<bool>>(false);
  net::post(pool_, [wakeup, done, work = std::move(job)] {
    work();
    done->store(true);
    wakeup->wake();
  });
  while (!done->load()) co_await wakeup->wait();
}

void Workers::post(std::function<void()> job) {
  net::post(pool_, std::move(job));
}

}  // namespace tessera
