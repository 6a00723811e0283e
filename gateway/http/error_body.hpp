// error_body.hpp — the one table from our codes to HTTP, and the one error body.
//
// The body is read by two kinds of client: OpenAI's take `error`, the others the members of
// RFC 9457 beside it (http-api.md 2.1). `code` is stable and public; texts may change.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

#include "gateway/http/http.hpp"
#include "storage/ids.hpp"
#include "storage/result.hpp"

namespace tessera {

// How a code is told to clients. `retry` is x-should-retry, for clients that would otherwise
// guess from the status. `retry_after` is how long they are told to wait unless the error knows
// better; zero: nothing is said.
struct HttpError {
  enum class Retry : std::uint8_t { kUnsaid, kYes, kNo };

  int status;
  std::string_view type;  // of the OpenAI error object
  Retry retry = Retry::kUnsaid;
  std::chrono::milliseconds retry_after{0};
};

HttpError http_error(Code code);

// An error answer. `details` (an object, or null) goes into error.details. An error that is not
// the client's is told without its message, which stays in the log.
HttpResponse error_response(const Error& error, const RequestId& request);
HttpResponse error_response(const Error& error, const RequestId& request,
                            const nlohmann::ordered_json& details);

// What only HTTP can be asked wrongly: its codes are none of the layers below.
struct HttpProblem {
  HttpError http;
  std::string_view code;
  std::string message;
  std::string param = {};
};
HttpResponse problem_response(const HttpProblem& problem, const RequestId& request);

// The `error` object alone, for the event that ends a broken stream.
nlohmann::ordered_json error_object(const Error& error, const RequestId& request);

// Whether the request's Accept asks for errors under RFC 9457's own media type, by its name.
bool wants_problem(const Headers& request);
// Has an error say that it is such a one: the body is in both forms anyway.
void name_problem(Headers& response);

// Adds retry-after (whole seconds, rounded up) and retry-after-ms (rounded up).
void add_retry_after(HttpResponse& response, std::chrono::nanoseconds wait);

}  // namespace tessera
