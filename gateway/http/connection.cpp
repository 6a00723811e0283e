#include "gateway/http/connection.hpp"

#include <optional>
#include <utility>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "gateway/config.hpp"

namespace tessera {
namespace {

constexpr auto kTuple = net::as_tuple(net::use_awaitable);

IoStatus status_of(const boost::system::error_code& error, bool expired) {
  if (!error) return IoStatus::kOk;
  return expired ? IoStatus::kTimedOut : IoStatus::kClosed;
}

// What a socket that is ready to be read has to tell, apart from bytes.
std::optional<PeerNews> news_of(net::ip::tcp::socket& socket) {
  char byte = 0;
  boost::system::error_code error;
  socket.non_blocking(true, error);
  if (!error) socket.receive(net::buffer(&byte, 1), net::ip::tcp::socket::message_peek, error);
  if (!error || error == net::error::would_block) return std::nullopt;
  return error == net::error::eof ? PeerNews::kEnded : PeerNews::kGone;
}

class TcpConnection final : public Connection {
 public:
  explicit TcpConnection(net::ip::tcp::socket socket)
      : socket_(std::move(socket)), timer_(socket_.get_executor()) {
    boost::system::error_code ignored;  // a socket that refuses the option still works
    socket_.set_option(net::ip::tcp::no_delay(true), ignored);
  }

  net::awaitable<ReadResult> read_some(std::span<char> buffer, Deadline deadline) override {
    const std::shared_ptr<const bool> expired = cancel_at(deadline);
    const net::mutable_buffer target = net::buffer(buffer.data(), buffer.size());
    auto [error, count] = co_await socket_.async_read_some(target, kTuple);
    co_return ReadResult(status_of(error, *expired), count);
  }

  net::awaitable<IoStatus> write(std::string_view bytes) override {
    while (!bytes.empty()) {
      const std::shared_ptr<const bool> expired =
          cancel_at(std::chrono::steady_clock::now() + kWriteTimeout);
      const net::const_buffer source = net::buffer(bytes.data(), bytes.size());
      auto [error, count] = co_await socket_.async_write_some(source, kTuple);
      if (error) co_return status_of(error, *expired);
      bytes.remove_prefix(count);
    }
    co_return IoStatus::kOk;
  }

  void watch_peer(std::function<void(PeerNews)> heard) override {
    watch_ = std::make_shared<Watch>(std::move(heard));
    socket_.async_wait(
        net::ip::tcp::socket::wait_read,
        [this, watch = std::weak_ptr(watch_)](const boost::system::error_code& error) {
          const auto alive = watch.lock();  // it dies with this connection
          if (!alive || error) return;
          const auto news = news_of(socket_);
          if (news != PeerNews::kGone) watch_for_reset();
          if (news) (*alive)(*news);
        });
  }

  void stop_watching() override {
    watch_.reset();
    boost::system::error_code ignored;
    socket_.cancel(ignored);
  }

  void shutdown_send() override {
    boost::system::error_code ignored;  // the peer may be gone already
    socket_.shutdown(net::ip::tcp::socket::shutdown_send, ignored);
  }

 private:
  using Watch = std::function<void(PeerNews)>;

  void watch_for_reset() {
    socket_.async_wait(net::ip::tcp::socket::wait_error,
                       [watch = std::weak_ptr(watch_)](const boost::system::error_code& error) {
                         const auto alive = watch.lock();
                         if (alive && !error) (*alive)(PeerNews::kGone);
                       });
  }

  // Cancels what is pending on the socket at `deadline`, and says so in the flag that it returns,
  // if somebody still holds that then. The socket stays open, so that the peer can be told.
  std::shared_ptr<const bool> cancel_at(Deadline deadline) {
    auto expired = std::make_shared<bool>(false);
    timer_.expires_at(deadline);
    timer_.async_wait(
        [this, flag = std::weak_ptr(expired)](const boost::system::error_code& error) {
          const auto pending = flag.lock();  // it dies with the read or write, that with this
          if (error || !pending) return;
          *pending = true;
          boost::system::error_code ignored;
          socket_.cancel(ignored);
        });
    return expired;
  }

  net::ip::tcp::socket socket_;
  net::steady_timer timer_;
  std::shared_ptr<Watch> watch_;  // null: nobody is watching
};

}  // namespace

std::unique_ptr<Connection> make_tcp_connection(net::ip::tcp::socket socket) {
  return std::make_unique<TcpConnection>(std::move(socket));
}

}  // namespace tessera
