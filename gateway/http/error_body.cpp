#include "gateway/http/error_body.hpp"

#include <algorithm>

#include <nlohmann/json.hpp>

#include "gateway/config.hpp"
#include "storage/json.hpp"

namespace tessera {
namespace {

using nlohmann::ordered_json;
using Retry = HttpError::Retry;

constexpr std::string_view kInvalidRequest = "invalid_request_error";
constexpr std::string_view kAuthentication = "authentication_error";
constexpr std::string_view kPermission = "permission_error";
constexpr std::string_view kTimeout = "timeout_error";
constexpr std::string_view kConflict = "conflict_error";
constexpr std::string_view kRateLimit = "rate_limit_error";
constexpr std::string_view kUnavailable = "service_unavailable_error";
constexpr std::string_view kServer = "server_error";

constexpr std::string_view kProblemType = "application/problem+json";

// Somebody has to make room first.
constexpr std::chrono::seconds kStorageRetryAfter{30};

// What a client may read of an error: everything that it can act on, nothing of our insides.
std::string public_message(const Error& error) {
  if (http_error(error.code).status != 500) return error.message;
  return "The server had an error while processing your request.";
}

// 500s all look alike; the true code is in the log.
std::string_view public_code(const Error& error) {
  return to_string(http_error(error.code).status == 500 ? Code::kInternalError : error.code);
}

HttpProblem public_problem(const Error& error) {
  return {http_error(error.code), public_code(error), public_message(error), error.param};
}

ordered_json object_of(const HttpProblem& problem, const RequestId& request) {
  ordered_json object;
  object["message"] = problem.message;
  object["type"] = problem.http.type;
  object["param"] = problem.param.empty() ? ordered_json(nullptr) : ordered_json(problem.param);
  object["code"] = problem.code;
  object["request_id"] = request.str();
  return object;
}

HttpResponse response_of(const HttpProblem& problem, const RequestId& request,
                         const ordered_json& details) {
  const HttpError& http = problem.http;
  ordered_json body;
  body["error"] = object_of(problem, request);
  if (!details.is_null()) body["error"]["details"] = details;
  body["type"] = "/errors/" + std::string(problem.code);
  body["title"] = reason_phrase(http.status);
  body["status"] = http.status;
  body["detail"] = problem.message;
  body["instance"] = "/requests/" + request.str();

  HttpResponse response{.status = http.status};
  response.headers.emplace_back("Content-Type", "application/json");
  if (http.status == 401) response.headers.emplace_back("WWW-Authenticate", "Bearer");
  if (http.retry != Retry::kUnsaid) {
    response.headers.emplace_back("x-should-retry", http.retry == Retry::kYes ? "true" : "false");
  }
  if (http.retry_after.count() > 0) add_retry_after(response, http.retry_after);
  response.body = to_text(body) + "\n";  // curl users get a whole line
  return response;
}

// Whether a range of an Accept header has the weight zero, which is "not that".
bool is_refused(std::string_view range) {
  for (auto at = range.find(';'); at != range.npos; at = range.find(';', at + 1)) {
    const std::string_view parameter = trim(range.substr(at + 1));
    const std::string_view weight = parameter.substr(0, parameter.find(';'));
    if (!to_lower(weight).starts_with("q=")) continue;
    return trim(weight.substr(2)).find_first_not_of("0.") == weight.npos;
  }
  return false;
}

}  // namespace

HttpError http_error(Code code) {
  switch (code) {
    case Code::kInvalidJson:
    case Code::kDuplicateKey:
    case Code::kMissingRequiredParameter:
    case Code::kInvalidValue:
    case Code::kUnknownParameter:
    case Code::kUnsupportedParameter:
    case Code::kUnsupportedContent:
    case Code::kContextLengthExceeded:
    case Code::kRequestExceedsLimit:
    case Code::kStringAboveMaxLength:
    case Code::kInvalidJsonSchema:
    case Code::kUnsupportedSchema:
    case Code::kSchemaTooLarge:
    case Code::kSchemaTooComplex:
    case Code::kInvalidRegex:
    case Code::kRegexTooComplex:
    case Code::kInvalidGrammar:
    case Code::kGrammarTooComplex:
      return {400, kInvalidRequest};
    case Code::kInvalidApiKey:
    case Code::kExpiredApiKey:
    case Code::kIpNotAuthorized:
      return {401, kAuthentication};
    case Code::kInsufficientScope:
    case Code::kTenantSuspended:
    case Code::kModelNotPermitted:
      return {403, kPermission};
    case Code::kNotFound:
    case Code::kModelNotFound:
      return {404, kInvalidRequest};
    case Code::kMethodNotAllowed:
      return {405, kInvalidRequest};
    case Code::kNotAcceptable:
      return {406, kInvalidRequest};
    case Code::kRequestTimeout:
      return {408, kTimeout};
    case Code::kNameExists:
    case Code::kVersionNotReady:
    case Code::kConflict:
      return {409, kConflict, Retry::kNo};
    case Code::kPreconditionFailed:
      return {412, kConflict};
    case Code::kPayloadTooLarge:
    case Code::kStorageQuotaExceeded:
      return {413, kInvalidRequest};
    case Code::kUnsupportedMediaType:
      return {415, kInvalidRequest};
    case Code::kAdapterInvalid:
      return {422, kInvalidRequest};
    case Code::kRateLimitExceeded:  // the refusal knows how long
      return {429, kRateLimit, Retry::kYes};
    case Code::kQueueFull:
      return {429, kRateLimit, Retry::kYes, kOverloadRetryAfter};
    case Code::kInsufficientQuota:
    case Code::kBillingHardLimitReached:
      return {429, "insufficient_quota", Retry::kNo};
    case Code::kHeaderTooLarge:
      return {431, kInvalidRequest};
    case Code::kServerIsOverloaded:
    case Code::kAdapterLoading:
    case Code::kDraining:
    case Code::kNoCapacity:
      return {503, kUnavailable, Retry::kYes, kOverloadRetryAfter};
    case Code::kStorageFull:
      return {503, kUnavailable, Retry::kYes, kStorageRetryAfter};
    case Code::kUpstreamTimeout:
      return {504, kTimeout};
    case Code::kIo:
    case Code::kCorrupt:
    case Code::kUnsupportedModel:
    case Code::kInternalError:
      return {500, kServer};
  }
  return {500, kServer};
}

ordered_json error_object(const Error& error, const RequestId& request) {
  return object_of(public_problem(error), request);
}

HttpResponse error_response(const Error& error, const RequestId& request) {
  return error_response(error, request, nullptr);
}

HttpResponse error_response(const Error& error, const RequestId& request,
                            const ordered_json& details) {
  return response_of(public_problem(error), request, details);
}

HttpResponse problem_response(const HttpProblem& problem, const RequestId& request) {
  return response_of(problem, request, nullptr);
}

bool wants_problem(const Headers& request) {
  std::string_view list = header(request, "accept");
  while (!list.empty()) {
    const std::string_view range = list.substr(0, list.find(','));
    list.remove_prefix(std::min(range.size() + 1, list.size()));
    if (media_type(range) == kProblemType) return !is_refused(range);
  }
  return false;
}

void name_problem(Headers& response) {
  for (auto& [name, value] : response) {
    if (name == "Content-Type" && value == "application/json") value = kProblemType;
  }
}

void add_retry_after(HttpResponse& response, std::chrono::nanoseconds wait) {
  using std::chrono::ceil;
  const auto ms = ceil<std::chrono::milliseconds>(wait);
  const auto seconds = ceil<std::chrono::seconds>(wait);
  response.headers.emplace_back("retry-after", std::to_string(seconds.count()));
  response.headers.emplace_back("retry-after-ms", std::to_string(ms.count()));
}

}  // namespace tessera
