// exchange.hpp — one request and its answer: all that is decided about them without waiting.
//
// The session loop (server.cpp) reads, waits and writes; in between it asks here: may this head go
// on to a body, what does the handler say, which headers does every answer carry, what is logged.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string_view>

#include "gateway/http/http.hpp"
#include "gateway/http/request_parser.hpp"
#include "gateway/platform.hpp"
#include "gateway/routes.hpp"

namespace tessera {

// Owned by its session's loop.
struct Exchange {
  explicit Exchange(const Platform& platform);  // begins now, under a new id

  Call call;
  std::string peer_address;
  bool has_client_certificate = false;
  RequestParser parser;
  Framing framing;               // closes the connection until the head is understood
  const Route* route = nullptr;  // null until the caller may use it
  // Where the body goes: to disk, or to memory.
  std::unique_ptr<BodyStage> stage;
  std::shared_ptr<UploadSlots::Slot> upload_slot;  // beside a stage
  std::optional<BodyBudget::Share> body_share;     // while the body is in memory
  // Where the answer is to be kept, while this is the first request of its Idempotency-Key.
  std::optional<ContentDigest> idempotent_place;
};

// All that can be decided before the body: guard, parser, route, key, scope, media type, announced
// length, upload slot. Errors: what the answer has to say; the body is still unread then.
Result<void> open_request(Platform& platform, std::span<const Route> routes, std::string_view head,
                          Exchange& exchange);

// Whether the handler takes less time than handing it to a worker and back would: that of a small
// inference request. It makes the same checks wherever it runs, and waits for nobody; what it asks
// of the store is what a key has used this month, when the key is seen for the first time. A
// constraint that has to be compiled is a Deferred, for a worker.
inline constexpr std::size_t kBriefBodyBytes = 2 * 1024;
bool is_brief(const Exchange& exchange);

// What the route's handler says, or what it said to the same request before (idempotency.hpp); an
// exception becomes an Error. The body is gone then.
Result<Reply> call_handler(Platform& platform, Exchange& exchange);

// What the rest of it says.
Result<Reply> call_deferred(const Deferred& deferred);
Result<Reply> take_awaited(Awaited& awaited);

// Keeps what was said in the end, if the request may come again; nothing of a generation, which
// settles for itself.
void keep_answer(Platform& platform, Exchange& exchange, const Result<Reply>& reply);

HttpResponse error_answer(const Error& error, const Exchange& exchange);

// Adds the headers that every answer carries.
void add_common_headers(Platform& platform, const Exchange& exchange, HttpResponse& response);

// Counts and logs the answer. `status` is 499 if the client did not wait for it.
void note_answered(Platform& platform, const Exchange& exchange, int status);

}  // namespace tessera
