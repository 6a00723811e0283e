// connection.hpp — a socket with its protocol erased: read some bytes, write all bytes, by when.
//
// The session loop is compiled once against this interface, whatever carries the bytes (TCP today,
// TLS later); virtual calls cost nothing beside a system call, and Beast's write templates are what
// makes such code slow to compile. Deadlines are real time, not a Clock's: they concern the
// network.
//
// Owned by its session and used on the session's loop only. At most one read or write is pending.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/context.hpp>

namespace tessera {

namespace net = boost::asio;

enum class IoStatus : unsigned char { kOk, kClosed, kTimedOut };

// What a read brought. (It has a constructor because g++ 12 destroys aggregate temporaries twice
// when they stand in an expression with co_await.)
struct ReadResult {
  ReadResult(IoStatus read_status, std::size_t read_bytes)
      : status(read_status), bytes(read_bytes) {}

  IoStatus status;
  std::size_t bytes;  // > 0 if kOk
};

// What is heard of a peer that is not being read from.
enum class PeerNews : unsigned char {
  kEnded,  // it sends no more; whether it still reads, only bytes that are sent to it can tell
  kGone,   // it reads no more
};

class Connection {
 public:
  using Deadline = std::chrono::steady_clock::time_point;

  virtual ~Connection() = default;

  // First of all; what follows is for connections whose handshake was kOk.
  virtual net::awaitable<IoStatus> handshake(Deadline) { co_return IoStatus::kOk; }
  // Whether the peer has shown a certificate that the server believes.
  virtual bool has_client_certificate() const { return false; }

  // Reads at least one byte into `buffer`. After kTimedOut the connection can still be written to.
  virtual net::awaitable<ReadResult> read_some(std::span<char> buffer, Deadline deadline) = 0;

  // Writes all of `bytes`, which stay alive until then; waits as long as the peer takes some of
  // them within every `write_timeout`. After anything but kOk the connection is of no more use;
  // after kTimedOut it is closed, with a reset, so that the kernel keeps nothing for the peer.
  virtual net::awaitable<IoStatus> write(std::string_view bytes) = 0;

  // While an answer is generated nobody reads; this notices when the peer goes away meanwhile. A
  // peer that closes its socket and one that only has nothing more to send look alike (a FIN),
  // until something is written: the kernel of the former answers with a reset. `heard` is called on
  // the loop, at most once with either news. A peer that sends its next request instead is kGone
  // only once it resets. stop_watching() ends it; `heard` is not called afterwards.
  virtual void watch_peer(std::function<void(PeerNews)> heard) = 0;
  virtual void stop_watching() = 0;

  // No more bytes will be written; the peer reads end of file.
  virtual void shutdown_send() = 0;
  // Says goodbye, if the protocol has a word for it; within kLingerTimeout. Last of all.
  virtual net::awaitable<void> close() { co_return; }
};

// Closes the socket with a reset: what the peer has not taken goes with it.
void close_with_reset(net::ip::tcp::socket& socket);

std::unique_ptr<Connection> make_tcp_connection(net::ip::tcp::socket socket,
                                                std::chrono::milliseconds write_timeout);
// tls_connection.cpp
std::unique_ptr<Connection> make_tls_connection(net::ip::tcp::socket socket,
                                                std::shared_ptr<net::ssl::context> context,
                                                std::chrono::milliseconds write_timeout);

}  // namespace tessera
