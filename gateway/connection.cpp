#include "gateway/connection.hpp"

#include <utility>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core/tcp_stream.hpp>

#include "gateway/config.hpp"

namespace tessera {
namespace {

constexpr auto kTuple = net::as_tuple(net::use_awaitable);

IoStatus status_of(const boost::system::error_code& error) {
  if (!error) return IoStatus::kOk;
  return error == boost::beast::error::timeout ? IoStatus::kTimedOut : IoStatus::kClosed;
}

// Whether a socket that is ready to be read has nothing to read but its end.
bool at_end(net::ip::tcp::socket& socket) {
  char byte = 0;
  boost::system::error_code error;
  socket.non_blocking(true, error);
  if (error) return true;
  socket.receive(net::buffer(&byte, 1), net::ip::tcp::socket::message_peek, error);
  return error && error != net::error::would_block;
}

class TcpConnection final : public Connection {
 public:
  explicit TcpConnection(net::ip::tcp::socket socket) : stream_(std::move(socket)) {
    boost::system::error_code ignored;  // a socket that refuses the option still works
    stream_.socket().set_option(net::ip::tcp::no_delay(true), ignored);
  }

  net::awaitable<ReadResult> read_some(std::span<char> buffer, Deadline deadline) override {
    stream_.expires_at(deadline);
    const net::mutable_buffer target = net::buffer(buffer.data(), buffer.size());
    auto [error, count] = co_await stream_.async_read_some(target, kTuple);
    co_return ReadResult(status_of(error), count);
  }

  net::awaitable<IoStatus> write(std::string_view bytes) override {
    while (!bytes.empty()) {
      stream_.expires_after(kWriteTimeout);
      const net::const_buffer source = net::buffer(bytes.data(), bytes.size());
      auto [error, count] = co_await stream_.async_write_some(source, kTuple);
      if (error) co_return status_of(error);
      bytes.remove_prefix(count);
    }
    co_return IoStatus::kOk;
  }

  void watch_peer(std::function<void()> gone) override {
    watch_ = std::make_shared<std::function<void()>>(std::move(gone));
    stream_.socket().async_wait(
        net::ip::tcp::socket::wait_read,
        [this, watch = std::weak_ptr(watch_)](const boost::system::error_code& error) {
          const auto alive = watch.lock();  // it dies with this connection
          if (alive && !error && at_end(stream_.socket())) (*alive)();
        });
  }

  void stop_watching() override {
    watch_.reset();
    boost::system::error_code ignored;
    stream_.socket().cancel(ignored);
  }

  void shutdown_send() override {
    boost::system::error_code ignored;  // the peer may be gone already
    stream_.socket().shutdown(net::ip::tcp::socket::shutdown_send, ignored);
  }

 private:
  boost::beast::tcp_stream stream_;
  std::shared_ptr<std::function<void()>> watch_;  // null: nobody is watching
};

}  // namespace

std::unique_ptr<Connection> make_tcp_connection(net::ip::tcp::socket socket) {
  return std::make_unique<TcpConnection>(std::move(socket));
}

}  // namespace tessera
