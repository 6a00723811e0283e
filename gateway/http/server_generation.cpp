// server_generation.cpp — the session loop of a client whose answer is being generated.
#include <memory>
#include <string>
#include <utility>

#include "gateway/http/server.hpp"
#include "gateway/http/sse.hpp"

namespace tessera {
namespace {

using SteadyClock = std::chrono::steady_clock;

constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";

// Bytes without a meaning, for a client that may be gone: then its kernel refuses them, and
// Connection::watch_peer() hears of it. HTTP/1.0 has none before the answer's head.
std::string probe(bool head_sent, const Framing& framing) {
  if (head_sent) return frame_piece(kSseHeartbeat, framing);
  return framing.http_1_0 ? "" : std::string(kContinue);
}

}  // namespace

// Runs a generation to its end, whether the client stays or not; false if it did not stay.
net::awaitable<bool> Server::generate(Peer& peer, Exchange& exchange, Generation& generation) {
  const std::shared_ptr<Wakeup> wakeup = peer.wakeup;
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
  const Alarm::Time silent_until = SteadyClock::now() + policy_.heartbeat;
  for (;;) {
    Generation::Progress progress = generation.poll();
    if (progress.finished || !progress.bytes.empty() || audience.in_doubt) co_return progress;
    if (SteadyClock::now() >= silent_until) {
      progress.bytes = kSseHeartbeat;
      co_return progress;
    }
    co_await wakeup.wait_until(silent_until);
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
