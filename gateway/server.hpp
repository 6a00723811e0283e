// server.hpp — listeners, sessions, and the path of every request through them.
//
// The only coroutines of the house. A session is one connection on its own strand; it reads one
// request at a time, so pipelined requests wait in its buffer and are answered in order:
//
//     head -> guard -> parser -> route -> key -> scope -> body -> handler (on a worker) -> answer
//
// Whatever is wrong on the way becomes an error answer with the request's id; if the body was not
// read to its end the connection is closed after it.
//
// g++ 12 destroys aggregate temporaries twice when they stand in an expression with co_await, so
// here every argument of a coroutine is a named object or has a constructor, and no lambda is one.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <utility>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>

#include "gateway/connection.hpp"
#include "gateway/exchange.hpp"
#include "gateway/platform.hpp"
#include "gateway/routes.hpp"
#include "gateway/wakeup.hpp"

namespace tessera {

// One listener and its sessions. Owned by main; outlives the run of its io context.
class Server {
 public:
  Server(net::io_context& io, Platform& platform, std::span<const Route> routes);

  // Binds "host:port" (port 0: any) and begins to accept. Returns the address with the true port.
  // Errors: kInvalidValue if the address cannot be read; kIo if it cannot be bound.
  Result<std::string> listen(const std::string& address);

  // No new connections; those that are open go on. From any thread.
  void stop_accepting();

 private:
  // A connection and what has been received on it beyond the last request.
  struct Peer {
    explicit Peer(std::unique_ptr<Connection> peer_connection)
        : connection(std::move(peer_connection)) {}

    std::unique_ptr<Connection> connection;
    std::string received;
  };

  net::awaitable<void> accept_loop();
  net::awaitable<void> session(net::ip::tcp::socket socket);
  net::awaitable<bool> serve_one(Peer& peer);

  net::awaitable<Result<std::string>> read_head(Peer& peer);
  net::awaitable<Result<void>> read_body(Peer& peer, Exchange& exchange);
  net::awaitable<IoStatus> read_more(Peer& peer, Connection::Deadline deadline);
  static void drop_received_body(Peer& peer, Exchange& exchange);
  net::awaitable<void> linger(Peer& peer);

  net::awaitable<Result<Reply>> run_request(Peer& peer, Exchange& exchange,
                                            const std::string& head);
  net::awaitable<bool> send(Peer& peer, Exchange& exchange, HttpResponse response);
  net::awaitable<bool> generate(Peer& peer, Exchange& exchange, Generation& generation);
  net::awaitable<Generation::Progress> next_progress(Generation& generation, Wakeup& wakeup);

  net::io_context& io_;
  Platform& platform_;
  std::span<const Route> routes_;
  net::ip::tcp::acceptor acceptor_;
};

}  // namespace tessera
