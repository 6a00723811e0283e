// The whole server in this process over loopback: raw bytes in, raw bytes out.
#include "gateway/http/server.hpp"

#include <future>
#include <latch>
#include <string>
#include <thread>

#include <poll.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/connect.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "gateway/http/address.hpp"
#include "storage/json.hpp"
#include "tests/gateway/tiny_platform.hpp"
#include "tests/support/temp_dir.hpp"

namespace tessera {
namespace {

using testing::HasSubstr;
using testing::StartsWith;
using Json = nlohmann::ordered_json;

struct Answer {
  std::string raw;

  int status() const { return raw.size() > 12 ? std::stoi(raw.substr(9, 3)) : 0; }
  std::string head() const { return raw.substr(0, raw.find("\r\n\r\n") + 4); }
  std::string body() const { return raw.substr(raw.find("\r\n\r\n") + 4); }
  Json json() const { return parse_json(body()).value(); }
  std::string code() const { return json().at("error").at("code"); }
};

// Little room for bodies: tests can fill it.
ServerConfig small_config() {
  ServerConfig config;
  config.body_bytes = std::int64_t{1} << 20;
  return config;
}

// A server over a fresh data directory, on a free port.
class Served {
 public:
  Served() {
    api_.emplace(loops_, *platform_, api_routes());
    ops_.emplace(loops_, *platform_, ops_routes(), ops_policy());
    // One that soon loses its patience.
    ListenerPolicy hasty;
    hasty.idle_timeout = hasty.head_timeout = hasty.body_grace = std::chrono::milliseconds(200);
    hasty.write_timeout = std::chrono::milliseconds(300);
    hasty.heartbeat = std::chrono::milliseconds(0);  // whenever there is nothing to say
    hasty_.emplace(loops_, *platform_, api_routes(), hasty);
    api_address_ = api_->listen("127.0.0.1:0").value();
    ops_address_ = ops_->listen("127.0.0.1:0").value();
    hasty_address_ = hasty_->listen("127.0.0.1:0").value();
    loops_.start();
  }
  ~Served() {
    loops_.stop();
    platform_->stop();
  }

  Platform& platform() { return *platform_; }

  // A new tenant's key.
  std::string tenant_key(const TenantLimits& limits = {}) {
    const Caller admin{
        .tenant = {}, .key = {}, .scopes = kAdminScopes, .is_admin = true, .limits = {}};
    TenantDirectory& directory = *platform_->directory;
    const WallTime now = platform_->clock.wall_now();
    const auto tenant = directory.create_tenant(admin, {.name = "t", .slug = ""}, now).value();
    EXPECT_TRUE(directory.set_limits(admin, tenant.id, limits, now));
    const auto account = directory.create_service_account(admin, tenant.id, "a", now).value();
    NewApiKey request;
    request.name = "k";
    request.scopes = kDefaultKeyScopes;
    request.tenant = tenant.id;
    request.service_account = account.id;
    return directory.create_key(admin, request, now).value().value;
  }

  enum class To { kApi, kOps, kHasty };

  net::ip::tcp::socket connect(To to = To::kApi) {
    net::ip::tcp::socket socket(client_io_);
    const std::string& address = to == To::kApi   ? api_address_
                                 : to == To::kOps ? ops_address_
                                                  : hasty_address_;
    socket.connect(parse_address(address).value());
    socket.set_option(net::ip::tcp::no_delay(true));
    return socket;
  }

  // Keeps every worker busy until `done`, and returns when they are.
  void occupy_workers(const std::shared_future<void>& done) {
    const auto begun = std::make_shared<std::latch>(platform_->config.workers);
    for (int i = 0; i < platform_->config.workers; ++i) {
      std::function<void()> job = [begun, done] {
        begun->count_down();
        done.wait();
      };
      net::co_spawn(loops_.next(), platform_->workers->run(std::move(job)), net::detached);
    }
    begun->wait();
  }

  // Sends bytes and reads until the server closes.
  Answer exchange(const std::string& bytes, To to = To::kApi) {
    net::ip::tcp::socket socket = connect(to);
    net::write(socket, net::buffer(bytes));
    return rest_of(socket);
  }

  static Answer rest_of(net::ip::tcp::socket& socket) {
    std::string answer;
    boost::system::error_code end;
    net::read(socket, net::dynamic_buffer(answer), end);
    return {answer};
  }

 private:
  TempDir directory_;
  std::unique_ptr<Platform> platform_ = open_tiny_platform(directory_.path(), small_config());
  IoLoops loops_{2};
  std::optional<Server> api_;
  std::optional<Server> ops_;
  std::optional<Server> hasty_;
  std::string api_address_;
  std::string ops_address_;
  std::string hasty_address_;
  net::io_context client_io_;
};

std::string request(const std::string& method, const std::string& path, const std::string& key,
                    const std::string& body = "", const std::string& more = "") {
  std::string out = method + ' ' + path + " HTTP/1.1\r\nHost: t\r\n" + more;
  if (!key.empty()) out += "Authorization: Bearer " + key + "\r\n";
  if (!body.empty()) {
    out +=
        "Content-Type: application/json\r\nContent-Length: " + std::to_string(body.size()) + "\r\n";
  }
  return out + "\r\n" + body;
}
const std::string kClose = "Connection: close\r\n";
constexpr char kFilePart[] = "--x\r\nContent-Disposition: form-data; name=file; filename=f\r\n\r\n";

std::string chat_body(const std::string& more) {
  return R"({"model": "tiny", "messages": [{"role": "user", "content": "hello"}], )" + more + "}";
}

// The body of a chunked answer without its framing.
std::string unchunked(const std::string& body) {
  std::string out;
  for (std::size_t at = 0;;) {
    const std::size_t line = body.find("\r\n", at);
    const std::size_t size = std::stoul(body.substr(at, line - at), nullptr, 16);
    if (size == 0) return out;
    out += body.substr(line + 2, size);
    at = line + 2 + size + 2;
  }
}

// The events of a stream, without [DONE].
std::vector<Json> events_of(const std::string& stream) {
  std::vector<Json> events;
  std::istringstream lines(stream);
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("data: {")) events.push_back(parse_json(line.substr(6)).value());
  }
  return events;
}

class ServerTest : public testing::Test {
 protected:
  static void SetUpTestSuite() { served = new Served; }
  static void TearDownTestSuite() {
    delete served;
    served = nullptr;
  }
  static Answer ask(const std::string& method, const std::string& path, const std::string& key,
                    const std::string& body = "", const std::string& more = "") {
    return served->exchange(request(method, path, key, body, kClose + more));
  }
  static Answer chat(const std::string& key, const std::string& fields) {
    return ask("POST", "/v1/chat/completions", key, chat_body(fields));
  }

  static Served* served;
};
Served* ServerTest::served = nullptr;

TEST_F(ServerTest, EveryAnswerHasARequestIdAndEchoesTheClients) {
  const Answer answer = ask("GET", "/nowhere", "", "", "X-Client-Request-Id: mine-1\r\n");
  EXPECT_EQ(answer.status(), 404);
  EXPECT_THAT(answer.head(), HasSubstr("X-Request-Id: req_"));
  EXPECT_THAT(answer.head(), HasSubstr("x-client-request-id: mine-1\r\n"));
  EXPECT_THAT(answer.head(), HasSubstr(answer.json().at("error").at("request_id")));
}

TEST_F(ServerTest, EveryWrongKeyIsAnsweredAlike) {
  std::string good = served->tenant_key();
  std::string wrong_secret = good;
  wrong_secret[20] = wrong_secret[20] == 'a' ? 'b' : 'a';
  std::set<std::string> bodies;
  for (const std::string& key : {std::string(), std::string("junk"), wrong_secret,
                                 std::string("sk-live-nobody"), good + "x"}) {
    const Answer answer = ask("GET", "/v1/models", key);
    EXPECT_EQ(answer.status(), 401) << key;
    EXPECT_THAT(answer.head(), HasSubstr("WWW-Authenticate: Bearer\r\n"));
    Json body = answer.json();
    body["error"].erase("request_id");
    body.erase("instance");
    bodies.insert(body.dump());
  }
  EXPECT_EQ(bodies.size(), 1U);
}

TEST_F(ServerTest, PipelinedRequestsAreAnsweredInOrder) {
  const std::string key = served->tenant_key();
  const Answer answers =
      served->exchange(request("GET", "/v1/models", key) + request("GET", "/v1/models/tiny", key) +
                       request("GET", "/nowhere", "", "", kClose));
  std::vector<std::string> statuses;
  for (std::size_t at = answers.raw.find("HTTP/1.1 "); at != std::string::npos;
       at = answers.raw.find("HTTP/1.1 ", at + 1)) {
    statuses.push_back(answers.raw.substr(at + 9, 3));
  }
  EXPECT_THAT(statuses, testing::ElementsAre("200", "200", "404"));
}

TEST_F(ServerTest, AmbiguousHeadEndsTheConnection) {
  const Answer answer =
      served->exchange("POST /v1/models HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: gzip\r\n\r\n" +
                       request("GET", "/v1/models", ""));
  EXPECT_EQ(answer.status(), 400);
  EXPECT_THAT(answer.head(), HasSubstr("Connection: close\r\n"));
  EXPECT_EQ(answer.raw.rfind("HTTP/1.1"), 0U) << "one answer only";
}

TEST_F(ServerTest, RefusalBeforeTheBodyKeepsTheConnectionIfTheBodyIsThere) {
  const Answer answers = served->exchange(request("POST", "/v1/completions", "junk", "{\"a\": 1}") +
                                          request("GET", "/v1/models", "", "", kClose));
  EXPECT_EQ(answers.status(), 401);
  EXPECT_NE(answers.raw.rfind("HTTP/1.1"), 0U) << "the second request was answered too";
}

// The announced rest of it never comes, and nobody waits for it.
TEST_F(ServerTest, ABombOfBracketsIsRefusedByItsBeginning) {
  const std::string start = "POST /v1/chat/completions HTTP/1.1\r\nHost: t\r\n" + kClose +
                            "Authorization: Bearer " + served->tenant_key() +
                            "\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n"
                            R"({"messages":)";
  const Answer answer = served->exchange(start + std::string(2000, '['));
  EXPECT_EQ(answer.status(), 400);
  EXPECT_EQ(answer.code(), "invalid_json");
}

TEST_F(ServerTest, WrongUseOfARouteHasItsStatus) {
  const std::string key = served->tenant_key();
  EXPECT_EQ(ask("PUT", "/v1/models", key).status(), 405);
  EXPECT_THAT(ask("PUT", "/v1/models", key).head(), HasSubstr("Allow: GET, HEAD\r\n"));
  EXPECT_EQ(ask("GET", "/v1/organization/projects", key).status(), 403);
  EXPECT_EQ(ask("POST", "/v1/chat/completions", key).status(), 415);
  EXPECT_EQ(chat(key, "\"priority\": 2").code(), "unsupported_parameter");
  EXPECT_EQ(chat(key, "\"x\": ").code(), "invalid_json");
  const Answer huge = served->exchange(
      request("POST", "/v1/completions", key, "",
              "Content-Type: application/json\r\nContent-Length: 99999999999\r\n"));
  EXPECT_EQ(huge.status(), 413);
}

// Each in a packet of its own, as good as the network lets us say that.
TEST_F(ServerTest, ChunkedBodyMayArriveInPieces) {
  net::ip::tcp::socket socket = served->connect(Served::To::kOps);
  const std::string head = "GET /livez HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n";
  for (const std::string& piece :
       {head + kClose + "\r\n", std::string("0\r\n"), std::string("\r"), std::string("\n")}) {
    net::write(socket, net::buffer(piece));
    // The answer to another connection's request: by then the piece has been read.
    served->exchange(request("GET", "/livez", "", "", kClose), Served::To::kOps);
  }
  EXPECT_EQ(Served::rest_of(socket).status(), 200);
}

TEST_F(ServerTest, MalformedTrailerEndsTheConnection) {
  for (const char* trailer : {"Content-Length: 5", "no colon"}) {
    const std::string key = served->tenant_key();
    const Answer answer = served->exchange(
        request("POST", "/v1/completions", key, "",
                "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n") +
        "2\r\n{}\r\n0\r\n" + trailer + "\r\n\r\n" + request("GET", "/v1/models", key));
    EXPECT_EQ(answer.status(), 400) << trailer;
    EXPECT_THAT(answer.head(), HasSubstr("Connection: close\r\n"));
    EXPECT_EQ(answer.raw.rfind("HTTP/1.1"), 0U) << "one answer only";
  }
}

TEST_F(ServerTest, SlowRequestIsToldThatItIsTooLate) {
  const std::string key = served->tenant_key();
  const std::string slow_head = "GET /v1/models HTTP/1.1\r\nHost:";
  const std::string slow_body = request("POST", "/v1/completions", key, "",
                                        "Content-Type: application/json\r\n"
                                        "Content-Length: 10\r\n") +
                                "{";
  const std::string slow_upload = request("POST", "/v1/files", key, "",
                                          "Content-Type: multipart/form-data; boundary=x\r\n"
                                          "Content-Length: 1000000\r\n") +
                                  kFilePart + std::string(400'000, 'x');
  for (const std::string& sent : {slow_head, slow_body, slow_upload}) {
    const Answer answer = served->exchange(sent, Served::To::kHasty);
    ASSERT_EQ(answer.status(), 408) << answer.raw;
    EXPECT_EQ(answer.code(), "request_timeout");
    EXPECT_THAT(answer.head(), HasSubstr("X-Request-Id: req_"));
    EXPECT_THAT(answer.head(), HasSubstr("Connection: close\r\n"));
  }
  EXPECT_EQ(served->platform().staging->bytes(), 0U) << "what had come of the upload went";
}

TEST_F(ServerTest, BodyThatGoesToDiskEndsWhereItEnds) {
  const std::string key = served->tenant_key();
  const std::string content(700'001, 'c');
  const std::string form =
      "--x\r\nContent-Disposition: form-data; name=purpose\r\n\r\nuser_data\r\n" +
      std::string(kFilePart) + content + "\r\n--x--\r\n";
  const std::string type = "Content-Type: multipart/form-data; boundary=x\r\n";
  std::string chunked;
  for (std::size_t at = 0; at < form.size(); at += 99'999) {
    const std::string piece = form.substr(at, 99'999);
    std::ostringstream size;
    size << std::hex << piece.size();
    chunked += size.str() + "\r\n" + piece + "\r\n";
  }
  const std::string bodies[] = {
      request("POST", "/v1/files", key, "",
              type + "Content-Length: " + std::to_string(form.size()) + "\r\n") +
          form,
      request("POST", "/v1/files", key, "", type + "Transfer-Encoding: chunked\r\n") + chunked +
          "0\r\n\r\n"};
  for (const std::string& sent : bodies) {
    // The next request waits in the same bytes.
    const Answer both = served->exchange(sent + request("GET", "/v1/files", key, "", kClose));
    const std::size_t second = both.raw.rfind("HTTP/1.1 200");
    ASSERT_GT(second, 0U) << both.raw;
    const Json files = Answer{both.raw.substr(second)}.json().at("data");
    const std::string id = files.back().at("id");
    EXPECT_EQ(files.back().at("bytes"), content.size());
    const Answer read = ask("GET", "/v1/files/" + id + "/content", key);
    EXPECT_EQ(read.status(), 200);
    EXPECT_TRUE(read.body() == content) << read.body().size();
    EXPECT_EQ(ask("HEAD", "/v1/files/" + id + "/content", key).body(), "");
    EXPECT_EQ(ask("DELETE", "/v1/files/" + id, key).status(), 200);
  }
  EXPECT_EQ(served->platform().staging->bytes(), 0U);
}

TEST_F(ServerTest, IdleConnectionIsClosedWithoutAWord) {
  EXPECT_EQ(served->exchange("", Served::To::kHasty).raw, "");
  const Answer answer = served->exchange(request("GET", "/v1/models", ""), Served::To::kHasty);
  EXPECT_EQ(answer.status(), 401);
  EXPECT_EQ(answer.raw.rfind("HTTP/1.1"), 0U) << "and then nothing";
}

TEST_F(ServerTest, ListenersCountTheirOwnConnections) {
  const std::size_t allowed = kMaxOpsConnections;
  std::vector<net::ip::tcp::socket> idle;
  for (std::size_t i = 0; i < allowed; ++i) idle.push_back(served->connect());
  for (const auto to : {Served::To::kApi, Served::To::kOps}) {
    const std::string path = to == Served::To::kApi ? "/v1/models" : "/livez";
    EXPECT_NE(served->exchange(request("GET", path, "", "", kClose), to).status(), 0);
  }
  for (std::size_t i = 0; i < allowed; ++i) idle.push_back(served->connect(Served::To::kOps));
  net::ip::tcp::socket refused = served->connect(Served::To::kOps);
  EXPECT_EQ(Served::rest_of(refused).raw, "");
  idle.clear();
  const std::string livez = request("GET", "/livez", "", "", kClose);
  while (served->exchange(livez, Served::To::kOps).status() != 200) std::this_thread::yield();
  EXPECT_EQ(ask("GET", "/v1/models", "").status(), 401);
}

TEST_F(ServerTest, OperationsAnswerWhileEveryWorkerIsBusy) {
  std::promise<void> done;
  served->occupy_workers(done.get_future().share());
  for (const char* path : {"/livez", "/readyz", "/metrics"}) {
    net::ip::tcp::socket socket = served->connect(Served::To::kOps);
    net::write(socket, net::buffer(request("GET", path, "", "", kClose)));
    pollfd ready{.fd = socket.native_handle(), .events = POLLIN, .revents = 0};
    ASSERT_EQ(poll(&ready, 1, /*timeout=*/10'000), 1) << path;
    EXPECT_EQ(Served::rest_of(socket).status(), 200) << path;
  }
  done.set_value();
}

TEST_F(ServerTest, SmallRequestsNeedNoWorker) {
  const std::string small = request("POST", "/v1/chat/completions", served->tenant_key(),
                                    chat_body("\"max_tokens\": 1"), kClose);
  std::promise<void> done;
  served->occupy_workers(done.get_future().share());
  EXPECT_EQ(served->exchange(small).status(), 200);
  done.set_value();
}

TEST_F(ServerTest, ExpectContinueIsAnsweredBeforeTheBody) {
  const std::string key = served->tenant_key();
  const std::string body = chat_body("\"max_tokens\": 1");
  net::ip::tcp::socket socket = served->connect();
  std::string head =
      request("POST", "/v1/chat/completions", key, body, kClose + "Expect: 100-Continue\r\n");
  head.resize(head.size() - body.size());
  net::write(socket, net::buffer(head));
  std::string go_on(25, '\0');
  net::read(socket, net::buffer(go_on));
  EXPECT_EQ(go_on, "HTTP/1.1 100 Continue\r\n\r\n");
  net::write(socket, net::buffer(body));
  std::string answer;
  boost::system::error_code end;
  net::read(socket, net::dynamic_buffer(answer), end);
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 200"));
}

TEST_F(ServerTest, StreamSaysWhatTheWholeAnswerSays) {
  const std::string key = served->tenant_key();
  const std::string fields = R"("max_tokens": 40, "seed": 3, "ignore_eos": true)";
  const Answer whole = chat(key, fields);
  ASSERT_EQ(whole.status(), 200) << whole.raw;
  const Answer streamed =
      chat(key, fields + R"(, "stream": true, "stream_options": {"include_usage": true})");
  ASSERT_EQ(streamed.status(), 200) << streamed.raw;
  EXPECT_THAT(streamed.head(), HasSubstr("Content-Type: text/event-stream"));
  EXPECT_THAT(streamed.head(), HasSubstr("x-ratelimit-limit-requests: "));
  const std::string stream = unchunked(streamed.body());
  EXPECT_TRUE(stream.ends_with("data: [DONE]\n\n"));
  const std::vector<Json> events = events_of(stream);
  std::string text;
  for (const Json& event : events) {
    for (const Json& choice : event.at("choices")) text += choice.at("delta").value("content", "");
  }
  EXPECT_EQ(text, whole.json().at("choices").at(0).at("message").at("content"));
  EXPECT_EQ(events.front().at("choices").at(0).at("delta").at("role"), "assistant");
  EXPECT_EQ(events.back().at("usage").at("completion_tokens"), 40);
  EXPECT_EQ(events.at(events.size() - 2).at("choices").at(0).at("finish_reason"), "length");
}

// Rule 4 of streams: what is said while nothing is generated has no meaning to a client.
TEST_F(ServerTest, SilenceOfAStreamIsFilledWithComments) {
  const std::string bytes = request("POST", "/v1/chat/completions", served->tenant_key(),
                                    chat_body(R"("max_tokens": 4, "stream": true)"), kClose);
  const Answer answer = served->exchange(bytes, Served::To::kHasty);
  EXPECT_EQ(answer.status(), 200);
  const std::string stream = unchunked(answer.body());
  EXPECT_TRUE(stream.starts_with(": keep-alive\n\n")) << stream.substr(0, 100);
  EXPECT_TRUE(stream.ends_with("data: [DONE]\n\n"));
  EXPECT_EQ(stream.find("data: \n"), stream.npos) << "an empty event";
  EXPECT_GE(events_of(stream).size(), 2U);
}

TEST_F(ServerTest, StreamOnHttp10IsBareAndEndsWithTheConnection) {
  const std::string key = served->tenant_key();
  const std::string body = chat_body(R"("max_tokens": 3, "stream": true)");
  const Answer answer = served->exchange(
      "POST /v1/chat/completions HTTP/1.0\r\nConnection: keep-alive\r\nAuthorization: Bearer " +
      key + "\r\nContent-Type: application/json\r\nContent-Length: " + std::to_string(body.size()) +
      "\r\n\r\n" + body);
  EXPECT_EQ(answer.status(), 200);
  EXPECT_EQ(answer.head().find("chunked"), std::string::npos);
  EXPECT_THAT(answer.body(), StartsWith("data: {"));
  EXPECT_TRUE(answer.body().ends_with("data: [DONE]\n\n"));
}

TEST_F(ServerTest, CompletionsOfSeveralPromptsAreChoicesInOrder) {
  const std::string key = served->tenant_key();
  const auto texts = [&](const std::string& prompt) {
    const Answer answer =
        ask("POST", "/v1/completions", key,
            R"({"model": "tiny", "temperature": 0, "max_tokens": 6, "prompt": )" + prompt + "}");
    EXPECT_EQ(answer.status(), 200) << answer.raw;
    std::vector<std::string> out;
    const Json json = answer.json();
    for (const Json& choice : json.at("choices")) {
      EXPECT_EQ(choice.at("index"), out.size());
      out.push_back(choice.at("text"));
    }
    return out;
  };
  const auto both = texts(R"(["abc", "xyz"])");
  ASSERT_EQ(both.size(), 2U);
  EXPECT_EQ(both[0], texts(R"("abc")").at(0));
  EXPECT_EQ(both[1], texts("[120, 121, 122]").at(0)) << "the same prompt as ids";
}

TEST_F(ServerTest, CompletionOfNoTokensIsEmptyAndCostsItsPrompt) {
  const std::string key = served->tenant_key();
  const std::string fields = R"({"model": "tiny", "prompt": "abc", "max_tokens": 0)";
  const Answer answer = ask("POST", "/v1/completions", key, fields + "}");
  ASSERT_EQ(answer.status(), 200) << answer.raw;
  const Json json = answer.json();
  EXPECT_EQ(json.at("choices").at(0).at("text"), "");
  EXPECT_EQ(json.at("choices").at(0).at("finish_reason"), "length");
  EXPECT_GE(json.at("usage").at("prompt_tokens"), 3);
  EXPECT_EQ(json.at("usage").at("completion_tokens"), 0);
  const Answer stream = ask("POST", "/v1/completions", key, fields + R"(, "stream": true})");
  EXPECT_THAT(stream.body(), HasSubstr(R"("finish_reason":"length")"));
  EXPECT_THAT(stream.body(), HasSubstr("[DONE]"));
  EXPECT_EQ(chat(key, "\"max_tokens\": 0").status(), 400);
}

TEST_F(ServerTest, HeadIsGetWithoutItsBody) {
  const std::string key = served->tenant_key();
  const Answer get = ask("GET", "/v1/models", key);
  const Answer head = ask("HEAD", "/v1/models", key);
  EXPECT_EQ(head.status(), 200);
  EXPECT_THAT(head.head(), HasSubstr("Content-Length: " + std::to_string(get.body().size())));
  EXPECT_EQ(head.body(), "");
}

TEST_F(ServerTest, PromptBeyondTheContextIsToldInTheWordsThatClientsKnow) {
  const std::string key = served->tenant_key();
  const Answer answer =
      ask("POST", "/v1/completions", key,
          R"({"model": "tiny", "prompt": ")" + std::string(kTinyContext, 'a') + "\"}");
  EXPECT_EQ(answer.status(), 400);
  EXPECT_EQ(answer.code(), "context_length_exceeded");
  EXPECT_EQ(answer.json().at("error").at("param"), "prompt");
  const Answer chat_answer = chat(key, "\"max_tokens\": " + std::to_string(kTinyContext));
  EXPECT_EQ(chat_answer.json().at("error").at("param"), "messages") << chat_answer.raw;
  EXPECT_THAT(answer.body(), HasSubstr("maximum context length"));
}

TEST_F(ServerTest, SpentLimitSaysWhenToComeBack) {
  TenantLimits limits;
  limits.requests_per_minute = 1;
  const std::string key = served->tenant_key(limits);
  EXPECT_EQ(chat(key, "\"max_tokens\": 1").status(), 200);
  const Answer refused = chat(key, "\"max_tokens\": 1");
  EXPECT_EQ(refused.status(), 429);
  EXPECT_EQ(refused.code(), "rate_limit_exceeded");
  EXPECT_THAT(refused.head(), HasSubstr("retry-after: "));
  EXPECT_THAT(refused.head(), HasSubstr("retry-after-ms: "));
  EXPECT_THAT(refused.head(), HasSubstr("x-ratelimit-remaining-requests: 0\r\n"));
}

TEST_F(ServerTest, ClientThatLeavesFreesItsSlotAndIsCharged) {
  const std::string key = served->tenant_key();
  Platform& platform = served->platform();
  const Caller caller = platform.directory->authenticate(key, platform.clock.wall_now()).value();
  {
    net::ip::tcp::socket socket = served->connect();
    const std::string body =
        chat_body(R"("max_tokens": 16000, "ignore_eos": true, "stream": true)");
    net::write(socket, net::buffer(request("POST", "/v1/chat/completions", key, body)));
    std::string first(16, '\0');
    net::read(socket, net::buffer(first));  // it has begun
  }
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (platform.admission.num_running() > 0 && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::yield();
  }
  EXPECT_EQ(platform.admission.num_running(), 0);
  const UsageTotals totals = platform.ledger->totals_by_tenant(caller.tenant).value();
  EXPECT_EQ(totals.requests, 1);
  EXPECT_GT(totals.completion_tokens, 0);
}

// The last of possibly several answers: a client that has ended its side may be told to continue.
std::string final_answer(const std::string& raw) {
  constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";
  return raw.starts_with(kContinue) ? raw.substr(kContinue.size()) : raw;
}

TEST_F(ServerTest, ClientThatOnlyEndsItsSideIsAnswered) {
  const std::string key = served->tenant_key();
  const auto ask_and_end = [&](const std::string& fields) {
    net::ip::tcp::socket socket = served->connect();
    const std::string body = chat_body(R"("max_tokens": 300, "ignore_eos": true)" + fields);
    net::write(socket, net::buffer(request("POST", "/v1/chat/completions", key, body)));
    socket.shutdown(net::ip::tcp::socket::shutdown_send);
    return Answer{final_answer(Served::rest_of(socket).raw)};
  };
  const Answer whole = ask_and_end("");
  ASSERT_EQ(whole.status(), 200) << whole.raw;
  EXPECT_EQ(whole.json().at("usage").at("completion_tokens"), 300);
  const Answer stream = ask_and_end(R"(, "stream": true)");
  ASSERT_EQ(stream.status(), 200) << stream.raw;
  EXPECT_THAT(unchunked(stream.body()), testing::EndsWith("data: [DONE]\n\n"));
}

TEST_F(ServerTest, ClientThatClosesBeforeTheFirstByteIsNotAnswered) {
  Platform& platform = served->platform();
  for (const char* fields : {"", R"(, "stream": true)"}) {
    const std::string key = served->tenant_key();
    const TenantId tenant =
        platform.directory->authenticate(key, platform.clock.wall_now()).value().tenant;
    const std::string body =
        chat_body(R"("max_tokens": 16000, "ignore_eos": true)" + std::string(fields));
    {
      net::ip::tcp::socket socket = served->connect();
      net::write(socket, net::buffer(request("POST", "/v1/chat/completions", key, body)));
    }
    std::string finish;
    const auto look = [&](const UsageRecord& record) {
      if (record.tenant == tenant) finish = record.finish;
      return true;
    };
    while (finish.empty()) {
      ASSERT_TRUE(platform.ledger->scan(WallTime{}, WallTime::max(), look));
      std::this_thread::yield();
    }
    EXPECT_EQ(finish, "client_closed_request") << fields;
  }
}

TEST_F(ServerTest, BodiesBeyondTheBudgetAreRefusedForNowAndRoomComesBack) {
  // A budget of 1 MiB, half of it for a tenant.
  const auto stalled = [&](std::size_t sent) {
    net::ip::tcp::socket socket = served->connect();
    net::write(socket, net::buffer(request("POST", "/v1/completions", served->tenant_key(), "",
                                           "Content-Type: application/json\r\n"
                                           "Content-Length: 524288\r\n") +
                                   std::string(sent, ' ')));
    return socket;
  };
  BodyBudget& bodies = *served->platform().bodies;
  const auto wait_until_held = [&](std::size_t bytes) {
    while (bodies.held_bytes() != bytes) std::this_thread::yield();
  };
  std::vector<net::ip::tcp::socket> held;
  for (int i = 0; i < 2; ++i) held.push_back(stalled(500'000));
  wait_until_held(1'000'000);
  const std::string question =
      R"({"model": "tiny", "prompt": ")" + std::string(50'000, 'a') + R"(", "max_tokens": 1})";
  const Answer refused = ask("POST", "/v1/completions", served->tenant_key(), question);
  EXPECT_EQ(refused.status(), 503) << refused.raw;
  EXPECT_EQ(refused.code(), "server_is_overloaded");
  EXPECT_THAT(refused.head(), HasSubstr("retry-after: 1\r\n"));
  EXPECT_EQ(ask("POST", "/v1/completions", served->tenant_key(), chat_body("\"x\": 1")).status(),
            400)
      << "a small one has room";
  held.clear();
  wait_until_held(0);
  EXPECT_EQ(ask("POST", "/v1/completions", served->tenant_key(), question).code(),
            "context_length_exceeded");
  const Answer never =
      ask("POST", "/v1/completions", served->tenant_key(), std::string((1 << 19) + 1, ' '));
  EXPECT_EQ(never.status(), 413) << "more than a tenant may ever hold";
}

TEST_F(ServerTest, UsageIsRecordedBeforeTheAnswerEnds) {
  const std::string key = served->tenant_key();
  const Json usage = chat(key, "\"max_tokens\": 5, \"ignore_eos\": true").json().at("usage");
  const Json self = ask("GET", "/v1/usage/self", key).json();
  EXPECT_EQ(self.at("totals").at("num_model_requests"), 1);
  EXPECT_EQ(self.at("totals").at("output_tokens"), usage.at("completion_tokens"));
  EXPECT_EQ(self.at("totals").at("input_tokens"), usage.at("prompt_tokens"));
}

TEST_F(ServerTest, OperationsListenerHasItsOwnRoutes) {
  EXPECT_EQ(served->exchange(request("GET", "/livez", "", "", kClose), Served::To::kOps).status(),
            200);
  EXPECT_EQ(served->exchange(request("GET", "/readyz", "", "", kClose), Served::To::kOps).status(),
            200);
  EXPECT_EQ(
      served->exchange(request("GET", "/v1/models", "", "", kClose), Served::To::kOps).status(),
      404);
  EXPECT_EQ(ask("GET", "/metrics", "").status(), 404);
  const Answer metrics =
      served->exchange(request("GET", "/metrics", "", "", kClose), Served::To::kOps);
  EXPECT_THAT(metrics.body(), HasSubstr("vllm:num_requests_running{model_name=\"tiny\"} "));
}

}  // namespace
}  // namespace tessera
