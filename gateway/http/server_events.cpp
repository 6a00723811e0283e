// server_events.cpp — the session loop of a client that listens to events.
#include <chrono>
#include <memory>
#include <utility>

#include "gateway/http/server.hpp"
#include "gateway/http/sse.hpp"
#include "gateway/http/wakeup.hpp"

namespace tessera {
namespace {

HttpResponse stream_head() {
  HttpResponse head;
  head.headers.emplace_back("Content-Type", "text/event-stream; charset=utf-8");
  head.headers.emplace_back("Cache-Control", "no-cache");
  head.headers.emplace_back("X-Accel-Buffering", "no");
  return head;
}

}  // namespace

// Sends what happens until the stream ends; false if the client left before. The head goes at once:
// whoever has read it misses nothing from then on.
net::awaitable<bool> Server::send_events(Peer& peer, Exchange& exchange,
                                         std::unique_ptr<EventStream> stream) {
  const std::shared_ptr<Wakeup> wakeup = peer.wakeup;
  stream->start([wakeup] { wakeup->wake(); });
  if (exchange.framing.http_1_0) exchange.framing.keep_alive = false;
  HttpResponse head = stream_head();
  add_common_headers(platform_, exchange, head);
  note_answered(platform_, exchange, head.status);
  std::string out = serialize_stream_head(head, exchange.framing);
  bool gone = exchange.framing.omit_body;
  if (gone) {
    const IoStatus status = co_await peer.connection->write(out);
    co_return status == IoStatus::kOk;
  }
  // One that has ended its side may still read; a comment finds out.
  bool in_doubt = false;
  peer.connection->watch_peer([&gone, &in_doubt, wakeup](PeerNews news) {
    (news == PeerNews::kGone ? gone : in_doubt) = true;
    wakeup->wake();
  });
  while (!gone) {
    out += frame_piece(stream->take(), exchange.framing);
    const bool ended = stream->ended();
    if (ended) out += frame_end(exchange.framing);
    const IoStatus status = co_await peer.connection->write(out);
    out.clear();
    if (status != IoStatus::kOk) gone = true;
    if (gone || ended) break;
    const Alarm::Time silent_until = std::chrono::steady_clock::now() + policy_.heartbeat;
    std::string news = stream->take();
    while (!gone && news.empty() && !stream->ended()) {
      co_await wakeup->wait_until(silent_until);
      news = stream->take();
      const bool asked = std::exchange(in_doubt, false);
      const bool late = std::chrono::steady_clock::now() >= silent_until;
      if (news.empty() && (asked || late)) news = kSseHeartbeat;
    }
    if (!news.empty()) out = frame_piece(news, exchange.framing);
  }
  peer.connection->stop_watching();
  co_return !gone;
}

}  // namespace tessera
