#include "gateway/cli/http_client.hpp"

#include <optional>
#include <utility>

#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/host_name_verification.hpp>
#include <boost/asio/strand.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/http/file_body.hpp>
#include <boost/beast/ssl.hpp>

#include "storage/durable_file.hpp"

namespace tessera {
namespace {

namespace beast = boost::beast;
namespace net = boost::asio;
namespace ssl = net::ssl;

// A body for Beast that keeps nothing: what comes goes on to a sink. That of a refusal is kept.
struct SinkBody {
  struct value_type {
    PieceSink sink = {};
    std::optional<Error> refused = {};  // what the sink said
    std::string kept = {};
  };

  class reader {
   public:
    template <bool IsRequest, class Fields>
    reader(beast::http::header<IsRequest, Fields>& head, value_type& body)
        : success_([&head] { return head.result_int() / 100 == 2; }), body_(body) {}

    void init(const boost::optional<std::uint64_t>&, beast::error_code& error) { error = {}; }

    template <class Buffers>
    std::size_t put(const Buffers& buffers, beast::error_code& error) {
      error = {};
      const bool success = success_();
      for (const auto buffer : beast::buffers_range_ref(buffers)) {
        const std::string_view piece(static_cast<const char*>(buffer.data()), buffer.size());
        if (!success) {
          body_.kept += piece;
          continue;
        }
        const auto taken = body_.sink(piece);
        if (taken) continue;
        body_.refused = taken.error();
        error = net::error::operation_aborted;
        break;
      }
      return beast::buffer_bytes(buffers);
    }

    void finish(beast::error_code& error) { error = {}; }

   private:
    std::function<bool()> success_;
    value_type& body_;
  };
};

// One exchange: each step starts the next, and the first error ends it. Body is where Beast puts
// the answer's.
template <class Body>
class OneExchange {
 public:
  OneExchange(const ServerUrl& server, const HttpRequest& request)
      : server_(server), stream_(context_, tls_), resolver_(context_) {
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

  beast::http::response_parser<Body>& parser() { return parser_; }

  Result<HttpResponse> run(std::chrono::seconds timeout = kClientTimeout) {
    if (server_.tls) {
      if (auto ready = prepare_tls(); !ready) return ready.error();
    }
    socket().expires_after(timeout);
    resolver_.async_resolve(server_.host, server_.port, [this](auto error, auto found) {
      if (!failed(error)) connect(found);
    });
    context_.run();
    if (error_) return error_from(error_);
    HttpResponse answer{.status = static_cast<int>(parser_.get().result_int())};
    for (const auto& field : parser_.get()) {
      answer.headers.emplace_back(to_lower(std::string_view(field.name_string())), field.value());
    }
    return answer;
  }

 private:
  void connect(const net::ip::tcp::resolver::results_type& found) {
    socket().async_connect(found, [this](auto error, const auto&) {
      if (failed(error)) return;
      if (!server_.tls) return write(socket());
      stream_.async_handshake(ssl::stream_base::client, [this](auto refused) {
        if (!failed(refused)) write(stream_);
      });
    });
  }
  template <class Stream>
  void write(Stream& stream) {
    beast::http::async_write(stream, message_, [this, &stream](auto error, std::size_t) {
      if (!failed(error)) read(stream);
    });
  }
  template <class Stream>
  void read(Stream& stream) {
    beast::http::async_read(stream, buffer_, parser_,
                            [this](auto error, std::size_t) { failed(error); });
  }

  beast::tcp_stream& socket() { return stream_.next_layer(); }

  // Whom to believe, who we are, and that the certificate has to name the host.
  Result<void> prepare_tls() {
    beast::error_code error;
    const auto use = [&](const std::filesystem::path& file, auto set) -> Result<void> {
      if (!file.empty()) set(file.string());
      if (!error) return {};
      return Error{Code::kIo, "cannot use " + file.string() + ": " + error.message()};
    };
    tls_.set_verify_mode(ssl::verify_peer, error);
    if (server_.ca_certificate.empty()) tls_.set_default_verify_paths(error);
    auto used = use(server_.ca_certificate,
                    [&](const std::string& file) { tls_.load_verify_file(file, error); });
    if (used) {
      used = use(server_.certificate,
                 [&](const std::string& file) { tls_.use_certificate_chain_file(file, error); });
    }
    if (used) {
      used = use(server_.key, [&](const std::string& file) {
        tls_.use_private_key_file(file, ssl::context::pem, error);
      });
    }
    if (!used) return used;
    stream_ = Stream(net::make_strand(context_), tls_);
    stream_.set_verify_callback(ssl::host_name_verification(server_.host));
    // What the macro SSL_set_tlsext_host_name does, without its old-style cast.
    SSL_ctrl(stream_.native_handle(), SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name,
             const_cast<char*>(server_.host.c_str()));
    return {};
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
  using Stream = beast::ssl_stream<beast::tcp_stream>;

  net::io_context context_;
  ssl::context tls_{ssl::context::tls_client};
  Stream stream_;  // without TLS, its socket is used alone
  net::ip::tcp::resolver resolver_;
  beast::flat_buffer buffer_;
  beast::http::request<beast::http::string_body> message_;
  beast::http::response_parser<Body> parser_;
  beast::error_code error_;
};

}  // namespace

Result<ServerUrl> parse_server_url(std::string_view url) {
  const Error wrong{Code::kInvalidValue, "'" + std::string(url) +
                                             "' is not a server's URL, such as "
                                             "http://127.0.0.1:8080."};
  const std::size_t scheme = url.find("://");
  const std::string_view name = url.substr(0, scheme);
  if (scheme == url.npos || (name != "http" && name != "https")) return wrong;
  url.remove_prefix(scheme + 3);
  const std::size_t slash = std::min(url.find('/'), url.size());
  ServerUrl server;
  server.tls = name == "https";
  if (server.tls) server.port = "443";
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
  OneExchange<beast::http::string_body> exchange(server, request);
  auto answer = exchange.run();
  if (answer) answer->body = std::move(exchange.parser().get().body());
  return answer;
}

Result<HttpResponse> download(const ServerUrl& server, const HttpRequest& request,
                              const std::filesystem::path& file) {
  const std::string part = file.string() + ".part";
  OneExchange<beast::http::file_body> exchange(server, request);
  exchange.parser().body_limit(boost::none);
  beast::error_code opened;
  exchange.parser().get().body().open(part.c_str(), beast::file_mode::write, opened);
  if (opened) return Error{Code::kIo, "cannot write " + part + ": " + opened.message()};
  auto answer = exchange.run(kDownloadTimeout);
  exchange.parser().get().body().close();
  std::error_code moved;
  if (answer && answer->status == 200) {
    std::filesystem::rename(part, file, moved);
    if (moved) return Error{Code::kIo, "cannot write " + file.string() + ": " + moved.message()};
    return answer;
  }
  if (answer) {
    const auto said = read_file(part, kMaxClientBytes);
    if (said) answer->body = *said;
  }
  std::filesystem::remove(part, moved);
  return answer;
}

Result<HttpResponse> stream(const ServerUrl& server, const HttpRequest& request,
                            const PieceSink& sink) {
  OneExchange<SinkBody> exchange(server, request);
  exchange.parser().body_limit(boost::none);
  SinkBody::value_type& body = exchange.parser().get().body();
  body.sink = sink;
  auto answer = exchange.run(kDownloadTimeout);
  if (body.refused) return *body.refused;
  if (answer) answer->body = std::move(body.kept);
  return answer;
}

}  // namespace tessera
