// http_client.hpp — one HTTP request at a time to a Tessera server, for the command line.
#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

#include "gateway/http/http.hpp"
#include "storage/result.hpp"

namespace tessera {

inline constexpr std::chrono::seconds kClientTimeout{120};             // for a whole request
inline constexpr std::size_t kMaxClientBytes = std::size_t{64} << 20;  // of an answer's body
inline constexpr std::chrono::hours kDownloadTimeout{1};               // for a whole download

// "https://example.org:8443" taken apart; a path after the port is kept and stands before each
// target.
struct ServerUrl {
  std::string host;
  std::string port = "80";  // 443 with TLS
  std::string path = {};
  bool tls = false;
  // With TLS, PEM files: whose certificates are believed, if not those the system believes; and
  // one's own, if the server asks for it.
  std::filesystem::path ca_certificate = {};
  std::filesystem::path certificate = {};
  std::filesystem::path key = {};
};

// Errors: kInvalidValue with a sentence for the user.
Result<ServerUrl> parse_server_url(std::string_view url);

// Sends `request` (its headers complete but for Host and Content-Length) and waits for the answer.
// Errors: kIo if the server cannot be reached or breaks off, kRequestTimeout.
Result<HttpResponse> send_request(const ServerUrl& server, const HttpRequest& request);

// The same, for a body of any length: it becomes `file`, and the answer's is empty. An answer that
// is no success is kept in memory as usual and there is no file then. Errors: as above; kIo if the
// file cannot be written or is not whole.
Result<HttpResponse> download(const ServerUrl& server, const HttpRequest& request,
                              const std::filesystem::path& file);

// Takes a piece of a body; an Error ends the exchange.
using PieceSink = std::function<Result<void>(std::string_view)>;

// The same, for a body that `sink` takes piece by piece as it comes, if the answer is a success.
// Errors: as above, those of `sink`.
Result<HttpResponse> stream(const ServerUrl& server, const HttpRequest& request,
                            const PieceSink& sink);

}  // namespace tessera
