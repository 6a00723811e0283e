// webhook_client.hpp — one POST to an address that was judged before, and the status of its answer.
//
// Blocks the thread that calls, within a deadline for everything from connecting to the answer's
// head. The certificate must name the URL's host and be signed by one of the system's authorities
// (SSL_CERT_FILE names others). Of the answer the status is read and nothing else: no redirect is
// followed, no body taken.
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <string>

#include <boost/asio/ip/address.hpp>

#include "gateway/http/http.hpp"
#include "gateway/webhooks/egress.hpp"
#include "storage/result.hpp"

namespace tessera {

inline constexpr std::chrono::seconds kWebhookTimeout{10};        // of a whole attempt
inline constexpr std::size_t kMaxWebhookAnswerBytes = 16 * 1024;  // of the answer's head

struct WebhookPost {
  WebhookUrl url;
  boost::asio::ip::address address;  // that is connected to
  Headers headers = {};              // beside Host, Content-Length and Connection
  std::string body = {};
};

// Thread-safe.
class WebhookClient {
 public:
  WebhookClient();
  ~WebhookClient();
  WebhookClient(const WebhookClient&) = delete;
  WebhookClient& operator=(const WebhookClient&) = delete;

  // The answer's status. Errors: kIo, kRequestTimeout; messages are a few fixed phrases, which may
  // be shown to whoever gave the URL.
  Result<int> post(const WebhookPost& post, std::chrono::milliseconds timeout = kWebhookTimeout);

  // Ends what is under way; later posts fail at once.
  void stop();

 private:
  struct Tls;

  int stop_event_;  // a descriptor that becomes readable
  std::unique_ptr<Tls> tls_;
};

}  // namespace tessera
