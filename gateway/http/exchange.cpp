#include "gateway/http/exchange.hpp"

#include <algorithm>
#include <array>
#include <exception>
#include <new>
#include <utility>

#include "gateway/api/rate_limits.hpp"
#include "gateway/http/client_address.hpp"
#include "gateway/http/error_body.hpp"
#include "gateway/http/header_guard.hpp"
#include "gateway/http/tenant_place.hpp"
#include "gateway/inference/key_charges.hpp"
#include "gateway/inference/lenient.hpp"
#include "storage/log.hpp"

namespace tessera {
namespace {

// The key that a request shows: "Authorization: Bearer <key>", the scheme in any case; or, where
// there is no such header and the configuration allows it, "api-key: <key>".
std::string_view bearer_token(const Headers& headers, const ServerConfig& config) {
  constexpr std::string_view kScheme = "bearer ";
  const std::string_view value = header(headers, "authorization");
  if (value.empty() && config.api_key_header) return trim(header(headers, "api-key"));
  if (to_lower(value.substr(0, kScheme.size())) != kScheme) return {};
  return trim(value.substr(kScheme.size()));
}

// The client's own name for the request, if it can be told back and logged: printable ASCII.
std::string_view client_request_id(const Headers& headers) {
  const std::string_view value = header(headers, "x-client-request-id");
  const bool printable = std::ranges::all_of(value, [](char c) { return c >= 0x20 && c < 0x7F; });
  return printable && value.size() <= kMaxClientRequestIdChars ? value : std::string_view();
}

// Whether `caller` may use the endpoint of the tenant of that slug.
bool is_place_of(const Platform& platform, const std::string& slug, const Caller& caller) {
  const auto snapshot = platform.directory->snapshot();
  const TenantEntry* entry = snapshot->find(caller.tenant);
  return entry && entry->tenant.slug == slug;
}

// A key of ours, or a token of the identity provider's; their forms have nothing in common.
Result<Caller> authenticate(const Platform& platform, std::string_view bearer, WallTime now) {
  if (!platform.oidc || !looks_like_token(bearer)) {
    return platform.directory->authenticate(bearer, now);
  }
  return platform.oidc->authenticate(bearer, {platform.clock.steady_now(), now});
}

// Tells the audit log of a request to an admin's route that showed no key or token that opens it.
// A worker writes it, for the disk takes its time.
void note_failed_login(Platform& platform, const std::string& address, const Call& call,
                       const Error& error) {
  const auto told = platform.login_failures.note(network_of(address), call.received_at);
  if (!told) return;
  AuditRecord record =
      new_audit_record("login.failed", KeyId(), TenantId(), *told, call.received_wall);
  record.reason = to_string(error.code);
  platform.stage_workers->post([&directory = *platform.directory, record = std::move(record)] {
    const auto written = directory.write_audited(Batch(), std::span(&record, 1));
    if (!written) log_error("audit_not_written", {{"reason", written.error().message}});
  });
}

// The caller of a key or token that may be used from `address`.
Result<Caller> identify(const Platform& platform, const std::string& address, const Call& call) {
  auto caller = authenticate(platform, bearer_token(call.request.headers, platform.config),
                             call.received_wall);
  if (!caller || caller->may_come_from(address)) return caller;
  return Error{Code::kIpNotAuthorized, "This API key may not be used from this address."};
}

// Who is asking, if the route's policy lets him.
Result<Caller> authorise(Platform& platform, const Route& route, const Exchange& exchange) {
  const Call& call = exchange.call;
  if (route.access == Access::kPublic) return Caller{};
  const std::string address =
      client_address(call.request.headers, exchange.peer_address, platform.config.trusted_proxies);
  auto caller = identify(platform, address, call);
  if (!caller) {
    if (route.access == Access::kAdmin) note_failed_login(platform, address, call, caller.error());
    return caller.error();
  }
  if (caller->is_admin && !platform.config.tls.client_ca.empty() &&
      !exchange.has_client_certificate) {
    return Error{Code::kInsufficientScope,
                 "Admin keys are accepted on connections with a client certificate only."};
  }
  if (!is_from_token(*caller)) {
    platform.key_uses->note(caller->tenant, caller->key, call.received_wall);
  }
  if (is_viewer(*caller) && route.access == Access::kAdmin && route.method == "GET") return caller;
  if (auto allowed = check_access(route.access, *caller); !allowed) return allowed.error();
  return caller;
}

constexpr std::string_view kJsonType = "application/json";
constexpr std::string_view kFormType = "multipart/form-data";

// What an archive may be called; what it is, its own bytes tell.
constexpr std::array<std::string_view, 5> kArchiveTypes = {"application/x-tar", "application/gzip",
                                                           "application/x-gzip", "application/zstd",
                                                           "application/zip"};

enum class Carrier : std::uint8_t { kMemory, kForm, kFile };

// Where a body of this type goes.
Result<Carrier> carrier_of(Body body, std::string_view type) {
  const bool form = type == kFormType;
  switch (body) {
    case Body::kNone:
      return Carrier::kMemory;
    case Body::kFile:
      return Carrier::kFile;
    case Body::kJson:
      if (type == kJsonType) return Carrier::kMemory;
      return Error{Code::kUnsupportedMediaType, "Content-Type must be application/json."};
    case Body::kForm:
      if (form) return Carrier::kForm;
      return Error{Code::kUnsupportedMediaType, "Content-Type must be multipart/form-data."};
    case Body::kPackage:
      break;
  }
  if (form) return Carrier::kForm;
  if (type == kJsonType) return Carrier::kMemory;
  if (std::ranges::find(kArchiveTypes, type) != kArchiveTypes.end()) return Carrier::kFile;
  return Error{Code::kUnsupportedMediaType,
               "Content-Type must be multipart/form-data, application/json, or that of an archive: "
               "application/x-tar, application/gzip, application/zstd or application/zip."};
}

Result<void> check_length(std::uint64_t max_bytes, const Exchange& exchange) {
  if (exchange.parser.content_length().value_or(0) <= max_bytes) return {};
  return Error{Code::kPayloadTooLarge,
               "The request's body is larger than " + std::to_string(max_bytes) + " bytes."};
}

Result<void> open_memory(Platform& platform, Exchange& exchange) {
  const Route& route = *exchange.route;
  const std::uint64_t of_route =
      route.body == Body::kPackage ? std::uint64_t{kMaxAdminBytes} : route.max_body_bytes;
  const std::uint64_t max_bytes =
      std::min<std::uint64_t>(of_route, platform.bodies->max_bytes_of_tenant());
  if (auto checked = check_length(max_bytes, exchange); !checked) return checked;
  exchange.parser.set_body_limit(max_bytes);
  exchange.body_share.emplace(*platform.bodies, exchange.call.caller.tenant);
  return {};
}

Result<void> open_stage(Platform& platform, Carrier carrier, Exchange& exchange) {
  const Route& route = *exchange.route;
  const Call& call = exchange.call;
  const std::uint64_t max_bytes = carrier == Carrier::kFile
                                      ? std::min(route.max_body_bytes, kMaxUploadBytes)
                                      : route.max_body_bytes;
  if (auto checked = check_length(max_bytes, exchange); !checked) return checked;
  if (route.body == Body::kFile && !exchange.parser.content_length()) {
    return Error{Code::kMissingRequiredParameter, "The header Content-Length is needed here.",
                 "Content-Length"};
  }
  exchange.parser.set_body_limit(max_bytes);
  const std::string owner = call.caller.tenant.str();
  if (carrier == Carrier::kFile) {
    exchange.stage = stage_file(max_bytes, *platform.staging, owner);
  } else {
    auto stage = stage_form(header(call.request.headers, "content-type"), route.parts,
                            *platform.staging, owner);
    if (!stage) return stage.error();
    exchange.stage = *std::move(stage);
  }
  auto slot = platform.uploads->enter(call.caller.tenant, call.caller.limits, call.received_wall);
  if (!slot) return slot.error();
  exchange.upload_slot = *std::move(slot);
  return {};
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

// Names and lengths stand between what is hashed, so that no two lists look alike.
class ContentHash {
 public:
  void add(std::string_view text) {
    hash_.update(std::to_string(text.size()) + ':');
    hash_.update(text);
  }
  ContentDigest finish() { return {hash_.finish()}; }

 private:
  Sha256 hash_;
};

// A form's boundary is another one each time; its parts are not.
ContentDigest content_of(const Call& call) {
  ContentHash hash;
  hash.add(media_type(header(call.request.headers, "content-type")));
  hash.add(call.request.body);
  if (call.staged.file) hash.add(to_hex(call.staged.file->sha256()));
  for (const StagedPart& part : call.staged.parts) {
    hash.add(part.name);
    hash.add(part.filename);
    hash.add(part.file ? to_hex(part.file->sha256()) : part.text);
  }
  return hash.finish();
}

ContentDigest place_of(const Call& call, std::string_view key) {
  ContentHash hash;
  for (const std::string_view text :
       {std::string_view(call.caller.key.str()), std::string_view(call.request.method),
        std::string_view(call.request.target), key}) {
    hash.add(text);
  }
  return hash.finish();
}

bool may_be_idempotent(const Exchange& exchange) {
  const std::string& method = exchange.call.request.method;
  return method != "GET" && method != "HEAD" && exchange.route->access != Access::kPublic;
}

HttpResponse conflict(std::string_view code, const std::string& message, HttpError::Retry retry,
                      const RequestId& request) {
  HttpError http{409, "conflict_error", retry};
  if (retry == HttpError::Retry::kYes) http.retry_after = kOverloadRetryAfter;
  return problem_response({http, code, message, "Idempotency-Key"}, request);
}

HttpResponse other_content(const RequestId& request) {
  return conflict("idempotency_key_reuse",
                  "This Idempotency-Key was used with another body; take a new one.",
                  HttpError::Retry::kNo, request);
}

HttpResponse still_under_way(const RequestId& request) {
  return conflict("idempotency_in_progress",
                  "The first request of this Idempotency-Key is still under way.",
                  HttpError::Retry::kYes, request);
}

HttpResponse used_up(const RequestId& request) {
  return conflict("idempotency_key_exhausted",
                  "This Idempotency-Key was used for " + std::to_string(kMaxRequestsOfKey) +
                      " requests; take a new one.",
                  HttpError::Retry::kNo, request);
}

// The answer that the request had before, or why it gets none; nullopt: it is the first.
std::optional<Reply> answer_again(Platform& platform, Exchange& exchange, std::string_view key) {
  const Call& call = exchange.call;
  const IdempotentAnswers::Asked asked{
      .caller = call.caller.key, .place = place_of(call, key), .content = content_of(call)};
  auto outcome = platform.idempotent.begin(asked, call.received_wall);
  using Turn = IdempotentAnswers::Turn;
  switch (outcome.turn) {
    case Turn::kAgain:
      return Reply(std::move(outcome.answer));
    case Turn::kOtherContent:
      return Reply(other_content(call.id));
    case Turn::kUnderWay:
      return Reply(still_under_way(call.id));
    case Turn::kFirst:
      break;
  }
  exchange.idempotent_place = asked.place;
  return std::nullopt;
}

// The same of an answer of the model, which is made anew, and charged once.
Result<std::optional<Reply>> begin_charge(Platform& platform, Call& call, std::string_view key) {
  auto outcome = platform.key_charges->begin(place_of(call, key), content_of(call), call.id,
                                             call.received_wall);
  if (!outcome) return outcome.error();
  call.key_turn = std::move(outcome->turn);
  if (call.key_turn) return std::optional<Reply>();
  using Refusal = KeyCharges::Refusal;
  switch (outcome->refusal) {
    case Refusal::kOtherContent:
      return std::optional<Reply>(other_content(call.id));
    case Refusal::kUnderWay:
      return std::optional<Reply>(still_under_way(call.id));
    case Refusal::kUsedUp:
      break;
  }
  return std::optional<Reply>(used_up(call.id));
}

// The handler's answer, unless the request has had one.
Result<Reply> answer_once(Platform& platform, Exchange& exchange) {
  Call& call = exchange.call;
  const std::string_view key = header(call.request.headers, "idempotency-key");
  if (!key.empty() && may_be_idempotent(exchange)) {
    if (!is_idempotency_key(key)) {
      return Error{Code::kInvalidValue,
                   "Idempotency-Key must be 1 to 255 printable ASCII characters.",
                   "Idempotency-Key"};
    }
    if (exchange.route->access == Access::kInference) {
      auto refused = begin_charge(platform, call, key);
      if (!refused) return refused.error();
      if (*refused) return **std::move(refused);
    } else if (auto answer = answer_again(platform, exchange, key)) {
      return *std::move(answer);
    }
  }
  return exchange.route->handler(platform, call);
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
  call.trace = trace_of(call.request.headers);

  auto target = parse_target(call.request.target);
  if (!target) return target.error();
  call.target = *std::move(target);
  const auto slug =
      take_tenant_slug(call.target, header(call.request.headers, "host"), platform.config.domain);
  auto match = match_route(routes, call.request.method, call.target);
  if (!match) return match.error();
  const Route& route = *match->route;
  call.arguments = std::move(match->arguments);

  auto caller = authorise(platform, route, exchange);
  if (!caller) return caller.error();
  if (slug && !is_place_of(platform, *slug, *caller)) return nothing_here();
  call.caller = *std::move(caller);
  exchange.route = &route;
  if (platform.held_back && route.access == Access::kInference) {
    return Error{Code::kDraining, "The server is being drained. Try again elsewhere."};
  }
  const auto carrier =
      carrier_of(route.body, media_type(header(call.request.headers, "content-type")));
  if (!carrier) return carrier.error();
  if (*carrier == Carrier::kMemory) return open_memory(platform, exchange);
  return open_stage(platform, *carrier, exchange);
}

bool is_brief(const Exchange& exchange) {
  return exchange.route->access == Access::kInference && exchange.route->body == Body::kJson &&
         exchange.call.request.body.size() <= kBriefBodyBytes;
}

Result<Reply> call_handler(Platform& platform, Exchange& exchange) {
  return guarded([&] {
    Result<Reply> reply = answer_once(platform, exchange);
    std::string().swap(exchange.call.request.body);  // a generation may still take long
    exchange.body_share.reset();
    exchange.call.staged = {};
    return reply;
  });
}

void keep_answer(Platform& platform, Exchange& exchange, const Result<Reply>& reply) {
  const bool generates = reply && std::holds_alternative<std::unique_ptr<Generation>>(*reply);
  if (exchange.call.key_turn && !generates) exchange.call.key_turn->end();
  if (!exchange.idempotent_place) return;
  const ContentDigest place = *std::exchange(exchange.idempotent_place, std::nullopt);
  if (!reply) {
    platform.idempotent.keep(place, error_response(reply.error(), exchange.call.id));
  } else if (const auto* response = std::get_if<HttpResponse>(&*reply)) {
    platform.idempotent.keep(place, *response);
  } else {
    platform.idempotent.forget(place);
  }
}

Result<Reply> call_deferred(const Deferred& deferred) {
  return guarded(deferred.work);
}

Result<Reply> take_awaited(Awaited& awaited) {
  return guarded([&] { return awaited.take(); });
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
  constexpr std::size_t kUsualHeaders = 16;  // a kilobyte: what malloc has at hand
  Headers& headers = response.headers;
  headers.reserve(kUsualHeaders);
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
  if (call.trace) headers.emplace_back("traceparent", traceparent(*call.trace));
  if (!call.ignored_parameters.empty()) {
    headers.emplace_back("x-ignored-parameters", ignored_header(call.ignored_parameters));
  }
  if (response.status >= 400 && wants_problem(call.request.headers)) name_problem(headers);
  if (exchange.route && exchange.route->access == Access::kInference) {
    add_rate_limit_headers(headers, platform.admission.view(call.caller, now_of(platform.clock)));
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
                       {"trace_id", call.trace ? call.trace->trace_id : ""},
                       {"span_id", call.trace ? call.trace->span_id : ""},
                       {"method", call.request.method},
                       {"route", exchange.route ? exchange.route->pattern : ""},
                       {"status", status},
                       {"tenant", call.caller.tenant.str()},
                       {"key", call.caller.key.str()},
                       {"ms", std::chrono::duration<double, std::milli>(elapsed).count()}});
}

}  // namespace tessera
