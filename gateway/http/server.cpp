#include "gateway/http/server.hpp"

#include <atomic>
#include <exception>
#include <functional>
#include <optional>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "gateway/http/address.hpp"
#include "gateway/http/header_guard.hpp"
#include "gateway/http/sse.hpp"
#include "storage/log.hpp"

namespace tessera {
namespace {

using SteadyClock = std::chrono::steady_clock;

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

constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";

// Bytes without a meaning, for a client that may be gone: then its kernel refuses them, and
// Connection::watch_peer() hears of it. HTTP/1.0 has none before the answer's head.
std::string probe(bool head_sent, const Framing& framing) {
  if (head_sent) return frame_piece(kSseHeartbeat, framing);
  return framing.http_1_0 ? "" : std::string(kContinue);
}

Error client_gone() {
  return {Code::kRequestTimeout, "The client is gone."};
}
// The kind of work that is still to be done before there is an answer; null if it is another.
template <class Work>
std::unique_ptr<Work>* later(Result<Reply>& reply) {
  return reply ? std::get_if<std::unique_ptr<Work>>(&*reply) : nullptr;
}

void log_stray_exception(const std::exception_ptr& thrown) {
  if (!thrown) return;
  try {
    std::rethrow_exception(thrown);
  } catch (const std::exception& exception) {
    log_error("session_failed", {{"reason", exception.what()}});
  }
}

}  // namespace

Server::Server(net::io_context& io, Platform& platform, std::span<const Route> routes,
               const ListenerPolicy& policy)
    : io_(io),
      platform_(platform),
      routes_(routes),
      policy_(policy),
      places_(std::make_shared<ConnectionPlaces>(policy.max_connections,
                                                 policy.max_connections_of_address)),
      acceptor_(net::make_strand(io)) {}

Result<std::string> Server::listen(const std::string& address) {
  const auto endpoint = parse_address(address);
  if (!endpoint) return endpoint.error();
  boost::system::error_code error;
  acceptor_.open(endpoint->protocol(), error);
  if (!error) acceptor_.set_option(net::ip::tcp::acceptor::reuse_address(true), error);
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
    auto strand = net::make_strand(io_);
    auto [error, socket] = co_await acceptor_.async_accept(strand, kTuple);
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
    net::co_spawn(strand, session(std::move(socket), std::move(address), std::move(place)),
                  log_stray_exception);
  }
}

// Null if there is none.
Server::Place Server::place_of(const std::string& address) {
  const IpSet& proxies = platform_.config.trusted_proxies;
  const bool speaks_for_many = !proxies.empty() && proxies.contains(address);
  return places_->enter(speaks_for_many ? std::string() : address);
}

net::awaitable<void> Server::session(net::ip::tcp::socket socket, std::string address, Place) {
  const Gauge open(platform_.metrics.connections);
  Peer peer(connect(std::move(socket)), std::move(address));
  const Connection::Deadline deadline = SteadyClock::now() + policy_.head_timeout;
  const IoStatus greeted = co_await peer.connection->handshake(deadline);
  bool go_on = greeted == IoStatus::kOk;
  while (go_on) go_on = co_await serve_one(peer);
  co_await peer.connection->close();
}

std::unique_ptr<Connection> Server::connect(net::ip::tcp::socket socket) const {
  if (!policy_.tls) return make_tcp_connection(std::move(socket));
  return make_tls_connection(std::move(socket), policy_.tls->current());
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
  if (!body_read || platform_.draining) exchange.framing.keep_alive = false;

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
    const IoStatus status = co_await read_more(peer, deadline);
    if (status == IoStatus::kOk) continue;
    if (status == IoStatus::kClosed || !begun) co_return std::string();
    co_return Error{Code::kRequestTimeout, "The request's header did not arrive in time."};
  }
}

net::awaitable<IoStatus> Server::read_more(Peer& peer, Connection::Deadline deadline) {
  const std::size_t before = peer.received.size();
  peer.received.resize(before + kReadBytes);
  const std::span<char> room(peer.received.data() + before, kReadBytes);
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

// From the head to the handler's reply.
net::awaitable<Result<Reply>> Server::run_request(Peer& peer, Exchange& exchange,
                                                  const std::string& head) {
  if (auto opened = open_request(platform_, routes_, head, exchange); !opened) {
    co_return opened.error();
  }
  const Result<void> invited = co_await invite_body(peer, exchange);
  if (!invited) co_return invited.error();
  const bool upload = exchange.stage != nullptr;
  if (upload) {
    const Result<void> staged = co_await stage_body(peer, exchange);
    if (!staged) {
      co_await drop_stage(exchange);
      co_return staged.error();
    }
  } else {
    const Result<void> body = co_await read_body(peer, exchange);
    if (!body) co_return body.error();
    exchange.call.request.body = exchange.parser.take_body();
  }

  if (policy_.quick_handlers) co_return call_handler(platform_, exchange);
  Result<Reply> reply = Error{};
  std::function<void()> job = [this, &exchange, &reply] {
    reply = call_handler(platform_, exchange);
  };
  Workers& workers = upload ? *platform_.upload_workers : *platform_.workers;
  co_await workers.run(std::move(job));
  for (;;) {
    if (auto* deferred = later<Deferred>(reply)) {
      reply = co_await run_deferred(peer, std::move(*deferred));
    } else if (auto* awaited = later<Awaited>(reply)) {
      reply = co_await run_awaited(peer, std::move(*awaited));
    } else {
      break;
    }
  }
  keep_answer(platform_, exchange, reply);
  co_return reply;
}

// Not begun for a client that has gone meanwhile.
net::awaitable<Result<Reply>> Server::run_deferred(Peer& peer, std::unique_ptr<Deferred> deferred) {
  const auto gone = std::make_shared<std::atomic<bool>>(false);
  peer.connection->watch_peer([gone](PeerNews news) {
    if (news == PeerNews::kGone) gone->store(true, std::memory_order_relaxed);
  });
  Result<Reply> reply = client_gone();
  std::function<void()> job = [&] {
    if (!gone->load(std::memory_order_relaxed)) reply = call_deferred(*deferred);
  };
  co_await deferred->workers.run(std::move(job));
  peer.connection->stop_watching();
  co_return reply;
}

// Waits until there is something to take, the deadline passes or the client goes.
net::awaitable<Result<Reply>> Server::run_awaited(Peer& peer, std::unique_ptr<Awaited> awaited) {
  const net::any_io_executor executor = co_await net::this_coro::executor;
  const auto wakeup = std::make_shared<Wakeup>(executor);
  bool gone = false;
  peer.connection->watch_peer([&gone, wakeup](PeerNews news) {
    gone = gone || news == PeerNews::kGone;
    wakeup->wake();
  });
  awaited->start([wakeup] { wakeup->wake(); });
  while (!gone && !awaited->ready() && SteadyClock::now() < awaited->deadline()) {
    wakeup->timer.expires_at(awaited->deadline());
    co_await wakeup->timer.async_wait(kTuple);
  }
  peer.connection->stop_watching();
  Result<Reply> reply = client_gone();
  std::function<void()> job = [&] {
    if (gone) {
      awaited->abandon();
    } else {
      reply = take_awaited(*awaited);
    }
    awaited.reset();  // and with it, perhaps, large files
  };
  co_await platform_.upload_workers->run(std::move(job));
  co_return reply;
}

net::awaitable<bool> Server::send(Peer& peer, Exchange& exchange, HttpResponse response) {
  add_common_headers(platform_, exchange, response);
  note_answered(platform_, exchange, response.status);
  if (response.pieces) {
    const bool whole = co_await send_pieces(peer, exchange, response);
    co_return whole;
  }
  const std::string bytes = serialize(response, exchange.framing);
  const IoStatus status = co_await peer.connection->write(bytes);
  if (status != IoStatus::kOk) co_return false;
  if (!response.source || exchange.framing.omit_body) co_return true;
  const bool sent = co_await send_source(peer, *response.source);
  co_return sent;
}

// Runs a generation to its end, whether the client stays or not; false if it did not stay.
net::awaitable<bool> Server::generate(Peer& peer, Exchange& exchange, Generation& generation) {
  const net::any_io_executor executor = co_await net::this_coro::executor;
  const auto wakeup = std::make_shared<Wakeup>(executor);
  if (auto started = generation.start([wakeup] { wakeup->wake(); }); !started) {
    HttpResponse refusal = error_answer(started.error(), exchange);
    const bool sent = co_await send(peer, exchange, std::move(refusal));
    co_return sent;
  }
  if (generation.streaming() && exchange.framing.http_1_0) exchange.framing.keep_alive = false;
  Audience audience;
  const auto leave = [&audience, &generation] {
    audience.gone = true;
    generation.abandon();
  };
  peer.connection->watch_peer([&audience, leave, wakeup](PeerNews news) {
    if (news == PeerNews::kGone) return leave();
    audience.in_doubt = true;
    wakeup->wake();
  });
  bool finished = false;
  while (!finished) {
    const Generation::Progress progress = co_await next_progress(generation, *wakeup, audience);
    finished = progress.finished;
    const std::string out = bytes_for(audience, exchange, generation, progress);
    if (out.empty()) continue;
    const IoStatus status = co_await peer.connection->write(out);
    if (status != IoStatus::kOk && !audience.gone) leave();
  }
  peer.connection->stop_watching();
  if (audience.gone || audience.head_sent) {
    note_answered(platform_, exchange, audience.gone ? kClientClosedRequest : 200);
    co_return !audience.gone;
  }
  HttpResponse whole = generation.whole_answer();
  const bool sent = co_await send(peer, exchange, std::move(whole));
  co_return sent;
}

// What has come, or a heartbeat if nothing has for a while; nothing if the client is in doubt.
net::awaitable<Generation::Progress> Server::next_progress(Generation& generation, Wakeup& wakeup,
                                                           const Audience& audience) {
  wakeup.timer.expires_after(kHeartbeat);
  for (;;) {
    Generation::Progress progress = generation.poll();
    if (progress.finished || !progress.bytes.empty() || audience.in_doubt) co_return progress;
    auto [woken] = co_await wakeup.timer.async_wait(kTuple);  // an aborted wait: look again
    if (woken) continue;
    progress.bytes = kSseHeartbeat;
    co_return progress;
  }
}

// What goes out now. A stream's head goes with its first bytes, so that a failure before them is a
// real status; an answer that is sent whole is not sent yet.
std::string Server::bytes_for(Audience& audience, const Exchange& exchange,
                              const Generation& generation, const Generation::Progress& progress) {
  const bool in_doubt = std::exchange(audience.in_doubt, false);
  if (audience.gone) return {};
  const bool whole = !generation.streaming() || (generation.failure() && !audience.head_sent);
  if (whole || progress.bytes.empty()) {
    return in_doubt && !progress.finished ? probe(audience.head_sent, exchange.framing) : "";
  }
  std::string out;
  if (!audience.head_sent) {
    HttpResponse head = generation.stream_head();
    add_common_headers(platform_, exchange, head);
    out = serialize_stream_head(head, exchange.framing);
    audience.head_sent = true;
  }
  out += frame_piece(progress.bytes, exchange.framing);
  if (progress.finished) out += frame_end(exchange.framing);
  return out;
}

}  // namespace tessera
