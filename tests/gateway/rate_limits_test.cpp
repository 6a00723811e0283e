#include "gateway/api/rate_limits.hpp"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "storage/json.hpp"

namespace tessera {
namespace {

using namespace std::chrono_literals;

TEST(GoDuration, IsWrittenAsGoDoes) {
  EXPECT_EQ(go_duration(0ms), "0s");
  EXPECT_EQ(go_duration(1ns), "1ms");
  EXPECT_EQ(go_duration(120ms), "120ms");
  EXPECT_EQ(go_duration(1s), "1s");
  EXPECT_EQ(go_duration(1200ms), "1.2s");
  EXPECT_EQ(go_duration(1005ms), "1.005s");
  EXPECT_EQ(go_duration(6min), "6m0s");
  EXPECT_EQ(go_duration(61s + 30ms), "1m1.03s");
  EXPECT_EQ(go_duration(25h), "25h0m0s");
}

TEST(RateLimitHeaders, BothFamilies) {
  LimitsView view;
  view.requests = {.limit = 600, .remaining = 599, .reset = 100ms};
  view.tokens = {.limit = 200'000, .remaining = 195'904, .reset = 1200ms};
  view.max_concurrent_requests = 32;
  view.concurrent_requests = 1;
  Headers headers;
  add_rate_limit_headers(headers, view);
  EXPECT_EQ(header(headers, "x-ratelimit-limit-requests"), "600");
  EXPECT_EQ(header(headers, "x-ratelimit-remaining-requests"), "599");
  EXPECT_EQ(header(headers, "x-ratelimit-reset-requests"), "100ms");
  EXPECT_EQ(header(headers, "x-ratelimit-limit-tokens"), "200000");
  EXPECT_EQ(header(headers, "x-ratelimit-remaining-tokens"), "195904");
  EXPECT_EQ(header(headers, "x-ratelimit-reset-tokens"), "1.2s");
  EXPECT_EQ(header(headers, "RateLimit-Policy"),
            R"("rpm";q=600;w=60, "tpm";q=200000;w=60, "conc";q=32;qu="concurrent-requests")");
  EXPECT_EQ(header(headers, "RateLimit"), R"("rpm";r=599;t=1, "tpm";r=195904;t=2, "conc";r=31)");
}

TEST(RefusalResponse, TellsNoNumbersOfTheOrganization) {
  const RateRefusal refusal{.policy = RatePolicy::kTokens,
                            .level = Level::kOrganization,
                            .requested = 400,
                            .retry_after = 18s,
                            .view = {}};
  const HttpResponse response = refusal_response(refusal, RequestId("req_1"));
  EXPECT_EQ(header(response.headers, "retry-after"), "18");
  const auto error = parse_json(response.body).value().at("error");
  EXPECT_EQ(error.at("message"),
            "Rate limit reached for tokens per min (TPM) of the organization. Retry in 18.000s.");
  EXPECT_EQ(error.at("details").at("level"), "organization");
  EXPECT_FALSE(error.at("details").contains("limit"));
  EXPECT_FALSE(error.at("details").contains("remaining"));
}

TEST(RefusalResponse, TellsTheExactWait) {
  const RateRefusal refusal{.policy = RatePolicy::kTokens,
                            .limit = 1000,
                            .requested = 400,
                            .remaining = 100,
                            .retry_after = 18s + 200us,
                            .view = {}};
  const HttpResponse response = refusal_response(refusal, RequestId("req_1"));
  EXPECT_EQ(response.status, 429);
  EXPECT_EQ(header(response.headers, "retry-after"), "19");
  EXPECT_EQ(header(response.headers, "retry-after-ms"), "18001");
  EXPECT_EQ(header(response.headers, "x-should-retry"), "true");
  const auto error = parse_json(response.body).value().at("error");
  EXPECT_EQ(error.at("code"), "rate_limit_exceeded");
  EXPECT_EQ(error.at("type"), "rate_limit_error");
  EXPECT_EQ(error.at("details").at("policy"), "tpm");
  EXPECT_EQ(error.at("details").at("retry_after_ms"), 18001);
}

TEST(RefusalResponse, WhatNeverFitsIsNotToBeRetried) {
  const RateRefusal refusal{.code = Code::kRequestExceedsLimit,
                            .policy = RatePolicy::kTokens,
                            .limit = 10,
                            .requested = 400,
                            .view = {}};
  const HttpResponse response = refusal_response(refusal, RequestId("req_1"));
  EXPECT_EQ(response.status, 400);
  EXPECT_EQ(header(response.headers, "retry-after"), "");
}

}  // namespace
}  // namespace tessera
