#include "gateway/webhooks/webhook_client.hpp"

#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <mutex>
#include <optional>
#include <string_view>

#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

namespace tessera {
namespace {

namespace ip = boost::asio::ip;
using SteadyClock = std::chrono::steady_clock;

struct FreeContext {
  void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
};
struct FreeSsl {
  void operator()(SSL* ssl) const { SSL_free(ssl); }
};
using Ssl = std::unique_ptr<SSL, FreeSsl>;

Error no_connection() {
  return {Code::kIo, "no connection"};
}
Error broken_off() {
  return {Code::kIo, "the connection broke off"};
}
Error no_tls() {
  return {Code::kIo, "TLS failed: the certificate must be valid for the host"};
}

// A socket that waits for nobody longer than its deadline, nor after the client was stopped.
class Socket {
 public:
  Socket(SteadyTime deadline, int stop_event) : deadline_(deadline), stop_event_(stop_event) {}
  ~Socket() {
    if (fd_ >= 0) close(fd_);
  }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;

  int fd() const { return fd_; }

  Result<void> connect(const ip::address& address, std::uint16_t port) {
    sockaddr_storage place{};
    const socklen_t size = place_of(address, port, place);
    fd_ = socket(place.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd_ < 0) return no_connection();
    if (::connect(fd_, reinterpret_cast<const sockaddr*>(&place), size) == 0) return {};
    if (errno != EINPROGRESS) return no_connection();
    if (auto ready = wait(POLLOUT); !ready) return ready;
    int failed = 0;
    socklen_t failed_size = sizeof failed;
    getsockopt(fd_, SOL_SOCKET, SO_ERROR, &failed, &failed_size);
    return failed == 0 ? Result<void>() : no_connection();
  }

  // Until the socket can be read (POLLIN) or written (POLLOUT).
  Result<void> wait(short events) const {
    for (;;) {
      const auto left =
          std::chrono::ceil<std::chrono::milliseconds>(deadline_ - SteadyClock::now());
      if (left.count() <= 0) return Error{Code::kRequestTimeout, "no answer in time"};
      std::array<pollfd, 2> both{{{fd_, events, 0}, {stop_event_, POLLIN, 0}}};
      const int ready = poll(both.data(), both.size(), static_cast<int>(left.count()));
      if (ready < 0 && errno != EINTR) return broken_off();
      if (ready > 0 && both[1].revents != 0) return Error{Code::kIo, "the server is stopping"};
      if (ready > 0) return {};
    }
  }

 private:
  static socklen_t place_of(const ip::address& address, std::uint16_t port,
                            sockaddr_storage& place) {
    if (address.is_v4()) {
      sockaddr_in v4{};
      v4.sin_family = AF_INET;
      v4.sin_port = htons(port);
      v4.sin_addr.s_addr = htonl(address.to_v4().to_uint());
      std::memcpy(&place, &v4, sizeof v4);
      return sizeof v4;
    }
    sockaddr_in6 v6{};
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(port);
    const auto bytes = address.to_v6().to_bytes();
    std::memcpy(v6.sin6_addr.s6_addr, bytes.data(), bytes.size());
    std::memcpy(&place, &v6, sizeof v6);
    return sizeof v6;
  }

  const SteadyTime deadline_;
  const int stop_event_;
  int fd_ = -1;
};

// Bytes to and fro, in the clear or within TLS.
class Channel {
 public:
  Channel(const Socket& socket, Ssl ssl) : socket_(socket), ssl_(std::move(ssl)) {}

  Result<void> shake_hands() {
    if (!ssl_) return {};
    for (;;) {
      ERR_clear_error();
      const int done = SSL_connect(ssl_.get());
      if (done == 1) return {};
      const auto waited = wait_for(done, POLLIN);
      if (!waited) return waited.error();
      if (!*waited) return no_tls();
    }
  }

  Result<void> write(std::string_view bytes) {
    while (!bytes.empty()) {
      const auto sent = step(POLLOUT, [&] { return put(bytes); });
      if (!sent) return sent.error();
      if (*sent == 0) return broken_off();
      bytes.remove_prefix(*sent);
    }
    return {};
  }

  // 0 at the end.
  Result<std::size_t> read(char* out, std::size_t room) {
    return step(POLLIN, [&] { return get(out, room); });
  }

 private:
  // What a call on the socket or on TLS said: bytes, 0 at the end, or less: then wait_for() knows.
  long put(std::string_view bytes) {
    ERR_clear_error();
    if (ssl_) return SSL_write(ssl_.get(), bytes.data(), static_cast<int>(bytes.size()));
    return send(socket_.fd(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
  }
  long get(char* out, std::size_t room) {
    ERR_clear_error();
    if (ssl_) return SSL_read(ssl_.get(), out, static_cast<int>(room));
    return recv(socket_.fd(), out, room, 0);
  }

  template <class Call>
  Result<std::size_t> step(short events, const Call& call) {
    for (;;) {
      const long done = call();
      if (done > 0) return static_cast<std::size_t>(done);
      const auto waited = wait_for(static_cast<int>(done), events);
      if (!waited) return waited.error();
      if (!*waited) return std::size_t{0};
    }
  }

  // Waits for what the call lacked; false if it is the end.
  Result<bool> wait_for(int done, short events) {
    if (ssl_) {
      const int why = SSL_get_error(ssl_.get(), done);
      if (why != SSL_ERROR_WANT_WRITE && why != SSL_ERROR_WANT_READ) return false;
      events = static_cast<short>(why == SSL_ERROR_WANT_WRITE ? POLLOUT : POLLIN);
    } else {
      if (done == 0) return false;
      if (errno != EAGAIN && errno != EINTR) return broken_off();
    }
    if (auto ready = socket_.wait(events); !ready) return ready.error();
    return true;
  }

  const Socket& socket_;
  Ssl ssl_;
};

std::string request_text(const WebhookPost& post) {
  std::string text = "POST " + post.url.target + " HTTP/1.1\r\nHost: " + post.url.authority() +
                     "\r\nConnection: close\r\nContent-Length: " + std::to_string(post.body.size());
  for (const auto& [name, value] : post.headers) text += "\r\n" + name + ": " + value;
  return text + "\r\n\r\n" + post.body;
}

// The status of a line "HTTP/1.1 204 No Content".
std::optional<int> status_of(std::string_view line) {
  constexpr std::size_t kDigitsAt = 9;
  if (!line.starts_with("HTTP/1.") || line.size() < kDigitsAt + 3 || line[8] != ' ') {
    return std::nullopt;
  }
  int status = 0;
  const char* const digits = line.data() + kDigitsAt;
  const auto read = std::from_chars(digits, digits + 3, status);
  if (read.ec != std::errc() || read.ptr != digits + 3 || status < 100) return std::nullopt;
  return status;
}

// The status of the final answer: interim ones (1xx) are passed over.
Result<int> read_status(Channel& channel) {
  std::string head;
  std::array<char, 2048> room{};
  while (head.size() < kMaxWebhookAnswerBytes) {
    const auto got = channel.read(room.data(), room.size());
    if (!got) return got.error();
    if (*got == 0) return Error{Code::kIo, "the answer is not whole"};
    head.append(room.data(), *got);
    for (auto end = head.find("\r\n\r\n"); end != head.npos; end = head.find("\r\n\r\n")) {
      const auto status = status_of(head);
      if (!status) return Error{Code::kIo, "the answer is not HTTP"};
      if (*status >= 200) return *status;
      head.erase(0, end + 4);
    }
  }
  return Error{Code::kIo, "the answer's head is too long"};
}

}  // namespace

// Made when it is first needed: to read the system's authorities takes a while.
struct WebhookClient::Tls {
  std::once_flag made;
  std::unique_ptr<SSL_CTX, FreeContext> context;

  SSL_CTX* get() {
    std::call_once(made, [this] {
      context.reset(SSL_CTX_new(TLS_client_method()));
      if (!context) return;
      SSL_CTX_ctrl(context.get(), SSL_CTRL_SET_MIN_PROTO_VERSION, TLS1_2_VERSION, nullptr);
      SSL_CTX_set_default_verify_paths(context.get());
      SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, nullptr);
    });
    return context.get();
  }

  // Over `fd`, for a certificate of that host; null if it cannot be.
  Ssl open(const std::string& host, int fd) {
    Ssl ssl(get() ? SSL_new(get()) : nullptr);
    if (!ssl || SSL_set_fd(ssl.get(), fd) != 1) return nullptr;
    boost::system::error_code is_name;
    ip::make_address(host, is_name);
    if (!is_name) {
      X509_VERIFY_PARAM* const rules = SSL_get0_param(ssl.get());
      return X509_VERIFY_PARAM_set1_ip_asc(rules, host.c_str()) == 1 ? std::move(ssl) : nullptr;
    }
    SSL_set_hostflags(ssl.get(), X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    if (SSL_set1_host(ssl.get(), host.c_str()) != 1) return nullptr;
    // What the macro SSL_set_tlsext_host_name does, without its old-style cast.
    SSL_ctrl(ssl.get(), SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name,
             const_cast<char*>(host.c_str()));
    return ssl;
  }
};

WebhookClient::WebhookClient()
    : stop_event_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)), tls_(std::make_unique<Tls>()) {}

WebhookClient::~WebhookClient() {
  if (stop_event_ >= 0) close(stop_event_);
}

void WebhookClient::stop() {
  eventfd_write(stop_event_, 1);
}

Result<int> WebhookClient::post(const WebhookPost& post, std::chrono::milliseconds timeout) {
  Socket socket(SteadyClock::now() + timeout, stop_event_);
  if (auto connected = socket.connect(post.address, post.url.port); !connected) {
    return connected.error();
  }
  Ssl ssl;
  if (post.url.tls) {
    ssl = tls_->open(post.url.host, socket.fd());
    if (!ssl) return no_tls();
  }
  Channel channel(socket, std::move(ssl));
  if (auto greeted = channel.shake_hands(); !greeted) return greeted.error();
  if (auto sent = channel.write(request_text(post)); !sent) return sent.error();
  return read_status(channel);
}

}  // namespace tessera
