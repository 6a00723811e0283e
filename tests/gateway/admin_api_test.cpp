// The administration's handlers over a whole platform without sockets.
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "gateway/handlers.hpp"
#include "storage/json.hpp"
#include "tests/gateway/tiny_platform.hpp"
#include "tests/support/temp_dir.hpp"

namespace tessera {
namespace {

using Json = nlohmann::ordered_json;

class AdminApiTest : public testing::Test {
 protected:
  AdminApiTest() { project_ = body_of(ask(create_project, {}, R"({"name": "p"})")).at("id"); }

  Result<Reply> ask(Handler handler, std::vector<std::string> arguments, const std::string& body) {
    Call call;
    call.caller.scopes = kAdminScopes;
    call.caller.is_admin = true;
    call.received_wall = platform_->clock.wall_now();
    call.arguments = std::move(arguments);
    call.request.body = body;
    return handler(*platform_, call);
  }
  static Json body_of(const Result<Reply>& reply) {
    return parse_json(std::get<HttpResponse>(reply.value()).body).value();
  }

  TempDir directory_;
  std::unique_ptr<Platform> platform_ = open_tiny_platform(directory_.path());
  std::string project_;
};

TEST_F(AdminApiTest, OnlyAKeyThatNamesNoScopesGetsTheDefaults) {
  const Json made = body_of(ask(create_service_account, {project_}, R"({"name": "bot"})"));
  const std::string account = made.at("id");
  const auto new_key = [&](const std::string& scopes) {
    return ask(create_service_account_key, {project_, account}, R"({"name": "k")" + scopes + "}");
  };
  const Json defaults = made.at("api_key").at("scopes");
  EXPECT_EQ(body_of(new_key("")).at("scopes"), defaults);
  EXPECT_EQ(body_of(new_key(R"(, "scopes": null)")).at("scopes"), defaults);
  EXPECT_EQ(body_of(new_key(R"(, "scopes": ["api.model.request"])")).at("scopes"),
            Json::array({"api.model.request"}));
  const auto refused = new_key(R"(, "scopes": [])");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kInvalidValue);
  EXPECT_EQ(refused.error().param, "scopes");
}

TEST_F(AdminApiTest, RateLimitsThatTheBodyLacksStayAsTheyAre) {
  const auto change = [&](const std::string& body) {
    return ask(modify_rate_limit, {project_, "rl_all"}, body);
  };
  ASSERT_TRUE(change(R"({"max_adapters": 5})"));
  const Json limits = body_of(change(R"({"max_requests_per_1_minute": 7})"));
  EXPECT_EQ(limits.at("max_adapters"), 5);
  EXPECT_EQ(limits.at("max_requests_per_1_minute"), 7);
}

TEST_F(AdminApiTest, WhatATenantMayUploadIsAmongItsLimits) {
  const Json limits = body_of(
      ask(modify_rate_limit, {project_, "rl_all"},
          R"({"max_adapter_rank": 16, "max_concurrent_uploads": 2, "max_uploads_per_1_day": 0})"));
  EXPECT_EQ(limits.at("max_adapter_rank"), 16);
  EXPECT_EQ(limits.at("max_concurrent_uploads"), 2);
  EXPECT_EQ(limits.at("max_uploads_per_1_day"), 0);
  const auto refused = ask(modify_rate_limit, {project_, "rl_all"}, R"({"max_adapter_rank": 257})");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().param, "max_adapter_rank");
}

TEST_F(AdminApiTest, RefusedRateLimitIsCalledAsTheClientCalledIt) {
  for (const std::string name : {"max_requests_per_1_minute", "max_tokens_per_1_minute",
                                 "max_output_tokens_per_request", "burst_tokens"}) {
    const auto refused = ask(modify_rate_limit, {project_, "rl_all"}, "{\"" + name + "\": 0}");
    ASSERT_FALSE(refused) << name;
    EXPECT_EQ(refused.error().code, Code::kInvalidValue);
    EXPECT_EQ(refused.error().param, name);
  }
}

}  // namespace
}  // namespace tessera
