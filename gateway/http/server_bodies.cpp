// server_bodies.cpp — the bodies of requests on their way in, and the long ones of answers on their
// way out: each piece is read, written or hashed by a worker, and none is there twice.
#include <functional>
#include <new>

#include "gateway/http/server.hpp"
#include "storage/json.hpp"
#include "storage/log.hpp"

namespace tessera {
namespace {

using SteadyClock = std::chrono::steady_clock;

constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";

Error client_gone() {
  return {Code::kRequestTimeout, "The client is gone."};
}
Error body_late() {
  return {Code::kRequestTimeout, "The request's body did not arrive in time."};
}

// A bomb of brackets shows in its first bytes: the others need not be read, nor a worker asked.
Result<void> check_beginning(std::string_view body) {
  constexpr std::size_t kLookedAtBytes = 1024;
  if (!nests_deeper(body.substr(0, kLookedAtBytes), kMaxInferenceJsonDepth)) return {};
  return Error{Code::kInvalidJson, "nested deeper than " + std::to_string(kMaxInferenceJsonDepth)};
}

Result<void> write_piece(BodyStage& stage, std::string_view piece) {
  try {
    return piece.empty() ? Result<void>() : stage.write(piece);
  } catch (const std::bad_alloc&) {
    return Error{Code::kServerIsOverloaded, "The server has no memory for this request."};
  }
}

Result<std::string> make_piece(PieceSource& source) {
  try {
    auto piece = source.next();
    if (!piece) log_error("answer_broken_off", {{"reason", piece.error().message}});
    return piece;
  } catch (const std::bad_alloc&) {
    return Error{Code::kServerIsOverloaded, "The server has no memory for this request."};
  }
}

Result<std::string> read_piece(const BodySource& source, std::uint64_t at) {
  try {
    auto piece = source.read(at, kStagePieceBytes);
    if (!piece) log_error("download_failed", {{"reason", piece.error().message}});
    return piece;
  } catch (const std::bad_alloc&) {
    return Error{Code::kServerIsOverloaded, "The server has no memory for this request."};
  }
}

}  // namespace

// Tells a client that waits for it to go on with its body.
net::awaitable<Result<void>> Server::invite_body(Peer& peer, const Exchange& exchange) {
  const std::string expected = to_lower(header(exchange.call.request.headers, "expect"));
  if (exchange.parser.done() || expected != "100-continue") co_return Result<void>();
  const IoStatus status = co_await peer.connection->write(kContinue);
  if (status != IoStatus::kOk) co_return client_gone();
  co_return Result<void>();
}

net::awaitable<Result<void>> Server::read_body(Peer& peer, Exchange& exchange) {
  RequestParser& parser = exchange.parser;
  const Connection::Deadline start = SteadyClock::now();
  std::size_t total = 0;
  bool looked_at = false;
  while (!parser.done()) {
    const auto used = parser.feed(peer.received);
    if (!used) co_return used.error();
    peer.received.erase(0, *used);
    total += *used;
    if (!exchange.body_share->hold(parser.body_bytes())) {
      co_return Error{Code::kServerIsOverloaded,
                      "The server holds as many requests as it can; try again shortly."};
    }
    if (parser.done()) break;
    if (!looked_at && parser.body_bytes() > 0) {
      looked_at = true;
      if (auto begun = check_beginning(parser.body()); !begun) co_return begun.error();
    }
    const std::chrono::seconds earned(total / kMinBodyBytesPerSecond);
    const IoStatus status = co_await read_more(peer, start + policy_.body_grace + earned);
    if (status == IoStatus::kOk) continue;
    co_return body_late();
  }
  co_return Result<void>();
}

// As read_body(), but memory holds a piece at a time. The disk's time is not the sender's.
net::awaitable<Result<void>> Server::stage_body(Peer& peer, Exchange& exchange) {
  RequestParser& parser = exchange.parser;
  Connection::Deadline start = SteadyClock::now();
  std::uint64_t total = 0;
  while (!parser.done()) {
    const auto used = parser.feed(peer.received);
    if (!used) co_return used.error();
    peer.received.erase(0, *used);
    total += *used;
    if (parser.done()) break;
    if (parser.body_bytes() >= kStagePieceBytes) {
      const Connection::Deadline before = SteadyClock::now();
      const Result<void> staged = co_await stage_piece(exchange);
      if (!staged) co_return staged.error();
      start += SteadyClock::now() - before;
    }
    const std::chrono::seconds earned(total / kMinBodyBytesPerSecond);
    const IoStatus status = co_await read_more(peer, start + policy_.body_grace + earned);
    if (status != IoStatus::kOk) co_return body_late();
  }
  const Result<void> finished = co_await finish_stage(exchange);
  co_return finished;
}

// Writes what the parser holds.
net::awaitable<Result<void>> Server::stage_piece(Exchange& exchange) {
  const std::string piece = exchange.parser.take_body();
  Result<void> staged;
  std::function<void()> job = [&] { staged = write_piece(*exchange.stage, piece); };
  co_await platform_.stage_workers->run(std::move(job));
  co_return staged;
}

// What had come of a body that is not wanted any more: removing a large file takes its time.
net::awaitable<void> Server::drop_stage(Exchange& exchange) {
  std::function<void()> job = [&] { exchange.stage.reset(); };
  co_await platform_.stage_workers->run(std::move(job));
}

net::awaitable<Result<void>> Server::finish_stage(Exchange& exchange) {
  const Result<void> staged = co_await stage_piece(exchange);
  if (!staged) co_return staged.error();
  Result<StagedBody> body = Error{};
  std::function<void()> job = [&] { body = exchange.stage->finish(); };
  co_await platform_.stage_workers->run(std::move(job));
  if (!body) co_return body.error();
  exchange.call.staged = *std::move(body);
  exchange.stage.reset();
  co_return Result<void>();
}

// After a refusal: a body that has arrived with its head is dropped, so that the connection can go
// on; one that is still to come is not waited for.
void Server::drop_received_body(Peer& peer, Exchange& exchange) {
  if (exchange.call.request.method.empty() || exchange.parser.done()) return;  // no head to trust
  const auto length = exchange.parser.content_length();
  if (length && *length > peer.received.size()) return;  // still to come, and not waited for
  exchange.parser.set_body_limit(kReadBytes);
  const auto used = exchange.parser.feed(peer.received);
  if (used) peer.received.erase(0, *used);
}

// An HTTP/1.0 client knows the end by the end of the connection.
net::awaitable<bool> Server::send_pieces(Peer& peer, Exchange& exchange, const HttpResponse& head) {
  if (exchange.framing.http_1_0) exchange.framing.keep_alive = false;
  const std::string bytes = serialize_stream_head(head, exchange.framing);
  IoStatus status = co_await peer.connection->write(bytes);
  if (status != IoStatus::kOk || exchange.framing.omit_body) co_return status == IoStatus::kOk;
  for (;;) {
    Result<std::string> piece = Error{};
    std::function<void()> job = [&] { piece = make_piece(*head.pieces); };
    co_await platform_.upload_workers->run(std::move(job));
    if (!piece) co_return false;
    const std::string framed =
        piece->empty() ? frame_end(exchange.framing) : frame_piece(*piece, exchange.framing);
    status = co_await peer.connection->write(framed);
    if (status != IoStatus::kOk || piece->empty()) co_return status == IoStatus::kOk;
  }
}

// A source that fails in its middle leaves an answer that is shorter than it was said to be; the
// connection is closed then, which tells the client.
net::awaitable<bool> Server::send_source(Peer& peer, const BodySource& source) {
  for (std::uint64_t at = 0; at < source.size();) {
    Result<std::string> piece = Error{};
    std::function<void()> job = [&] { piece = read_piece(source, at); };
    co_await platform_.upload_workers->run(std::move(job));
    if (!piece || piece->empty()) co_return false;
    const IoStatus status = co_await peer.connection->write(*piece);
    if (status != IoStatus::kOk) co_return false;
    at += piece->size();
  }
  co_return true;
}

}  // namespace tessera
