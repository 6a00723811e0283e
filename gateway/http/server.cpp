#include "gateway/http/server.hpp"

#include <atomic>
#include <cerrno>
#include <exception>
#include <utility>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "gateway/http/address.hpp"
#include "gateway/http/header_guard.hpp"
#include "storage/log.hpp"

namespace tessera {
namespace {

using SteadyClock = std::chrono::steady_clock;

// Most requests are no larger than this, and each connection that waits for one holds as much.
constexpr std::size_t kHeadReadBytes = 2 * 1024;

constexpr auto kTuple = net::as_tuple(net::use_awaitable);

// Counts one up for as long as it lives.
class Gauge {
 public:
  explicit Gauge(std::atomic<int>& value) : value_(value) { ++value_; }
  ~Gauge() { --value_; }
  Gauge(const Gauge&) = delete;
  Gauge& operator=(const Gauge&) = delete;

 private:
  std::atomic<int>& value_;
};

// (An empty set is no restriction elsewhere; here it is nobody.)
bool is_among(const IpSet& proxies, const std::string& address) {
  return !proxies.empty() && proxies.contains(address);
}

void log_stray_exception(const std::exception_ptr& thrown) {
  if (!thrown) return;
  try {
    std::rethrow_exception(thrown);
  } catch (const std::exception& exception) {
    log_error("session_failed", {{"reason", exception.what()}});
  }
}

// Bounds what waits in the kernel to be sent; connections have it of their listener. A bound of the
// whole buffer (SO_SNDBUF) would count what is under way too, and slow down whoever is far away.
boost::system::error_code limit_unsent(net::ip::tcp::acceptor& acceptor) {
  const int bytes = kMaxUnsentBytes;
  const int done =
      setsockopt(acceptor.native_handle(), IPPROTO_TCP, TCP_NOTSENT_LOWAT, &bytes, sizeof(bytes));
  if (done == 0) return {};
  return {errno, boost::system::system_category()};
}

}  // namespace

Server::Server(IoLoops& loops, Platform& platform, std::span<const Route> routes,
               const ListenerPolicy& policy)
    : loops_(loops),
      platform_(platform),
      routes_(routes),
      policy_(policy),
      places_(std::make_shared<ConnectionPlaces>(policy.max_connections,
                                                 policy.max_connections_of_address)),
      acceptor_(loops.next()) {}

Result<std::string> Server::listen(const std::string& address) {
  const auto endpoint = parse_address(address);
  if (!endpoint) return endpoint.error();
  boost::system::error_code error;
  acceptor_.open(endpoint->protocol(), error);
  if (!error) acceptor_.set_option(net::ip::tcp::acceptor::reuse_address(true), error);
  if (!error) error = limit_unsent(acceptor_);
  if (!error) acceptor_.bind(*endpoint, error);
  if (!error) acceptor_.listen(net::ip::tcp::acceptor::max_listen_connections, error);
  if (error) return Error{Code::kIo, "Cannot listen on " + address + ": " + error.message() + "."};
  std::string bound = format_address(acceptor_.local_endpoint());
  net::co_spawn(acceptor_.get_executor(), accept_loop(), log_stray_exception);
  return bound;
}

void Server::stop_accepting() {
  net::post(acceptor_.get_executor(), [this] {
    boost::system::error_code ignored;
    acceptor_.close(ignored);
  });
}

net::awaitable<void> Server::accept_loop() {
  while (acceptor_.is_open()) {
    auto loop = loops_.next().get_executor();
    auto [error, socket] = co_await acceptor_.async_accept(loop, kTuple);
    if (error == net::error::operation_aborted) break;
    if (error) {
      // Out of file descriptors, most likely: give sessions time to end.
      log_warn("accept_failed", {{"reason", error.message()}});
      net::steady_timer pause(acceptor_.get_executor(), kAcceptPause);
      co_await pause.async_wait(kTuple);
      continue;
    }
    boost::system::error_code gone;
    const auto endpoint = socket.remote_endpoint(gone);
    if (gone) continue;
    std::string address = endpoint.address().to_string();
    Place place = place_of(address);
    if (!place) continue;  // closes the socket
    net::co_spawn(loop, session(std::move(socket), std::move(address), std::move(place)),
                  log_stray_exception);
  }
}

// Null if there is none.
Server::Place Server::place_of(const std::string& address) {
  const bool speaks_for_many = is_among(platform_.config.trusted_proxies, address) ||
                               is_among(policy_.proxy_protocol, address);
  return places_->enter(speaks_for_many ? std::string() : address);
}

net::awaitable<void> Server::session(net::ip::tcp::socket socket, std::string address,
                                     Place place) {
  const Gauge open(platform_.metrics.connections);
  const net::any_io_executor loop = socket.get_executor();
  if (is_among(policy_.proxy_protocol, address)) {
    const bool handed_on = co_await read_proxy_header(socket, address, place);
    if (!handed_on) co_return;
  }
  Peer peer(connect(std::move(socket)), std::move(address), loop);
  const Connection::Deadline deadline = SteadyClock::now() + policy_.head_timeout;
  const IoStatus greeted = co_await peer.connection->handshake(deadline);
  bool go_on = greeted == IoStatus::kOk;
  while (go_on) go_on = co_await serve_one(peer);
  co_await peer.connection->close();
}

std::unique_ptr<Connection> Server::connect(net::ip::tcp::socket socket) const {
  if (!policy_.tls) return make_tcp_connection(std::move(socket), policy_.write_timeout);
  return make_tls_connection(std::move(socket), policy_.tls->current(), policy_.write_timeout);
}

// Reads and answers one request. False if the connection is of no more use.
net::awaitable<bool> Server::serve_one(Peer& peer) {
  const Result<std::string> head = co_await read_head(peer);
  if (head && head->empty()) co_return false;  // the peer has nothing more to say

  const Gauge active(platform_.metrics.active_requests);
  Exchange exchange(platform_);
  exchange.peer_address = peer.address;
  exchange.has_client_certificate = peer.connection->has_client_certificate();
  Result<Reply> reply = Error{};
  if (head) {
    reply = co_await run_request(peer, exchange, *head);
  } else {
    reply = head.error();
  }
  if (!reply) drop_received_body(peer, exchange);
  const bool body_read = exchange.parser.done();
  if (!body_read || platform_.is_draining()) exchange.framing.keep_alive = false;

  bool sent = false;
  if (!reply) {
    HttpResponse response = error_answer(reply.error(), exchange);
    sent = co_await send(peer, exchange, std::move(response));
  } else if (auto* response = std::get_if<HttpResponse>(&*reply)) {
    sent = co_await send(peer, exchange, std::move(*response));
  } else if (auto* events = std::get_if<std::unique_ptr<EventStream>>(&*reply)) {
    sent = co_await send_events(peer, exchange, std::move(*events));
  } else {
    sent = co_await generate(peer, exchange, *std::get<std::unique_ptr<Generation>>(*reply));
  }
  if (sent && !body_read) co_await linger(peer);
  co_return sent&& exchange.framing.keep_alive;
}

// The head of the next request; "" if the peer ends or idles instead of sending one.
net::awaitable<Result<std::string>> Server::read_head(Peer& peer) {
  HeaderGuard guard(kMaxHeadBytes);
  Connection::Deadline deadline = SteadyClock::now() + policy_.idle_timeout;
  bool begun = false;
  for (;;) {
    const auto size = guard.find_head(peer.received);
    if (!size) co_return size.error();
    if (*size) {
      std::string head = peer.received.substr(0, **size);
      peer.received.erase(0, **size);
      co_return head;
    }
    if (!begun && !peer.received.empty()) {
      begun = true;
      deadline = SteadyClock::now() + policy_.head_timeout;
    }
    const IoStatus status = co_await read_more(peer, deadline, kHeadReadBytes);
    if (status == IoStatus::kOk) continue;
    if (status == IoStatus::kClosed || !begun) co_return std::string();
    co_return Error{Code::kRequestTimeout, "The request's header did not arrive in time."};
  }
}

net::awaitable<IoStatus> Server::read_more(Peer& peer, Connection::Deadline deadline,
                                           std::size_t bytes) {
  const std::size_t before = peer.received.size();
  peer.received.resize(before + bytes);
  const std::span<char> room(peer.received.data() + before, bytes);
  const ReadResult result = co_await peer.connection->read_some(room, deadline);
  peer.received.resize(before + result.bytes);
  co_return result.status;
}

// Lets the peer read a refusal before its unread body makes the kernel reset the connection.
net::awaitable<void> Server::linger(Peer& peer) {
  peer.connection->shutdown_send();
  const Connection::Deadline deadline = SteadyClock::now() + kLingerTimeout;
  for (std::size_t dropped = 0; dropped < kLingerBytes;) {
    peer.received.clear();
    const IoStatus status = co_await read_more(peer, deadline);
    if (status != IoStatus::kOk) break;
    dropped += peer.received.size();
  }
}

}  // namespace tessera
