#include "gateway/http/error_body.hpp"

#include <set>
#include <string>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "storage/json.hpp"

namespace tessera {
namespace {

using namespace std::chrono_literals;

const RequestId kRequest("req_0123");

std::vector<Code> all_codes() {
  std::vector<Code> codes;
  for (int i = 0; i <= static_cast<int>(Code::kInternalError); ++i) {
    codes.push_back(static_cast<Code>(i));
  }
  return codes;
}

TEST(ErrorBody, EveryCodeHasBothFormsInOneBody) {
  for (const Code code : all_codes()) {
    const HttpResponse response = error_response({code, "What to do.", "a.b"}, kRequest);
    const auto body = parse_json(response.body).value();
    SCOPED_TRACE(response.body);
    const auto& error = body.at("error");
    EXPECT_TRUE(error.at("message").is_string());
    EXPECT_TRUE(error.at("type").is_string());
    EXPECT_TRUE(error.at("code").is_string());
    EXPECT_EQ(error.at("param"), "a.b");
    EXPECT_EQ(error.at("request_id"), "req_0123");
    EXPECT_EQ(body.at("status"), response.status);
    EXPECT_EQ(body.at("title"), reason_phrase(response.status));
    EXPECT_NE(body.at("title"), "Unknown");
    EXPECT_EQ(body.at("detail"), error.at("message"));
    EXPECT_EQ(body.at("instance"), "/requests/req_0123");
    EXPECT_TRUE(response.status >= 400 && response.status < 600);
    EXPECT_TRUE(response.body.ends_with("}\n")) << "one line, and a whole one";
    EXPECT_EQ(response.body.find('\n'), response.body.size() - 1);
  }
}

TEST(ErrorBody, IsNamedAProblemForWhoAsksForOneByName) {
  const auto wants = [](const std::string& accept) { return wants_problem({{"accept", accept}}); };
  EXPECT_FALSE(wants_problem({}));
  for (const char* accept :
       {"application/problem+json", "application/json, application/problem+json",
        "text/html, Application/Problem+JSON;q=0.5 , */*", "application/problem+json; q=1.0"}) {
    EXPECT_TRUE(wants(accept)) << accept;
  }
  for (const char* accept :
       {"", "*/*", "application/json", "application/*", "application/problem+json;q=0",
        "application/problem+json; q=0.000", "application/problem+jsonp"}) {
    EXPECT_FALSE(wants(accept)) << accept;
  }
  HttpResponse response = error_response({Code::kNotFound, "Not here."}, kRequest);
  name_problem(response.headers);
  EXPECT_EQ(header(response.headers, "Content-Type"), "application/problem+json");
}

TEST(ErrorBody, OurOwnTroubleIsNotDescribed) {
  for (const Code code : all_codes()) {
    if (http_error(code).status != 500) continue;
    const HttpResponse response =
        error_response({code, "open(/var/lib/secret) failed at 0x7ffd"}, kRequest);
    EXPECT_EQ(response.body.find("secret"), std::string::npos) << to_string(code);
    EXPECT_NE(response.body.find("internal_error"), std::string::npos) << to_string(code);
  }
}

TEST(ErrorBody, StatusesThatClientsActOn) {
  EXPECT_EQ(http_error(Code::kInvalidApiKey).status, 401);
  EXPECT_EQ(http_error(Code::kInsufficientScope).status, 403);
  EXPECT_EQ(http_error(Code::kModelNotFound).status, 404);
  EXPECT_EQ(http_error(Code::kContextLengthExceeded).status, 400);
  EXPECT_EQ(http_error(Code::kAdapterInvalid).status, 422);
  EXPECT_EQ(http_error(Code::kRateLimitExceeded).status, 429);
  EXPECT_EQ(http_error(Code::kQueueFull).status, 429);
  EXPECT_EQ(http_error(Code::kDraining).status, 503);
}

TEST(ErrorBody, RetryAdviceFollowsTheCode) {
  const auto advice = [](Code code) {
    const HttpResponse response = error_response({code, "x"}, kRequest);
    return std::string(header(response.headers, "x-should-retry"));
  };
  EXPECT_EQ(advice(Code::kRateLimitExceeded), "true");
  EXPECT_EQ(advice(Code::kInsufficientQuota), "false");
  EXPECT_EQ(advice(Code::kNameExists), "false");
  EXPECT_EQ(advice(Code::kInvalidValue), "");
}

TEST(ErrorBody, WhoeverIsToldToRetryIsToldWhen) {
  for (const Code code : all_codes()) {
    const HttpError http = http_error(code);
    const HttpResponse response = error_response({code, "x"}, kRequest);
    const bool expected = http.status == 503 || code == Code::kQueueFull;
    EXPECT_EQ(!header(response.headers, "retry-after").empty(), expected) << to_string(code);
    EXPECT_EQ(!header(response.headers, "retry-after-ms").empty(), expected) << to_string(code);
  }
  const HttpResponse full = error_response({Code::kServerIsOverloaded, "x"}, kRequest);
  EXPECT_EQ(header(full.headers, "retry-after"), "1");
  EXPECT_EQ(header(full.headers, "retry-after-ms"), "1000");
}

TEST(ErrorBody, UnauthorizedNamesItsScheme) {
  const HttpResponse response = error_response({Code::kInvalidApiKey, "x"}, kRequest);
  EXPECT_EQ(header(response.headers, "WWW-Authenticate"), "Bearer");
}

TEST(RetryAfter, IsRoundedUpNeverDown) {
  HttpResponse response;
  add_retry_after(response, 1420ms + 1ns);
  EXPECT_EQ(header(response.headers, "retry-after"), "2");
  EXPECT_EQ(header(response.headers, "retry-after-ms"), "1421");
}

}  // namespace
}  // namespace tessera
