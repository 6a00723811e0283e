#include "gateway/webhooks/webhooks.hpp"

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include <netinet/in.h>
#include <openssl/evp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tests/support/temp_dir.hpp"

namespace tessera {
namespace {

using namespace std::chrono_literals;
namespace ip = boost::asio::ip;

// Answers each connection's one request with the next of its answers; the last one again and again.
class Receiver {
 public:
  Receiver() : Receiver(std::deque<std::string>{status(204)}) {}
  explicit Receiver(std::deque<std::string> answers)
      : answers_(std::move(answers)), listener_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in place{};
    place.sin_family = AF_INET;
    place.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof place;
    auto* const address = reinterpret_cast<sockaddr*>(&place);
    EXPECT_EQ(bind(listener_, address, size), 0);
    EXPECT_EQ(listen(listener_, 16), 0);
    getsockname(listener_, address, &size);
    port_ = ntohs(place.sin_port);
    thread_ = std::jthread([this](const std::stop_token& stop) { serve(stop); });
  }
  ~Receiver() {
    thread_.request_stop();
    shutdown(listener_, SHUT_RDWR);  // ends accept()
    thread_.join();
    close(listener_);
  }

  static std::string status(int code, const std::string& headers = {}) {
    return "HTTP/1.1 " + std::to_string(code) + " X\r\n" + headers + "Content-Length: 0\r\n\r\n";
  }

  std::uint16_t port() const { return port_; }
  std::string url(const std::string& host = "127.0.0.1") const {
    return "http://" + host + ':' + std::to_string(port_) + "/hook?x=1";
  }
  // What was asked so far, each as it came.
  std::vector<std::string> requests() const {
    const MutexLock lock(mutex_);
    return requests_;
  }

 private:
  void serve(const std::stop_token& stop) {
    while (!stop.stop_requested()) {
      const int peer = accept(listener_, nullptr, nullptr);
      if (peer < 0) return;
      std::string request;
      char room[4096];
      while (!is_whole(request)) {
        const ssize_t got = recv(peer, room, sizeof room, 0);
        if (got <= 0) break;
        request.append(room, static_cast<std::size_t>(got));
      }
      {
        const MutexLock lock(mutex_);
        requests_.push_back(request);
      }
      const std::string answer = answers_.front();
      if (answers_.size() > 1) answers_.pop_front();
      (void)send(peer, answer.data(), answer.size(), MSG_NOSIGNAL);
      close(peer);
    }
  }
  static bool is_whole(const std::string& request) {
    const auto end = request.find("\r\n\r\n");
    const auto length = request.find("Content-Length: ");
    if (end == request.npos || length == request.npos) return false;
    return request.size() >= end + 4 + std::stoul(request.substr(length + 16));
  }

  std::deque<std::string> answers_;  // of its thread
  const int listener_;
  std::uint16_t port_ = 0;
  mutable Mutex mutex_;
  std::vector<std::string> requests_ TESSERA_GUARDED_BY(mutex_);
  std::jthread thread_;
};

std::string header_of(const std::string& request, const std::string& name) {
  const auto at = request.find("\r\n" + name + ": ");
  if (at == request.npos) return {};
  const auto begin = at + name.size() + 4;
  return request.substr(begin, request.find("\r\n", begin) - begin);
}
std::string body_of(const std::string& request) {
  return request.substr(request.find("\r\n\r\n") + 4);
}

class WebhooksTest : public testing::Test {
 protected:
  WebhooksTest() {
    admin_.scopes = kAdminScopes;
    admin_.is_admin = true;
    settings_.egress.allow_http = true;
    settings_.egress.allowed = IpSet::parse({"127.0.0.0/8"}).value();
    settings_.num_threads = 0;
    open();
  }

  void open() {
    webhooks_.reset();
    webhooks_ = Webhooks::open({*store_, *directory_, peppers_, clock_}, settings_).value();
  }
  WallTime now() const { return clock_.wall_now(); }
  // After what is tried again so much later, a little scattered, is due.
  static std::chrono::milliseconds at_the_latest(std::chrono::milliseconds delay) {
    return delay * 5 / 4;
  }
  std::string add(const TenantId& tenant, const std::string& url,
                  std::vector<std::string> events = {}) {
    auto made = webhooks_->create(admin_, tenant, url, std::move(events), now());
    EXPECT_TRUE(made) << made.error().message;
    secret_ = made->text;
    return made->state.webhook.id;
  }
  WebhookEvent event(const TenantId& tenant, const std::string& type = "adapter.created",
                     const std::string& id = {}) {
    return make_webhook_event(id, type, tenant, {{"adapter", "bot"}}, now());
  }
  void tell(const WebhookEvent& event) { ASSERT_TRUE(webhooks_->tell(event, now())); }
  Webhooks::State state(const TenantId& tenant, const std::string& id) {
    return webhooks_->find(tenant, id).value();
  }
  // The bytes of a shown secret.
  static std::vector<std::uint8_t> bytes_of(const std::string& secret) {
    const std::string text = secret.substr(6);
    std::vector<std::uint8_t> bytes(text.size());
    EVP_DecodeBlock(bytes.data(), reinterpret_cast<const unsigned char*>(text.data()),
                    static_cast<int>(text.size()));
    bytes.resize(32);
    return bytes;
  }

  TempDir folder_;
  std::unique_ptr<Store> store_ = open_rocks_store(folder_.path() / "store").value();
  PepperFile peppers_ = PepperFile::open(folder_.path() / "peppers").value();
  std::unique_ptr<TenantDirectory> directory_ = TenantDirectory::open(*store_, peppers_).value();
  ManualClock clock_;
  Caller admin_;
  Webhooks::Settings settings_;
  std::unique_ptr<Webhooks> webhooks_;
  std::string secret_;
  const TenantId ada_{"proj_ada"};
  const TenantId bob_{"proj_bob"};
};

// The example of the Standard Webhooks libraries.
TEST(WebhookSignature, IsTheStandards) {
  const std::vector<std::uint8_t> secret = {0x31, 0xf2, 0x90, 0xf6, 0xbf, 0x06, 0x29, 0x8a,
                                            0xab, 0x4f, 0x08, 0xd4, 0x3c, 0x3f, 0x08, 0x2c,
                                            0xf6, 0x48, 0xa3, 0x62, 0xda, 0x2d, 0xa4, 0xb0};
  ASSERT_EQ(base64_text(secret), "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
  EXPECT_EQ(webhook_signature(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1'614'265'330,
                              R"({"test": 2432232314})"),
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
}

TEST_F(WebhooksTest, AnEventIsSentSignedAndIsGoneWhenItIsTaken) {
  const Receiver receiver;
  const std::string id = add(ada_, receiver.url());
  const WebhookEvent told = event(ada_);
  tell(told);
  EXPECT_EQ(state(ada_, id).num_pending, 1U);
  EXPECT_EQ(webhooks_->deliver_due(), 1);
  ASSERT_EQ(receiver.requests().size(), 1U);
  const std::string request = receiver.requests().front();
  EXPECT_TRUE(request.starts_with("POST /hook?x=1 HTTP/1.1\r\n")) << request;
  EXPECT_EQ(header_of(request, "Host"), "127.0.0.1:" + std::to_string(receiver.port()));
  EXPECT_EQ(header_of(request, "webhook-id"), told.id);
  EXPECT_EQ(body_of(request), told.body);
  const std::int64_t at = std::stoll(header_of(request, "webhook-timestamp"));
  EXPECT_EQ(at, std::chrono::floor<std::chrono::seconds>(now()).time_since_epoch().count());
  EXPECT_EQ(header_of(request, "webhook-signature"),
            webhook_signature(bytes_of(secret_), told.id, at, told.body));
  EXPECT_EQ(state(ada_, id).num_pending, 0U);
  EXPECT_EQ(state(ada_, id).last->status, 204);
  EXPECT_EQ(webhooks_->deliver_due(), 0);
}

TEST_F(WebhooksTest, WhatIsNotTakenIsSentAgainLaterUnderTheSameId) {
  const Receiver receiver({Receiver::status(500),
                           "HTTP/1.1 302 X\r\nLocation: http://127.0.0.1:1/\r\n\r\n",
                           "HTTP/1.1 100 Continue\r\n\r\n" + Receiver::status(200)});
  const std::string id = add(ada_, receiver.url());
  tell(event(ada_));
  EXPECT_EQ(webhooks_->deliver_due(), 1);
  EXPECT_EQ(webhooks_->deliver_due(), 0) << "not at once";
  clock_.advance(at_the_latest(kWebhookRetries[0]));
  EXPECT_EQ(webhooks_->deliver_due(), 1);
  EXPECT_EQ(state(ada_, id).last->status, 302) << "followed nowhere";
  EXPECT_EQ(state(ada_, id).num_pending, 1U);
  clock_.advance(at_the_latest(kWebhookRetries[1]));
  EXPECT_EQ(webhooks_->deliver_due(), 1);
  EXPECT_EQ(state(ada_, id).num_pending, 0U);
  const auto requests = receiver.requests();
  ASSERT_EQ(requests.size(), 3U);
  EXPECT_EQ(header_of(requests[0], "webhook-id"), header_of(requests[2], "webhook-id"));
  EXPECT_NE(header_of(requests[0], "webhook-timestamp"),
            header_of(requests[2], "webhook-timestamp"));
}

TEST_F(WebhooksTest, WhatWaitsIsSentAfterARestart) {
  const Receiver receiver({Receiver::status(503), Receiver::status(200)});
  const std::string id = add(ada_, receiver.url());
  tell(event(ada_));
  webhooks_->deliver_due();
  open();
  EXPECT_EQ(state(ada_, id).num_pending, 1U);
  EXPECT_EQ(webhooks_->deliver_due(), 0) << "its time is kept too";
  clock_.advance(1h);
  EXPECT_EQ(webhooks_->deliver_due(), 1);
  open();
  EXPECT_EQ(state(ada_, id).num_pending, 0U);
  EXPECT_EQ(receiver.requests().size(), 2U);
}

TEST_F(WebhooksTest, AfterTheLastTryAnEventIsGivenUp) {
  const Receiver receiver({Receiver::status(500)});
  const std::string id = add(ada_, receiver.url());
  tell(event(ada_));
  int attempts = 0;
  for (int i = 0; i < 20; ++i) {
    attempts += webhooks_->deliver_due();
    clock_.advance(48h);
  }
  EXPECT_EQ(attempts, static_cast<int>(kWebhookRetries.size()) + 1);
  EXPECT_EQ(state(ada_, id).num_pending, 0U);
  EXPECT_FALSE(state(ada_, id).webhook.disabled);
}

TEST_F(WebhooksTest, AReceiverThatSaysItIsGoneIsDisabledUntilItsSecretIsChanged) {
  const Receiver receiver({Receiver::status(410), Receiver::status(200)});
  const std::string id = add(ada_, receiver.url());
  tell(event(ada_));
  tell(event(ada_));
  EXPECT_EQ(webhooks_->deliver_due(), 1);
  EXPECT_TRUE(state(ada_, id).webhook.disabled);
  EXPECT_EQ(state(ada_, id).num_pending, 0U);
  open();
  tell(event(ada_));
  EXPECT_EQ(state(ada_, id).num_pending, 0U);
  ASSERT_TRUE(webhooks_->rotate(admin_, ada_, id, 0s, now()));
  tell(event(ada_));
  EXPECT_EQ(webhooks_->deliver_due(), 1);
}

TEST_F(WebhooksTest, ARotatedSecretSignsBesideTheOldOneUntilItsGraceIsOver) {
  const Receiver receiver;
  const std::string id = add(ada_, receiver.url());
  const std::string old_secret = secret_;
  const std::string new_secret = webhooks_->rotate(admin_, ada_, id, 60s, now()).value().text;
  EXPECT_NE(old_secret, new_secret);
  const auto signatures = [&] {
    const WebhookEvent told = event(ada_);
    tell(told);
    webhooks_->deliver_due();
    const std::string request = receiver.requests().back();
    const std::int64_t at = std::stoll(header_of(request, "webhook-timestamp"));
    const auto by = [&](const std::string& secret) {
      return webhook_signature(bytes_of(secret), told.id, at, told.body);
    };
    return std::tuple(header_of(request, "webhook-signature"), by(new_secret), by(old_secret));
  };
  auto [both, by_new, by_old] = signatures();
  EXPECT_EQ(both, by_new + ' ' + by_old);
  clock_.advance(60s);
  auto [one, only_new, gone] = signatures();
  EXPECT_EQ(one, only_new);
}

TEST_F(WebhooksTest, TenantsHearOfThemselvesAndThePlatformOfAll) {
  const Receiver receiver;
  const std::string adas = add(ada_, receiver.url());
  const std::string picky = add(ada_, receiver.url(), {"spend_alert.triggered"});
  const std::string all = add(TenantId(), receiver.url());
  tell(event(ada_));
  tell(event(bob_));
  tell(event(bob_, "spend_alert.triggered", "evt_once"));
  tell(event(bob_, "spend_alert.triggered", "evt_once"));
  EXPECT_EQ(state(ada_, adas).num_pending, 1U);
  EXPECT_EQ(state(ada_, picky).num_pending, 0U);
  EXPECT_EQ(state(TenantId(), all).num_pending, 3U) << "what is told twice is queued once";
}

TEST_F(WebhooksTest, AnothersWebhookIsLikeNone) {
  const std::string id = add(ada_, "http://127.0.0.1/");
  const std::string none = "There is no such webhook.";
  EXPECT_EQ(webhooks_->find(bob_, id).error().message, none);
  EXPECT_EQ(webhooks_->find(TenantId(), id).error().message, none);
  EXPECT_EQ(webhooks_->remove(admin_, bob_, id, now()).error().message, none);
  EXPECT_EQ(webhooks_->rotate(admin_, bob_, id, 0s, now()).error().message, none);
  EXPECT_EQ(webhooks_->test(bob_, id, now()).error().message, none);
  EXPECT_TRUE(webhooks_->list(bob_).empty());
  ASSERT_TRUE(webhooks_->remove(admin_, ada_, id, now()));
  EXPECT_EQ(webhooks_->find(ada_, id).error().message, none);
}

TEST_F(WebhooksTest, AQueueIsBoundedAndTellsWhatItLost) {
  const std::string id = add(ada_, "http://127.0.0.1/");
  for (std::size_t i = 0; i < kMaxPendingOfWebhook + 3; ++i) {
    Batch unwritten;
    webhooks_->commit(webhooks_->prepare(unwritten, event(ada_), now()));
  }
  EXPECT_EQ(state(ada_, id).num_pending, kMaxPendingOfWebhook);
  EXPECT_EQ(state(ada_, id).num_lost, 3U);
  EXPECT_EQ(webhooks_->test(ada_, id, now()).error().code, Code::kRateLimitExceeded);
}

TEST_F(WebhooksTest, ThereAreOnlySoMany) {
  for (std::size_t i = 0; i < kMaxWebhooksOfTenant; ++i) add(ada_, "http://127.0.0.1/");
  EXPECT_EQ(webhooks_->create(admin_, ada_, "http://127.0.0.1/", {}, now()).error().code,
            Code::kInvalidValue);
  add(bob_, "http://127.0.0.1/");
  EXPECT_FALSE(webhooks_->create(admin_, bob_, "http://127.0.0.1/", {"adapter.eaten"}, now()));
}

TEST_F(WebhooksTest, WhatWasDeletedIsNotSent) {
  const Receiver receiver;
  const std::string id = add(ada_, receiver.url());
  tell(event(ada_));
  ASSERT_TRUE(webhooks_->remove(admin_, ada_, id, now()));
  EXPECT_EQ(webhooks_->deliver_due(), 0);
  open();
  EXPECT_EQ(webhooks_->deliver_due(), 0);
  EXPECT_TRUE(receiver.requests().empty());
}

TEST_F(WebhooksTest, NoSecretIsInTheStore) {
  const std::string id = add(ada_, "http://127.0.0.1/");
  webhooks_->rotate(admin_, ada_, id, 60s, now()).value();
  ASSERT_TRUE(store_->scan(Family::kMeta, "", "", [&](std::string_view, std::string_view value) {
    EXPECT_EQ(value.find(secret_.substr(6)), value.npos);
    return true;
  }));
}

// The name means an allowed address when it is judged and the metadata service's a moment later.
TEST_F(WebhooksTest, ANameIsLookedUpOnceAndWhatItMeansLaterChangesNothing) {
  const Receiver receiver;
  int lookups = 0;
  settings_.resolve = [&](const std::string& host) -> Result<std::vector<ip::address>> {
    EXPECT_EQ(host, "rebind.example");
    const char* const address = ++lookups == 1 ? "127.0.0.1" : "169.254.169.254";
    return std::vector{ip::make_address(address)};
  };
  open();
  const std::string id = add(ada_, receiver.url("rebind.example"));
  tell(event(ada_));
  EXPECT_EQ(webhooks_->deliver_due(), 1);
  EXPECT_EQ(lookups, 1);
  EXPECT_EQ(receiver.requests().size(), 1U);
  EXPECT_EQ(header_of(receiver.requests().front(), "Host"),
            "rebind.example:" + std::to_string(receiver.port()));
  tell(event(ada_));
  EXPECT_EQ(webhooks_->deliver_due(), 1);
  EXPECT_EQ(lookups, 2);
  EXPECT_EQ(receiver.requests().size(), 1U);
  EXPECT_EQ(state(ada_, id).last->error, "the host's address is not allowed");
}

TEST_F(WebhooksTest, OneRefusedAddressAmongOthersRefusesTheName) {
  const Receiver receiver;
  settings_.resolve = [&](const std::string&) -> Result<std::vector<ip::address>> {
    return std::vector{ip::make_address("127.0.0.1"), ip::make_address("10.0.0.1")};
  };
  open();
  add(ada_, receiver.url("both.example"));
  tell(event(ada_));
  EXPECT_EQ(webhooks_->deliver_due(), 1);
  EXPECT_TRUE(receiver.requests().empty());
}

TEST(WebhookClientTest, WaitsNoLongerThanItMayAndEndsWhenItIsStopped) {
  const int listener = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in place{};
  place.sin_family = AF_INET;
  place.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof place;
  ASSERT_EQ(bind(listener, reinterpret_cast<sockaddr*>(&place), size), 0);
  ASSERT_EQ(listen(listener, 4), 0);  // connects, and says nothing
  getsockname(listener, reinterpret_cast<sockaddr*>(&place), &size);
  WebhookClient client;
  WebhookPost post{.url = {.tls = false, .host = "a", .port = ntohs(place.sin_port), .target = "/"},
                   .address = ip::make_address("127.0.0.1"),
                   .body = "{}"};
  EXPECT_EQ(client.post(post, 20ms).error().code, Code::kRequestTimeout);
  post.url.tls = true;
  EXPECT_EQ(client.post(post, 20ms).error().code, Code::kRequestTimeout);
  client.stop();
  EXPECT_EQ(client.post(post, 1h).error().message, "the server is stopping");
  close(listener);
}

TEST(WebhookClientTest, AnAnswerIsReadToItsStatusAndNoFurther) {
  for (const auto& [answer, status] :
       {std::pair<std::string, int>("HTTP/1.1 200 OK\r\n\r\n" + std::string(100'000, 'x'), 200),
        std::pair<std::string, int>("HTTP/1.0 404 No\r\n\r\n", 404),
        std::pair<std::string, int>("SMTP ready\r\n\r\n", 0),
        std::pair<std::string, int>("HTTP/1.1 2x0 OK\r\n\r\n", 0),
        std::pair<std::string, int>("HTTP/1.1 200 OK\r\nX: " + std::string(20'000, 'x'), 0)}) {
    const Receiver receiver({answer});
    WebhookClient client;
    const auto got =
        client.post({.url = {.tls = false, .host = "a", .port = receiver.port(), .target = "/"},
                     .address = ip::make_address("127.0.0.1"),
                     .body = "{}"});
    EXPECT_EQ(got ? *got : 0, status) << answer.substr(0, 40);
  }
}

TEST(Egress, OnlyPublicUnicastAddressesMayBeConnectedTo) {
  const EgressRules rules;
  for (const char* address : {"8.8.8.8", "1.1.1.1", "172.32.0.1", "100.128.0.1", "198.20.0.1",
                              "2606:4700::1111", "2a00:1450::1", "::ffff:8.8.8.8"}) {
    EXPECT_TRUE(may_connect(ip::make_address(address), rules)) << address;
  }
  for (const char* address : {"0.0.0.0",
                              "0.1.2.3",
                              "10.0.0.1",
                              "100.64.0.1",
                              "127.0.0.1",
                              "127.255.255.254",
                              "169.254.169.254",
                              "172.16.0.1",
                              "172.31.255.255",
                              "192.0.0.8",
                              "192.0.2.1",
                              "192.168.0.1",
                              "198.18.0.1",
                              "198.51.100.1",
                              "203.0.113.1",
                              "224.0.0.1",
                              "239.255.255.255",
                              "240.0.0.1",
                              "255.255.255.255",
                              "::",
                              "::1",
                              "::127.0.0.1",
                              "::ffff:127.0.0.1",
                              "::ffff:169.254.169.254",
                              "::ffff:10.0.0.1",
                              "64:ff9b::a9fe:a9fe",
                              "64:ff9b:1::1",
                              "100::1",
                              "2001::1",
                              "2001:db8::1",
                              "2002:7f00:1::",
                              "3fff::1",
                              "fc00::1",
                              "fd00:ec2::254",
                              "fe80::1",
                              "fe80::1%1",
                              "fec0::1",
                              "ff02::1"}) {
    EXPECT_FALSE(may_connect(ip::make_address(address), rules)) << address;
  }
  const EgressRules some{.allowed = IpSet::parse({"10.1.0.0/16", "::1"}).value()};
  EXPECT_TRUE(may_connect(ip::make_address("10.1.2.3"), some));
  EXPECT_TRUE(may_connect(ip::make_address("::ffff:10.1.2.3"), some));
  EXPECT_TRUE(may_connect(ip::make_address("::1"), some));
  EXPECT_TRUE(may_connect(ip::make_address("8.8.8.8"), some));
  EXPECT_FALSE(may_connect(ip::make_address("10.2.0.1"), some));
}

TEST(Egress, AUrlIsReadInOneWayOnly) {
  const auto read = [](const char* url) { return parse_webhook_url(url, {}); };
  const auto good = read("https://Hooks.Example.com:8443/a/b?c=d").value();
  EXPECT_TRUE(good.tls);
  EXPECT_EQ(good.host, "hooks.example.com");
  EXPECT_EQ(good.port, 8443);
  EXPECT_EQ(good.target, "/a/b?c=d");
  EXPECT_EQ(good.authority(), "hooks.example.com:8443");
  EXPECT_EQ(read("https://a.example").value().target, "/");
  EXPECT_EQ(read("https://a.example?x").value().target, "/?x");
  EXPECT_EQ(read("https://a.example:443").value().authority(), "a.example");
  EXPECT_EQ(read("https://[2606:4700::1]:444/").value().authority(), "[2606:4700::1]:444");
  for (const char* url : {"",
                          "https://",
                          "http://a.example/",
                          "ftp://a.example/",
                          "HTTPS://a.example/",
                          "file:///etc/passwd",
                          "//a.example",
                          "https://a.example:0/",
                          "https://a.example:65536/",
                          "https://a.example:x/",
                          "https://a.example:/",
                          "https://user@a.example/",
                          "https://user:pw@a.example/",
                          "https://a.example\\@b.example/",
                          "https://a.example#b",
                          "https://a .example/",
                          "https://a.example/\r\nX: y",
                          "https://a_b.example/",
                          "https://[::1/",
                          "https://[fe80::1%25eth0]/",
                          "https://%31/",
                          "https://a.example/\xc3\xa9",
                          "https://:443/",
                          "https:///path"}) {
    EXPECT_FALSE(read(url)) << url;
  }
  EXPECT_FALSE(read(("https://a.example/" + std::string(kMaxWebhookUrlChars, 'a')).c_str()));
  EXPECT_TRUE(parse_webhook_url("http://a.example/", {.allow_http = true}));
}

}  // namespace
}  // namespace tessera
