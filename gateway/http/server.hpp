// server.hpp — listeners, sessions, and the path of every request through them.
//
// The only coroutines of the house. A session is one connection, on the one thread of its loop; it
// reads one request at a time, so pipelined requests wait in its buffer and are answered in order:
//
//     head -> guard -> parser -> route -> key -> scope -> body -> handler -> answer
//
// A handler runs on a worker, unless it is known to be brief (is_brief() in exchange.hpp).
//
// A body goes to memory or, piece by piece, to disk (staged_body.hpp): while a worker writes a
// piece nothing is read, so a sender that is faster than the disk waits in its own kernel.
//
// Whatever is wrong on the way becomes an error answer with the request's id; if the body was not
// read to its end the connection is closed after it.
//
// g++ 12 destroys aggregate temporaries twice when they stand in an expression with co_await, so
// here every argument of a coroutine is a named object or has a constructor, and no lambda is one.
#pragma once

#include <chrono>
#include <memory>
#include <span>
#include <string>
#include <utility>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/ip/tcp.hpp>

#include "gateway/config.hpp"
#include "gateway/http/connection.hpp"
#include "gateway/http/connection_places.hpp"
#include "gateway/http/exchange.hpp"
#include "gateway/http/io_loops.hpp"
#include "gateway/http/tls_context.hpp"
#include "gateway/http/wakeup.hpp"
#include "gateway/platform.hpp"
#include "gateway/routes.hpp"

namespace tessera {

// How a listener treats those who connect to it.
struct ListenerPolicy {
  int max_connections = kMaxConnections;                      // further ones are closed
  int max_connections_of_address = kMaxConnectionsOfAddress;  // but for trusted proxies
  bool quick_handlers = false;  // they run on the session's loop, not on a worker
  std::chrono::milliseconds idle_timeout = kIdleTimeout;
  std::chrono::milliseconds head_timeout = kHeadTimeout;
  std::chrono::milliseconds body_grace = kBodyGrace;
  std::chrono::milliseconds write_timeout = kWriteTimeout;
  std::chrono::milliseconds heartbeat = kHeartbeat;
  const TlsContexts* tls = nullptr;  // null: plain TCP
  IpSet proxy_protocol = {};         // whose connections begin with a header (proxy_protocol.hpp)
};

// The operations listener answers however many clients the other one has, and whatever they ask.
inline ListenerPolicy ops_policy() {
  return {.max_connections = kMaxOpsConnections, .quick_handlers = true};
}

// One listener and its sessions. Owned by main; outlives the run of its loops.
class Server {
 public:
  Server(IoLoops& loops, Platform& platform, std::span<const Route> routes,
         const ListenerPolicy& policy = {});

  // Binds "host:port" (port 0: any) and begins to accept. Returns the address with the true port.
  // Errors: kInvalidValue if the address cannot be read; kIo if it cannot be bound.
  Result<std::string> listen(const std::string& address);

  // No new connections; those that are open go on. From any thread.
  void stop_accepting();

 private:
  // A connection and what has been received on it beyond the last request.
  struct Peer {
    Peer(std::unique_ptr<Connection> peer_connection, std::string peer_address,
         const net::any_io_executor& loop)
        : connection(std::move(peer_connection)),
          wakeup(std::make_shared<Wakeup>(loop)),
          address(std::move(peer_address)) {}

    std::unique_ptr<Connection> connection;
    const std::shared_ptr<Wakeup> wakeup;  // of whatever its request waits for
    const std::string address;             // an HTTP proxy's, if it is one
    std::string received;
  };

  // The client of a generation.
  struct Audience {
    bool head_sent = false;
    bool in_doubt = false;  // it has ended its side; whether it still reads is to be found out
    bool gone = false;
  };

  using Place = std::unique_ptr<ConnectionPlaces::Place>;

  net::awaitable<void> accept_loop();
  Place place_of(const std::string& address);
  net::awaitable<void> session(net::ip::tcp::socket socket, std::string address, Place place);
  // server_proxy.cpp
  net::awaitable<bool> read_proxy_header(net::ip::tcp::socket& socket, std::string& address,
                                         Place& place);
  std::unique_ptr<Connection> connect(net::ip::tcp::socket socket) const;
  net::awaitable<bool> serve_one(Peer& peer);
  net::awaitable<Result<std::string>> read_head(Peer& peer);
  net::awaitable<IoStatus> read_more(Peer& peer, Connection::Deadline deadline,
                                     std::size_t bytes = kReadBytes);
  net::awaitable<void> linger(Peer& peer);
  // server_bodies.cpp
  static net::awaitable<Result<void>> invite_body(Peer& peer, const Exchange& exchange);
  net::awaitable<Result<void>> read_body(Peer& peer, Exchange& exchange);
  net::awaitable<Result<void>> stage_body(Peer& peer, Exchange& exchange);
  net::awaitable<Result<void>> stage_piece(Exchange& exchange);
  net::awaitable<Result<void>> finish_stage(Exchange& exchange);
  net::awaitable<void> drop_stage(Exchange& exchange);
  static void drop_received_body(Peer& peer, Exchange& exchange);
  net::awaitable<bool> send_pieces(Peer& peer, Exchange& exchange, const HttpResponse& head);
  net::awaitable<bool> send_source(Peer& peer, const BodySource& source);
  // server_replies.cpp
  net::awaitable<Result<Reply>> run_request(Peer& peer, Exchange& exchange,
                                            const std::string& head);
  static net::awaitable<Result<Reply>> run_deferred(Peer& peer, std::unique_ptr<Deferred> deferred);
  net::awaitable<Result<Reply>> run_awaited(Peer& peer, std::unique_ptr<Awaited> awaited);
  net::awaitable<bool> send(Peer& peer, Exchange& exchange, HttpResponse response);
  // server_events.cpp
  net::awaitable<bool> send_events(Peer& peer, Exchange& exchange,
                                   std::unique_ptr<EventStream> stream);
  // server_generation.cpp
  net::awaitable<bool> generate(Peer& peer, Exchange& exchange, Generation& generation);
  net::awaitable<Generation::Progress> next_progress(Generation& generation, Wakeup& wakeup,
                                                     const Audience& audience);
  std::string bytes_for(Audience& audience, const Exchange& exchange, const Generation& generation,
                        const Generation::Progress& progress);

  IoLoops& loops_;
  Platform& platform_;
  std::span<const Route> routes_;
  ListenerPolicy policy_;
  std::shared_ptr<ConnectionPlaces> places_;
  net::ip::tcp::acceptor acceptor_;
};

}  // namespace tessera
