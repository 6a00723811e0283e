#include "gateway/http/exchange.hpp"

#include <algorithm>
#include <exception>
#include <new>
#include <utility>

#include "gateway/api/rate_limits.hpp"
#include "gateway/http/error_body.hpp"
#include "gateway/http/header_guard.hpp"
#include "storage/log.hpp"

namespace tessera {
namespace {

// The key that a request shows: "Authorization: Bearer <key>", the scheme in any case.
std::string_view bearer_token(const Headers& headers) {
  constexpr std::string_view kScheme = "bearer ";
  const std::string_view value = header(headers, "authorization");
  if (to_lower(value.substr(0, kScheme.size())) != kScheme) return {};
  return trim(value.substr(kScheme.size()));
}

// The client's own name for the request, if it can be told back and logged: printable ASCII.
std::string_view client_request_id(const Headers& headers) {
  const std::string_view value = header(headers, "x-client-request-id");
  const bool printable = std::ranges::all_of(value, [](char c) { return c >= 0x20 && c < 0x7F; });
  return printable && value.size() <= kMaxClientRequestIdChars ? value : std::string_view();
}

// Who is asking, if the route's policy lets him.
Result<Caller> authorise(const Platform& platform, const Route& route, const Call& call) {
  if (route.access == Access::kPublic) return Caller{};
  auto caller =
      platform.directory->authenticate(bearer_token(call.request.headers), call.received_wall);
  if (!caller) return caller.error();
  if (auto allowed = check_access(route.access, *caller); !allowed) return allowed.error();
  return caller;
}

// What the head says about the body, which may have up to `max_bytes`.
Result<void> check_body(const Route& route, std::size_t max_bytes, const Exchange& exchange) {
  if (route.body != Body::kNone) {
    const std::string_view wanted =
        route.body == Body::kJson ? "application/json" : "multipart/form-data";
    if (media_type(header(exchange.call.request.headers, "content-type")) != wanted) {
      return Error{Code::kUnsupportedMediaType,
                   "Content-Type must be " + std::string(wanted) + "."};
    }
  }
  if (exchange.parser.content_length().value_or(0) <= max_bytes) return {};
  return Error{Code::kPayloadTooLarge,
               "The request's body is larger than " + std::to_string(max_bytes) + " bytes."};
}

// Exceptions become Errors.
template <class Work>
Result<Reply> guarded(const Work& work) {
  try {
    return work();
  } catch (const std::bad_alloc&) {
    return Error{Code::kServerIsOverloaded, "The server has no memory for this request."};
  } catch (const std::exception& exception) {
    return Error{Code::kInternalError, exception.what()};
  }
}

}  // namespace

Exchange::Exchange(const Platform& platform) {
  call.received_at = platform.clock.steady_now();
  call.received_wall = platform.clock.wall_now();
  call.id = RequestId("req_" + new_ulid(call.received_wall));
  framing.keep_alive = false;
}

Result<void> open_request(Platform& platform, std::span<const Route> routes, std::string_view head,
                          Exchange& exchange) {
  if (auto checked = check_head(head); !checked) return checked.error();
  auto request = exchange.parser.parse_head(head);
  if (!request) return request.error();
  exchange.framing = exchange.parser.framing();
  Call& call = exchange.call;
  call.request = *std::move(request);

  auto target = parse_target(call.request.target);
  if (!target) return target.error();
  call.target = *std::move(target);
  auto match = match_route(routes, call.request.method, call.target);
  if (!match) return match.error();
  const Route& route = *match->route;
  call.arguments = std::move(match->arguments);

  auto caller = authorise(platform, route, call);
  if (!caller) return caller.error();
  call.caller = *std::move(caller);
  exchange.route = &route;
  const std::size_t max_bytes =
      std::min(route.max_body_bytes, platform.bodies->max_bytes_of_tenant());
  if (auto checked = check_body(route, max_bytes, exchange); !checked) return checked.error();
  exchange.parser.set_body_limit(max_bytes);
  const bool upload = route.body == Body::kMultipart;
  exchange.body_share.emplace(*platform.bodies, call.caller.tenant,
                              upload ? BodyBudget::Kind::kUpload : BodyBudget::Kind::kSmall);
  if (!upload) return {};
  exchange.upload_slot = platform.uploads.enter(call.caller.tenant);
  if (exchange.upload_slot) return {};
  return Error{Code::kQueueFull, "Too many uploads are under way; try again shortly."};
}

Result<Reply> call_handler(Platform& platform, Exchange& exchange) {
  return guarded([&] {
    Result<Reply> reply = exchange.route->handler(platform, exchange.call);
    std::string().swap(exchange.call.request.body);  // a generation may still take long
    exchange.body_share.reset();
    return reply;
  });
}

Result<Reply> call_deferred(const Deferred& deferred) {
  return guarded(deferred.work);
}

HttpResponse error_answer(const Error& error, const Exchange& exchange) {
  HttpResponse response = error_response(error, exchange.call.id);
  if (error.code == Code::kMethodNotAllowed) response.headers.emplace_back("Allow", error.param);
  if (response.status == 500) {
    log_error("request_failed", {{"id", exchange.call.id.str()},
                                 {"code", to_string(error.code)},
                                 {"reason", error.message}});
  }
  return response;
}

void add_common_headers(Platform& platform, const Exchange& exchange, HttpResponse& response) {
  const Call& call = exchange.call;
  Headers& headers = response.headers;
  headers.emplace_back("X-Request-Id", call.id.str());
  const std::string_view client_id = client_request_id(call.request.headers);
  if (!client_id.empty()) headers.emplace_back("x-client-request-id", client_id);
  headers.emplace_back("openai-version", "2020-10-01");
  const auto elapsed = platform.clock.steady_now() - call.received_at;
  headers.emplace_back(
      "openai-processing-ms",
      std::to_string(std::chrono::duration_cast<std::chrono::milliseconds>(elapsed).count()));
  if (!call.caller.tenant.empty()) {
    headers.emplace_back("openai-project", call.caller.tenant.str());
  }
  if (exchange.route && exchange.route->access == Access::kInference) {
    add_rate_limit_headers(headers,
                           platform.admission.view(call.caller, platform.clock.steady_now()));
  }
}

void note_answered(Platform& platform, const Exchange& exchange, int status) {
  const auto hundreds = std::min<std::size_t>(static_cast<std::size_t>(status) / 100, 5);
  platform.metrics.responses[hundreds].fetch_add(1, std::memory_order_relaxed);
  if (exchange.route && exchange.route->access == Access::kPublic) return;  // a probe each second
  const Call& call = exchange.call;
  const auto elapsed = platform.clock.steady_now() - call.received_at;
  log_info("request", {{"id", call.id.str()},
                       {"client_id", client_request_id(call.request.headers)},
                       {"method", call.request.method},
                       {"route", exchange.route ? exchange.route->pattern : ""},
                       {"status", status},
                       {"tenant", call.caller.tenant.str()},
                       {"key", call.caller.key.str()},
                       {"ms", std::chrono::duration<double, std::milli>(elapsed).count()}});
}

}  // namespace tessera
