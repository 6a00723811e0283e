// server_replies.cpp — from a request's head to what its handler says in the end, and the sending
// of answers that are there.
#include <atomic>
#include <functional>
#include <memory>
#include <utility>
#include <variant>

#include "gateway/http/server.hpp"

namespace tessera {
namespace {

using SteadyClock = std::chrono::steady_clock;

Error client_gone() {
  return {Code::kRequestTimeout, "The client is gone."};
}
// The kind of work that is still to be done before there is an answer; null if it is another.
template <class Work>
std::unique_ptr<Work>* later(Result<Reply>& reply) {
  return reply ? std::get_if<std::unique_ptr<Work>>(&*reply) : nullptr;
}

}  // namespace

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

  Result<Reply> reply = Error{};
  if (policy_.quick_handlers || is_brief(exchange)) {
    reply = call_handler(platform_, exchange);
  } else {
    std::function<void()> job = [this, &exchange, &reply] {
      reply = call_handler(platform_, exchange);
    };
    Workers& workers = upload ? *platform_.upload_workers : *platform_.workers;
    co_await workers.run(std::move(job));
  }
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
  const std::shared_ptr<Wakeup> wakeup = peer.wakeup;
  bool gone = false;
  peer.connection->watch_peer([&gone, wakeup](PeerNews news) {
    gone = gone || news == PeerNews::kGone;
    wakeup->wake();
  });
  awaited->start([wakeup] { wakeup->wake(); });
  while (!gone && !awaited->ready() && SteadyClock::now() < awaited->deadline()) {
    co_await wakeup->wait_until(awaited->deadline());
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

}  // namespace tessera
