#include "gateway/cli/http_client.hpp"

#include <utility>

#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>

namespace tessera {
namespace {

namespace beast = boost::beast;
namespace net = boost::asio;

// One exchange: each step starts the next, and the first error ends it.
class OneExchange {
 public:
  OneExchange(const ServerUrl& server, const HttpRequest& request)
      : server_(server), stream_(context_), resolver_(context_) {
    message_.version(11);
    message_.method_string(request.method);
    message_.target(server.path + request.target);
    message_.set(beast::http::field::host, server.host + ":" + server.port);
    message_.set(beast::http::field::connection, "close");
    for (const auto& [name, value] : request.headers) message_.insert(name, value);
    message_.body() = request.body;
    message_.prepare_payload();
    parser_.body_limit(kMaxClientBytes);
  }

  Result<HttpResponse> run() {
    stream_.expires_after(kClientTimeout);
    resolver_.async_resolve(server_.host, server_.port, [this](auto error, auto found) {
      if (!failed(error)) connect(found);
    });
    context_.run();
    if (error_) return error_from(error_);
    HttpResponse answer{.status = static_cast<int>(parser_.get().result_int())};
    for (const auto& field : parser_.get()) {
      answer.headers.emplace_back(to_lower(std::string_view(field.name_string())), field.value());
    }
    answer.body = std::move(parser_.get().body());
    return answer;
  }

 private:
  void connect(const net::ip::tcp::resolver::results_type& found) {
    stream_.async_connect(found, [this](auto error, const auto&) {
      if (!failed(error)) write();
    });
  }
  void write() {
    beast::http::async_write(stream_, message_, [this](auto error, std::size_t) {
      if (!failed(error)) read();
    });
  }
  void read() {
    beast::http::async_read(stream_, buffer_, parser_,
                            [this](auto error, std::size_t) { failed(error); });
  }

  bool failed(beast::error_code error) {
    error_ = error;
    return static_cast<bool>(error);
  }

  Error error_from(const beast::error_code& error) const {
    const std::string place = server_.host + ":" + server_.port;
    if (error == beast::error::timeout) {
      return {Code::kRequestTimeout, "no answer from " + place + " in time"};
    }
    return {Code::kIo, "cannot talk to a server at " + place + ": " + error.message() +
                           " (is it running? --url says where)"};
  }

  const ServerUrl& server_;
  net::io_context context_;
  beast::tcp_stream stream_;
  net::ip::tcp::resolver resolver_;
  beast::flat_buffer buffer_;
  beast::http::request<beast::http::string_body> message_;
  beast::http::response_parser<beast::http::string_body> parser_;
  beast::error_code error_;
};

}  // namespace

Result<ServerUrl> parse_server_url(std::string_view url) {
  constexpr std::string_view kScheme = "http://";
  const Error wrong{Code::kInvalidValue, "'" + std::string(url) +
                                             "' is not a server's URL, such as "
                                             "http://127.0.0.1:8080."};
  if (!url.starts_with(kScheme)) return wrong;
  url.remove_prefix(kScheme.size());
  const std::size_t slash = std::min(url.find('/'), url.size());
  ServerUrl server;
  server.path = url.substr(slash);
  while (server.path.ends_with('/')) server.path.pop_back();
  std::string_view authority = url.substr(0, slash);
  const std::size_t colon = authority.rfind(':');
  if (colon != authority.npos && authority.find(']', colon) == authority.npos) {
    server.port = authority.substr(colon + 1);
    authority = authority.substr(0, colon);
  }
  if (authority.starts_with('[') && authority.ends_with(']')) {
    authority = authority.substr(1, authority.size() - 2);
  }
  server.host = authority;
  if (server.host.empty() || server.port.empty()) return wrong;
  return server;
}

Result<HttpResponse> send_request(const ServerUrl& server, const HttpRequest& request) {
  return OneExchange(server, request).run();
}

}  // namespace tessera
