// The routes about the running server and about all tenants together, over a whole platform without
// sockets.
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

class ServerApiTest : public testing::Test {
 protected:
  ServerApiTest() {
    project_ = body_of(ask(create_project, {}, R"({"name": "p"})")).at("id");
    account_ = body_of(ask(create_service_account, {project_},
                           R"({"name": "bot", "create_service_account_only": true})"))
                   .at("id");
  }

  Result<Reply> ask(Handler handler, std::vector<std::string> arguments = {},
                    const std::string& body = {}, const Headers& headers = {}) {
    Call call;
    call.caller.scopes = kAdminScopes;
    call.caller.is_admin = true;
    call.received_wall = platform_->clock.wall_now();
    call.arguments = std::move(arguments);
    call.request.body = body;
    call.request.headers = headers;
    return settled(handler(*platform_, call));
  }
  static const HttpResponse& response_of(const Result<Reply>& reply) {
    return std::get<HttpResponse>(reply.value());
  }
  static Json body_of(const Result<Reply>& reply) {
    return parse_json(response_of(reply).body).value();
  }
  Json new_key(const std::string& more = "") {
    return body_of(
        ask(create_service_account_key, {project_, account_}, R"({"name": "k")" + more + "}"));
  }
  Result<Caller> open(const Json& key) {
    return platform_->directory->authenticate(key.at("value").get<std::string>(),
                                              platform_->clock.wall_now());
  }

  TempDir directory_;
  std::unique_ptr<Platform> platform_ = open_tiny_platform(directory_.path());
  std::string project_;
  std::string account_;
};

TEST_F(ServerApiTest, AKeySaysWhetherItIsLenient) {
  EXPECT_EQ(new_key().at("compat"), "strict");
  const Json key = new_key(R"(, "compat": "lenient")");
  EXPECT_EQ(key.at("compat"), "lenient");
  EXPECT_TRUE(open(key)->key_policy->lenient);
  const std::vector<std::string> place = {project_, key.at("id")};
  EXPECT_EQ(body_of(ask(modify_project_key, place, R"({"allowed_models": ["a"]})")).at("compat"),
            "lenient");
  EXPECT_EQ(body_of(ask(modify_project_key, place, R"({"compat": "strict"})")).at("compat"),
            "strict");
  EXPECT_EQ(ask(modify_project_key, place, R"({"compat": "loose"})").error().param, "compat");
}

TEST_F(ServerApiTest, ADisabledKeyIsShownAsSuch) {
  const Json key = new_key();
  const std::vector<std::string> place = {project_, key.at("id")};
  EXPECT_TRUE(body_of(ask(get_project_key, place)).at("disabled_at").is_null());
  EXPECT_TRUE(body_of(ask(disable_project_key, place)).at("disabled_at").is_number());
  EXPECT_EQ(open(key).error().message, "This API key is disabled.");
  EXPECT_TRUE(body_of(ask(enable_project_key, place)).at("disabled_at").is_null());
  EXPECT_TRUE(open(key));
  EXPECT_EQ(ask(disable_project_key, {project_, "000000000000"}).error().code, Code::kNotFound);
}

TEST_F(ServerApiTest, TheLastUseOfAKeyIsShownAndIsNoChange) {
  const Json key = new_key();
  const std::vector<std::string> place = {project_, key.at("id")};
  const std::string etag(header(response_of(ask(get_project_key, place)).headers, "ETag"));
  const WallTime used = std::chrono::floor<std::chrono::minutes>(platform_->clock.wall_now());
  platform_->key_uses->note(TenantId(project_), KeyId(key.at("id").get<std::string>()), used);
  const auto shown = ask(get_project_key, place);
  const auto seconds =
      std::chrono::duration_cast<std::chrono::seconds>(used.time_since_epoch()).count();
  EXPECT_EQ(body_of(shown).at("last_used_at"), seconds);
  EXPECT_EQ(header(response_of(shown).headers, "ETag"), etag);
  EXPECT_EQ(body_of(ask(list_project_keys, {project_})).at("data").at(0).at("last_used_at"),
            seconds);
  EXPECT_TRUE(ask(modify_project_key, place, R"({"compat": "lenient"})", {{"if-match", etag}}));
}

TEST_F(ServerApiTest, LimitsOfTheOrganizationAreInForceAtOnce) {
  const Json key = new_key();
  EXPECT_EQ(ask(modify_organization_limit, {"rl_some"}, "{}").error().code, Code::kNotFound);
  const Json changed =
      body_of(ask(modify_organization_limit, {"rl_all"}, R"({"max_concurrent_requests": 1})"));
  EXPECT_EQ(changed.at("max_concurrent_requests"), 1);
  const auto caller = open(key).value();
  const auto held = platform_->admission.admit(caller, now_of(platform_->clock));
  ASSERT_TRUE(held);
  const auto refused = platform_->admission.admit(caller, now_of(platform_->clock));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().level, Level::kOrganization);
  const Json listed = body_of(ask(list_organization_limits));
  EXPECT_EQ(listed.at("data").at(0), changed);
  const std::string stale = R"("00000000000000000000000000000000")";
  EXPECT_EQ(ask(modify_organization_limit, {"rl_all"}, R"({"max_concurrent_requests": null})",
                {{"if-match", stale}})
                .error()
                .code,
            Code::kPreconditionFailed);
  EXPECT_TRUE(ask(modify_organization_limit, {"rl_all"}, R"({"max_concurrent_requests": null})",
                  {{"if-match", changed.at("etag")}}));
  EXPECT_TRUE(platform_->admission.admit(open(key).value(), now_of(platform_->clock)));
}

TEST_F(ServerApiTest, TheOrganizationsSpendLimitIsOneOfItsLimits) {
  EXPECT_EQ(body_of(ask(get_organization_spend_limit)).at("enforcement").at("status"), "inactive");
  EXPECT_EQ(ask(delete_organization_spend_limit).error().code, Code::kNotFound);
  const Json set = body_of(ask(set_organization_spend_limit, {}, R"({"threshold_amount": 500})"));
  EXPECT_EQ(set.at("threshold_amount"), 500);
  const Json limits = body_of(ask(list_organization_limits)).at("data").at(0);
  EXPECT_EQ(limits.at("max_spend_cents_per_1_month"), 500);
  EXPECT_EQ(body_of(ask(delete_organization_spend_limit)).at("deleted"), true);
  EXPECT_EQ(body_of(ask(get_organization_spend_limit)).at("threshold_amount"), nullptr);
}

TEST_F(ServerApiTest, TheConfigurationIsShownAndWhatCanBeChangedIs) {
  const auto shown = ask(get_config);
  const Json config = body_of(shown);
  EXPECT_EQ(config.at("log_level"), "info");
  EXPECT_EQ(config.at("settings").at("max_seqs"), platform_->config.max_seqs);
  const std::string etag(header(response_of(shown).headers, "ETag"));
  const Json changed =
      body_of(ask(set_config, {}, R"({"drain_seconds": 5})", {{"if-match", etag}}));
  EXPECT_EQ(changed.at("drain_seconds"), 5);
  EXPECT_EQ(changed.at("log_level"), "info");
  EXPECT_EQ(platform_->drain_seconds.load(), 5);
  EXPECT_EQ(ask(set_config, {}, R"({"drain_seconds": 6})", {{"if-match", etag}}).error().code,
            Code::kPreconditionFailed);
  EXPECT_EQ(ask(set_config, {}, R"({"log_level": "all"})").error().param, "log_level");
  EXPECT_EQ(ask(set_config, {}, R"({"max_seqs": 7})").error().code, Code::kUnknownParameter);
}

TEST_F(ServerApiTest, ADrainedServerIsNotReadyUntilItIsUndrained) {
  EXPECT_EQ(response_of(ask(readyz)).status, 200);
  EXPECT_EQ(body_of(ask(drain_server)).at("draining"), true);
  EXPECT_EQ(body_of(ask(drain_server)).at("draining"), true);
  EXPECT_EQ(response_of(ask(readyz)).status, 503);
  EXPECT_EQ(body_of(ask(undrain_server)).at("draining"), false);
  EXPECT_EQ(response_of(ask(readyz)).status, 200);
  std::vector<std::string> events;
  EXPECT_TRUE(scan_audit(*platform_->store, WallTime(), WallTime::max(), [&](const AuditRecord& r) {
    if (r.event.starts_with("server.")) events.push_back(r.event);
    return true;
  }));
  EXPECT_EQ(events, (std::vector<std::string>{"server.drained", "server.undrained"}));
}

// Who is not undrained is drained: that the process ends is no admin's to take back.
TEST_F(ServerApiTest, AServerThatEndsStaysDraining) {
  platform_->draining = true;
  EXPECT_EQ(body_of(ask(undrain_server)).at("draining"), true);
  EXPECT_EQ(response_of(ask(readyz)).status, 503);
}

TEST_F(ServerApiTest, KeysOfARotatedPepperAndOfTheOneBeforeAreBothGood) {
  const Json before = new_key();
  EXPECT_EQ(body_of(ask(rotate_pepper)).at("version"), 2);
  const Json after = new_key();
  EXPECT_TRUE(open(before));
  EXPECT_TRUE(open(after));
  const auto snapshot = platform_->directory->snapshot();
  EXPECT_EQ(snapshot->find_key(KeyId(before.at("id").get<std::string>()))->pepper_version, 1U);
  EXPECT_EQ(snapshot->find_key(KeyId(after.at("id").get<std::string>()))->pepper_version, 2U);
  platform_.reset();
  platform_ = open_tiny_platform(directory_.path());
  EXPECT_TRUE(open(before));
  EXPECT_TRUE(open(after));
}

TEST_F(ServerApiTest, ABackupIsVerifiedWhereItLies) {
  const std::string id = body_of(ask(create_backup)).at("id");
  const Json good = body_of(ask(verify_backup, {}, R"({"backup": ")" + id + "\"}"));
  EXPECT_EQ(good.at("ok"), true);
  EXPECT_GT(good.at("audit_links"), 0);
  std::filesystem::remove_all(platform_->config.data / "backups" / id / "store");
  const Json bad = body_of(ask(verify_backup, {}, R"({"backup": ")" + id + "\"}"));
  EXPECT_EQ(bad.at("ok"), false);
  EXPECT_TRUE(bad.at("reason").is_string());
  EXPECT_EQ(ask(verify_backup, {}, R"({"backup": "../../data"})").error().code, Code::kNotFound);
}

TEST_F(ServerApiTest, OneTenantCanBeLookedAt) {
  const Json key = new_key();
  auto permit = platform_->admission.admit(open(key).value(), now_of(platform_->clock));
  ASSERT_TRUE(permit);
  const Json state = body_of(ask(debug_tenant, {project_}));
  EXPECT_EQ(state.at("concurrent_requests").at("used"), 1);
  EXPECT_EQ(state.at("keys"), 1);
  EXPECT_EQ(state.at("use").at("requests_today"), 1);
  EXPECT_EQ(ask(debug_tenant, {"proj_none"}).error().code, Code::kNotFound);
}

TEST_F(ServerApiTest, MetricsOfTenantsAreCountersOfTheLedger) {
  UsageRecord record{.request = RequestId("req_1"),
                     .tenant = TenantId(project_),
                     .prompt_tokens = 7,
                     .completion_tokens = 5,
                     .finish = "stop"};
  ASSERT_TRUE(platform_->ledger->record(record));
  const std::string text = response_of(ask(get_tenant_metrics)).body;
  EXPECT_NE(text.find("# TYPE tessera_tenant_requests_total counter\n"
                      "tessera_tenant_requests_total{project=\"" +
                      project_ + "\"} 1\n"),
            std::string::npos)
      << text;
  EXPECT_NE(text.find("tessera_tenant_output_tokens_total{project=\"" + project_ + "\"} 5\n"),
            std::string::npos);
}

TEST_F(ServerApiTest, SeriesOfTenantsAreBoundedAndNothingIsLost) {
  for (std::size_t i = 0; i <= kMaxTenantSeries; ++i) {
    const auto id = TenantId(
        body_of(ask(create_project, {}, R"({"name": "many"})")).at("id").get<std::string>());
    UsageRecord record{.request = RequestId("req_" + std::to_string(i)),
                       .tenant = id,
                       .prompt_tokens = 1,
                       .finish = "stop"};
    ASSERT_TRUE(platform_->ledger->record(record));
  }
  const std::string text = response_of(ask(get_tenant_metrics)).body;
  std::size_t series = 0;
  std::int64_t requests = 0;
  const std::string name = "\ntessera_tenant_requests_total{";
  for (auto at = text.find(name); at != text.npos; at = text.find(name, at + 1)) {
    ++series;
    requests += std::stoll(text.substr(text.find("} ", at) + 2));
  }
  EXPECT_EQ(series, kMaxTenantSeries + 1);
  EXPECT_EQ(requests, static_cast<std::int64_t>(kMaxTenantSeries + 1));
  EXPECT_NE(text.find("tessera_tenant_requests_total{project=\"\"}"), std::string::npos);
}

}  // namespace
}  // namespace tessera
