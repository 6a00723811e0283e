#include "gateway/http/connection.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "gateway/config.hpp"
#include "gateway/http/pause.hpp"
#include "gateway/http/wakeup.hpp"

namespace tessera {
namespace {

constexpr auto kTuple = net::as_tuple(net::use_awaitable);

IoStatus status_of(const boost::system::error_code& error, bool expired) {
  if (!error) return IoStatus::kOk;
  return expired ? IoStatus::kTimedOut : IoStatus::kClosed;
}

// While an answer is made, the read for the next request is pending already: it notices when the
// peer goes, and costs nothing that the next request would not.
class TcpConnection final : public Connection {
 public:
  TcpConnection(net::ip::tcp::socket socket, std::chrono::milliseconds write_timeout)
      : socket_(std::move(socket)),
        write_timeout_(write_timeout),
        alarm_(socket_.get_executor(), [this] { expire(); }),
        ahead_ended_(socket_.get_executor()) {
    boost::system::error_code ignored;  // a socket that refuses the options still works
    socket_.set_option(net::ip::tcp::no_delay(true), ignored);
    socket_.non_blocking(true, ignored);
  }

  net::awaitable<ReadResult> read_some(std::span<char> buffer, Deadline deadline) override {
    begin(deadline);
    while (reading_ahead_) co_await ahead_ended_.wait();
    if (ahead_size_ > 0 || expired_ || peer_ended_) {
      alarm_.clear();
      co_return take_ahead(buffer);
    }
    const net::mutable_buffer target = net::buffer(buffer.data(), buffer.size());
    auto [error, count] = co_await socket_.async_read_some(target, kTuple);
    alarm_.clear();
    co_return ReadResult(status_of(error, expired_), count);
  }

  net::awaitable<IoStatus> write(std::string_view bytes) override {
    // Nearly always the kernel takes all of it at once, and there is nothing to wait for.
    boost::system::error_code refused;
    bytes.remove_prefix(socket_.write_some(net::buffer(bytes.data(), bytes.size()), refused));
    if (refused && refused != net::error::would_block) co_return IoStatus::kClosed;
    while (!bytes.empty()) {
      begin(std::chrono::steady_clock::now() + write_timeout_);
      const net::const_buffer source = net::buffer(bytes.data(), bytes.size());
      auto [error, count] = co_await socket_.async_write_some(source, kTuple);
      alarm_.clear();
      if (error) {
        if (expired_) close_with_reset(socket_);
        co_return status_of(error, expired_);
      }
      bytes.remove_prefix(count);
    }
    co_return IoStatus::kOk;
  }

  void watch_peer(std::function<void(PeerNews)> heard) override {
    watch_ = std::make_shared<Watch>(std::move(heard));
    if (ahead_size_ > 0 || peer_ended_) {
      watch_for_reset();
      if (peer_ended_) (*watch_)(PeerNews::kEnded);
    } else if (!reading_ahead_) {
      read_ahead();
    }
  }

  void stop_watching() override {
    watch_.reset();
    if (!std::exchange(watching_for_reset_, false)) return;
    boost::system::error_code ignored;
    socket_.cancel(ignored);
  }

  void shutdown_send() override {
    boost::system::error_code ignored;  // the peer may be gone already
    socket_.shutdown(net::ip::tcp::socket::shutdown_send, ignored);
  }

 private:
  using Watch = std::function<void(PeerNews)>;

  void read_ahead() {
    reading_ahead_ = true;
    socket_.async_read_some(net::buffer(ahead_),
                            [this, life = std::weak_ptr(life_)](
                                const boost::system::error_code& error, std::size_t count) {
                              if (life.expired()) return;
                              reading_ahead_ = false;
                              ahead_size_ = count;
                              peer_ended_ = error && error != net::error::operation_aborted;
                              if (error != net::error::operation_aborted) tell(error);
                              ahead_ended_.end();
                            });
  }

  // Whoever watches, how the read ahead has ended.
  void tell(const boost::system::error_code& error) {
    const auto watch = watch_;
    if (!watch) return;
    const bool ended = error == net::error::eof;
    if (!error || ended) watch_for_reset();
    if (error) (*watch)(ended ? PeerNews::kEnded : PeerNews::kGone);
  }

  ReadResult take_ahead(std::span<char> buffer) {
    const std::size_t count = std::min(buffer.size(), ahead_size_);
    if (count == 0) return {peer_ended_ ? IoStatus::kClosed : IoStatus::kTimedOut, 0};
    std::copy_n(ahead_.begin(), count, buffer.begin());
    std::copy(ahead_.begin() + static_cast<std::ptrdiff_t>(count),
              ahead_.begin() + static_cast<std::ptrdiff_t>(ahead_size_), ahead_.begin());
    ahead_size_ -= count;
    return {IoStatus::kOk, count};
  }

  void watch_for_reset() {
    watching_for_reset_ = true;
    socket_.async_wait(net::ip::tcp::socket::wait_error,
                       [watch = std::weak_ptr(watch_)](const boost::system::error_code& error) {
                         const auto alive = watch.lock();
                         if (alive && !error) (*alive)(PeerNews::kGone);
                       });
  }

  // A read or write that is cancelled at `deadline`, until the alarm is cleared. The socket stays
  // open then, so that the peer can be told.
  void begin(Deadline deadline) {
    expired_ = false;
    alarm_.set(deadline);
  }
  void expire() {
    expired_ = true;
    boost::system::error_code ignored;
    socket_.cancel(ignored);
  }

  net::ip::tcp::socket socket_;
  const std::chrono::milliseconds write_timeout_;
  Alarm alarm_;
  bool expired_ = false;         // the last read or write was
  std::array<char, 512> ahead_;  // bytes that have come already; the next read takes them
  std::size_t ahead_size_ = 0;
  bool reading_ahead_ = false;
  // An end is read once: Asio would wait for another event, and none comes.
  bool peer_ended_ = false;
  Pause ahead_ended_;             // while it is
  std::shared_ptr<Watch> watch_;  // null: nobody is watching
  bool watching_for_reset_ = false;
  const std::shared_ptr<char> life_ =
      std::make_shared<char>();  // ends before the socket's reads do
};

}  // namespace

// (A destructor would close it without one: Asio takes back what makes a close wait.)
void close_with_reset(net::ip::tcp::socket& socket) {
  boost::system::error_code ignored;  // the peer may be gone already
  socket.set_option(net::socket_base::linger(true, 0), ignored);
  socket.close(ignored);
}

std::unique_ptr<Connection> make_tcp_connection(net::ip::tcp::socket socket,
                                                std::chrono::milliseconds write_timeout) {
  return std::make_unique<TcpConnection>(std::move(socket), write_timeout);
}

}  // namespace tessera
