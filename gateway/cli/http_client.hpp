// http_client.hpp — one HTTP request at a time to a Tessera server, for the command line.
#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "gateway/http/http.hpp"
#include "storage/result.hpp"

namespace tessera {

inline constexpr std::chrono::seconds kClientTimeout{120};             // for a whole request
inline constexpr std::size_t kMaxClientBytes = std::size_t{64} << 20;  // of an answer's body

// "http://127.0.0.1:8080" taken apart; a path after the port is kept and stands before each target.
struct ServerUrl {
  std::string host;
  std::string port = "80";
  std::string path = {};
};

// Errors: kInvalidValue with a sentence for the user.
Result<ServerUrl> parse_server_url(std::string_view url);

// Sends `request` (its headers complete but for Host and Content-Length) and waits for the answer.
// Errors: kIo if the server cannot be reached or breaks off, kRequestTimeout.
Result<HttpResponse> send_request(const ServerUrl& server, const HttpRequest& request);

}  // namespace tessera
