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

TEST_F(AdminApiTest, AProjectShowsAndTakesWeightTierLabelsAndLimits) {
  const Json before = body_of(ask(get_project, {project_}, ""));
  EXPECT_EQ(before.at("weight"), 1);
  EXPECT_EQ(before.at("tier"), "default");
  EXPECT_EQ(before.at("labels"), Json::object());
  EXPECT_EQ(before.at("limits").at("max_adapters"), 64);
  const Json after = body_of(ask(modify_project, {project_},
                                 R"({"weight": 5, "tier": "fast", "labels": {"a": "1", "b": "2"},
                                     "limits": {"max_adapters": 3}})"));
  EXPECT_EQ(after.at("name"), "p") << "what the body lacks stays";
  EXPECT_EQ(after.at("weight"), 5);
  EXPECT_EQ(after.at("tier"), "priority");
  EXPECT_EQ(after.at("limits").at("max_adapters"), 3);
  const Json last =
      body_of(ask(modify_project, {project_}, R"({"labels": {"a": null, "c": "3"}, "weight": 1})"));
  EXPECT_EQ(last.at("labels"), (Json{{"b", "2"}, {"c", "3"}}));
  EXPECT_EQ(last.at("weight"), 1);
  EXPECT_EQ(body_of(ask(get_project, {project_}, "")), last);
}

TEST_F(AdminApiTest, AProjectIsMadeWithThemAtOnce) {
  const Json made = body_of(ask(create_project, {}, R"({"name": "q", "weight": 100,
                                                        "labels": {"a": ""}, "tier": "flex",
                                                        "limits": {"max_adapters": 0}})"));
  EXPECT_EQ(made.at("weight"), 100);
  EXPECT_EQ(made.at("tier"), "flex");
  EXPECT_EQ(made.at("limits").at("max_adapters"), 0);
}

TEST_F(AdminApiTest, WhatAProjectCannotBeIsRefusedByName) {
  const std::string big(600, 'x');
  for (const auto& [body, param] : std::vector<std::pair<std::string, std::string>>{
           {R"({})", "name"},
           {R"({"weight": 0})", "weight"},
           {R"({"weight": 101})", "weight"},
           {R"({"weight": 1.5})", "weight"},
           {R"({"weight": "1"})", "weight"},
           {R"({"tier": "gold"})", "tier"},
           {R"({"labels": []})", "labels"},
           {R"({"labels": {"a": 1}})", "labels.a"},
           {R"({"labels": {"": "x"}})", "labels"},
           {R"({"labels": {"a": ")" + big + "\"}}", "labels"},
           {R"({"limits": 5})", "limits"},
           {R"({"limits": {"max_adapters": "5"}})", "limits.max_adapters"},
           {R"({"limits": {"nonsense": 5}})", "limits.nonsense"},
           {R"({"limits": {"max_adapter_rank": 257}})", "max_adapter_rank"},
           {R"({"geography": "EU"})", "geography"},
           {R"({"colour": "red"})", "colour"}}) {
    const auto refused = ask(modify_project, {project_}, body);
    ASSERT_FALSE(refused) << body;
    EXPECT_EQ(refused.error().param, param) << body;
  }
  EXPECT_EQ(body_of(ask(get_project, {project_}, "")).at("labels"), Json::object());
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
