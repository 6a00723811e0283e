// tls_connection.cpp — a Connection over TLS.
//
// The stream outlives the connection for as long as a read of the watch is pending: an operation of
// Asio's TLS stream touches the stream once more when it is cancelled.
#include <algorithm>
#include <array>
#include <memory>
#include <utility>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/ssl/error.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "gateway/config.hpp"
#include "gateway/http/connection.hpp"

namespace tessera {
namespace {

namespace ssl = net::ssl;

constexpr auto kTuple = net::as_tuple(net::use_awaitable);

IoStatus status_of(const boost::system::error_code& error, bool expired) {
  if (!error) return IoStatus::kOk;
  return expired ? IoStatus::kTimedOut : IoStatus::kClosed;
}

using Watch = std::function<void(PeerNews)>;

// What the connection shares with what is pending.
struct TlsState {
  TlsState(net::ip::tcp::socket socket, std::shared_ptr<ssl::context> tls)
      : context(std::move(tls)),
        stream(std::move(socket), *context),
        timer(stream.get_executor()),
        watch_ended(stream.get_executor()) {}

  void cancel() {
    boost::system::error_code ignored;
    stream.lowest_layer().cancel(ignored);
  }

  std::shared_ptr<ssl::context> context;
  ssl::stream<net::ip::tcp::socket> stream;
  net::steady_timer timer;
  // Bytes that came while the peer was watched; the next read takes them.
  std::array<char, 512> ahead;
  std::size_t ahead_size = 0;
  bool watching = false;          // a read of the watch is pending
  bool peer_ended = false;        // an end is read once: no event would tell of it again
  net::steady_timer watch_ended;  // cancelled when it is not any more
  std::shared_ptr<Watch> watch;   // null: nobody wants to know
};

using StatePtr = std::shared_ptr<TlsState>;

// Cancels what is pending on the socket at `deadline`, and says so in the flag that it returns.
std::shared_ptr<const bool> cancel_at(const StatePtr& state, Connection::Deadline deadline) {
  auto expired = std::make_shared<bool>(false);
  state->timer.expires_at(deadline);
  state->timer.async_wait([weak = std::weak_ptr(state),
                           flag = std::weak_ptr(expired)](const boost::system::error_code& error) {
    const auto pending = flag.lock();
    const auto alive = weak.lock();
    if (error || !pending || !alive) return;
    *pending = true;
    alive->cancel();
  });
  return expired;
}

// A reset is seen by the kernel alone.
void watch_for_reset(const StatePtr& state) {
  state->stream.lowest_layer().async_wait(
      net::ip::tcp::socket::wait_error,
      [watch = std::weak_ptr(state->watch)](const boost::system::error_code& error) {
        const auto alive = watch.lock();
        if (alive && !error) (*alive)(PeerNews::kGone);
      });
}

void watch_by_reading(const StatePtr& state) {
  state->watching = true;
  state->stream.async_read_some(
      net::buffer(state->ahead),
      [state](const boost::system::error_code& error, std::size_t count) {
        state->watching = false;
        state->ahead_size = count;
        state->peer_ended = error && error != net::error::operation_aborted;
        state->watch_ended.cancel();
        const auto watch = state->watch;
        if (!watch || error == net::error::operation_aborted) return;
        // The closing alert is an end of file; an end without one may be either.
        const bool ended = error == net::error::eof || error == ssl::error::stream_truncated;
        if (!error || ended) watch_for_reset(state);
        if (error) (*watch)(ended ? PeerNews::kEnded : PeerNews::kGone);
      });
}

class TlsConnection final : public Connection {
 public:
  TlsConnection(StatePtr state, std::chrono::milliseconds write_timeout)
      : state_(std::move(state)), write_timeout_(write_timeout) {
    boost::system::error_code ignored;
    state_->stream.lowest_layer().set_option(net::ip::tcp::no_delay(true), ignored);
  }
  ~TlsConnection() override {
    state_->watch.reset();
    boost::system::error_code ignored;
    state_->stream.lowest_layer().close(ignored);
  }

  net::awaitable<IoStatus> handshake(Deadline deadline) override {
    const std::shared_ptr<const bool> expired = cancel_at(state_, deadline);
    auto [error] = co_await state_->stream.async_handshake(ssl::stream_base::server, kTuple);
    open_ = !error;
    co_return status_of(error, *expired);
  }

  bool has_client_certificate() const override {
    const std::unique_ptr<X509, decltype(&X509_free)> certificate(
        SSL_get1_peer_certificate(const_cast<SSL*>(native())), X509_free);
    return certificate != nullptr && SSL_get_verify_result(native()) == X509_V_OK;
  }

  net::awaitable<ReadResult> read_some(std::span<char> buffer, Deadline deadline) override {
    const std::shared_ptr<const bool> expired = cancel_at(state_, deadline);
    while (state_->watching) {
      state_->watch_ended.expires_at(deadline);
      co_await state_->watch_ended.async_wait(kTuple);
      if (*expired) co_return ReadResult(IoStatus::kTimedOut, 0);
    }
    if (state_->ahead_size > 0) co_return take_ahead(buffer);
    if (state_->peer_ended) co_return ReadResult(IoStatus::kClosed, 0);
    const net::mutable_buffer target = net::buffer(buffer.data(), buffer.size());
    auto [error, count] = co_await state_->stream.async_read_some(target, kTuple);
    co_return ReadResult(status_of(error, *expired), count);
  }

  net::awaitable<IoStatus> write(std::string_view bytes) override {
    while (!bytes.empty()) {
      const std::shared_ptr<const bool> expired =
          cancel_at(state_, std::chrono::steady_clock::now() + write_timeout_);
      const net::const_buffer source = net::buffer(bytes.data(), bytes.size());
      auto [error, count] = co_await state_->stream.async_write_some(source, kTuple);
      if (error) {
        open_ = false;  // its state is unknown: no goodbye
        if (*expired) close_with_reset(state_->stream.next_layer());
        co_return status_of(error, *expired);
      }
      bytes.remove_prefix(count);
    }
    co_return IoStatus::kOk;
  }

  void watch_peer(std::function<void(PeerNews)> heard) override {
    state_->watch = std::make_shared<Watch>(std::move(heard));
    if (state_->ahead_size > 0 || state_->peer_ended) {
      watch_for_reset(state_);
      if (state_->peer_ended) (*state_->watch)(PeerNews::kEnded);
    } else if (!state_->watching) {
      watch_by_reading(state_);
    }
  }

  void stop_watching() override {
    state_->watch.reset();
    state_->cancel();
  }

  // Without the closing alert, for which a read would have to be pending: what has been sent says
  // itself where it ends.
  void shutdown_send() override {
    open_ = false;
    boost::system::error_code ignored;
    state_->stream.lowest_layer().shutdown(net::ip::tcp::socket::shutdown_send, ignored);
  }

  net::awaitable<void> close() override {
    if (!std::exchange(open_, false)) co_return;
    state_->cancel();
    while (state_->watching) {
      state_->watch_ended.expires_at(Deadline::max());
      co_await state_->watch_ended.async_wait(kTuple);
    }
    const std::shared_ptr<const bool> expired =
        cancel_at(state_, std::chrono::steady_clock::now() + kLingerTimeout);
    co_await state_->stream.async_shutdown(kTuple);
  }

 private:
  const SSL* native() const { return state_->stream.native_handle(); }

  ReadResult take_ahead(std::span<char> buffer) {
    const std::size_t count = std::min(buffer.size(), state_->ahead_size);
    std::copy_n(state_->ahead.begin(), count, buffer.begin());
    std::copy(state_->ahead.begin() + static_cast<std::ptrdiff_t>(count),
              state_->ahead.begin() + static_cast<std::ptrdiff_t>(state_->ahead_size),
              state_->ahead.begin());
    state_->ahead_size -= count;
    return {IoStatus::kOk, count};
  }

  StatePtr state_;
  const std::chrono::milliseconds write_timeout_;
  bool open_ = false;
};

}  // namespace

std::unique_ptr<Connection> make_tls_connection(net::ip::tcp::socket socket,
                                                std::shared_ptr<ssl::context> context,
                                                std::chrono::milliseconds write_timeout) {
  return std::make_unique<TlsConnection>(
      std::make_shared<TlsState>(std::move(socket), std::move(context)), write_timeout);
}

}  // namespace tessera
