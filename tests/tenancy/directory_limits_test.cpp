// directory_limits_test.cpp — limits and policies of tenants and of the organization.
#include <thread>

#include <gtest/gtest.h>

#include "tenancy/directory.hpp"
#include "tests/tenancy/directory_fixture.hpp"

namespace tessera {
namespace {

TEST_F(TenantDirectoryTest, TheOrganizationsLimitsComeWithEveryTenantsCaller) {
  const CreatedApiKey key = make_key(make_tenant("acme"));
  EXPECT_EQ(directory_->authenticate(key.value, kNow)->organization, nullptr);
  const auto set = [&](const Caller& actor, std::int64_t limit) {
    return directory_->modify_organization(
        actor, "organization.rate_limit.updated",
        [&](MeterLimits& limits) -> Result<void> {
          limits.tokens_per_minute = limit;
          return {};
        },
        kNow);
  };
  EXPECT_EQ(set(admin_, 7)->tokens_per_minute, 7);
  const auto caller = directory_->authenticate(key.value, kNow).value();
  EXPECT_EQ(caller.organization->limits.tokens_per_minute, 7);
  EXPECT_EQ(set(admin_, 8)->tokens_per_minute, 8);
  const auto newer = directory_->authenticate(key.value, kNow).value();
  EXPECT_GT(newer.organization->revision, caller.organization->revision);
  EXPECT_EQ(set(caller, 9).error().code, Code::kInsufficientScope);
  EXPECT_EQ(set(admin_, -1).error().code, Code::kInvalidValue);
  reopen();
  EXPECT_EQ(directory_->authenticate(key.value, kNow)->organization->limits.tokens_per_minute, 8);
}

TEST_F(TenantDirectoryTest, ChangedLimitsAreInForceForTheNextRequest) {
  const Tenant tenant = make_tenant("a");
  const CreatedApiKey key = make_key(tenant);
  TenantLimits limits;
  limits.requests_per_minute = 7;
  ASSERT_TRUE(directory_->set_limits(admin_, tenant.id, limits, kNow));
  EXPECT_EQ(directory_->authenticate(key.value, kNow)->limits, limits);
  limits.requests_per_minute = 0;
  EXPECT_EQ(directory_->set_limits(admin_, tenant.id, limits, kNow).error().code,
            Code::kInvalidValue);
}

TEST_F(TenantDirectoryTest, RevisionGrowsWithEachChangeOfItsTenantsLimitsAndNoOther) {
  const Tenant tenant = make_tenant("a");
  const CreatedApiKey key = make_key(tenant);
  const CreatedApiKey others_key = make_key(make_tenant("b"));
  const auto revision = [&](const CreatedApiKey& of) {
    return directory_->authenticate(of.value, kNow)->limits_revision;
  };
  const auto first = revision(key);
  const auto others = revision(others_key);
  ASSERT_TRUE(directory_->set_limits(admin_, tenant.id, {.requests_per_minute = 7}, kNow));
  EXPECT_EQ(revision(key), first + 1);
  ASSERT_TRUE(directory_->rename_tenant(admin_, tenant.id, "c", kNow));
  EXPECT_EQ(revision(key), first + 1);
  store_->fails = true;
  EXPECT_FALSE(directory_->set_limits(admin_, tenant.id, {.requests_per_minute = 8}, kNow));
  store_->fails = false;
  EXPECT_EQ(revision(key), first + 1);
  ASSERT_TRUE(directory_->set_limits(admin_, tenant.id, {.requests_per_minute = 7}, kNow));
  EXPECT_EQ(revision(key), first + 2);
  EXPECT_EQ(revision(others_key), others);
}

TEST_F(TenantDirectoryTest, AdminsWhoChangeDifferentLimitsAtOnceLoseNothing) {
  constexpr int kChanges = 100;
  const Tenant tenant = make_tenant("a");
  const auto raise = [&](std::int64_t TenantLimits::*member) {
    for (int i = 0; i < kChanges; ++i) {
      const auto one_more = [&](TenantLimits& limits) -> Result<void> {
        limits.*member += 1;
        return {};
      };
      EXPECT_TRUE(directory_->modify_limits(admin_, tenant.id, one_more, kNow));
    }
  };
  {
    std::jthread first([&] { raise(&TenantLimits::max_adapters); });
    std::jthread second([&] { raise(&TenantLimits::requests_per_minute); });
  }
  const TenantLimits limits = directory_->snapshot()->find(tenant.id)->limits;
  EXPECT_EQ(limits.max_adapters, TenantLimits().max_adapters + kChanges);
  EXPECT_EQ(limits.requests_per_minute, TenantLimits().requests_per_minute + kChanges);
}

TEST_F(TenantDirectoryTest, RefusedChangeOfLimitsLeavesThem) {
  const Tenant tenant = make_tenant("a");
  const auto refuse = [](TenantLimits& limits) -> Result<void> {
    limits.max_adapters = 1;
    return Error{Code::kUnknownParameter, "no", "x"};
  };
  const auto changed = directory_->modify_limits(admin_, tenant.id, refuse, kNow);
  EXPECT_EQ(changed.error().code, Code::kUnknownParameter);
  EXPECT_EQ(directory_->snapshot()->find(tenant.id)->limits, TenantLimits());
}

TEST_F(TenantDirectoryTest, PoliciesReachTheCallerAndSurviveARestart) {
  const Tenant tenant = make_tenant("acme");
  const CreatedApiKey key = make_key(tenant);
  const std::uint64_t before = directory_->authenticate(key.value, kNow)->limits_revision;
  ASSERT_TRUE(directory_->modify_policy(
      admin_, tenant.id, "model_permissions.updated",
      [](TenantPolicy& policy) -> Result<void> {
        policy.models = {ModelPermissions::Mode::kDenyList, {"x"}};
        policy.model_limits["y"].requests_per_minute = 5;
        return {};
      },
      kNow));
  ASSERT_TRUE(directory_->modify_key_policy(
      admin_, tenant.id, key.record.id,
      [](KeyPolicy& policy) -> Result<void> {
        policy.limits.tokens_per_day = 7;
        policy.allowed_ips = *IpSet::parse({"10.0.0.0/8"});
        return {};
      },
      kNow));
  EXPECT_EQ(directory_->authenticate(key.value, kNow)->limits_revision, before + 2);
  reopen();
  const Caller caller = directory_->authenticate(key.value, kNow).value();
  EXPECT_FALSE(caller.may_use_model("x"));
  EXPECT_TRUE(caller.may_use_model("y"));
  EXPECT_EQ(caller.tenant_policy->model_limits.at("y").requests_per_minute, 5);
  EXPECT_EQ(caller.key_policy->limits.tokens_per_day, 7);
  EXPECT_FALSE(caller.may_come_from("192.0.2.1"));
}

TEST_F(TenantDirectoryTest, LimitsOfKeysAndModelsAreChecked) {
  const Tenant tenant = make_tenant("acme");
  const CreatedApiKey key = make_key(tenant);
  const auto zero = [](KeyPolicy& policy) -> Result<void> {
    policy.limits.requests_per_minute = 0;
    return {};
  };
  EXPECT_EQ(
      directory_->modify_key_policy(admin_, tenant.id, key.record.id, zero, kNow).error().param,
      "max_requests_per_1_minute");
}

TEST_F(TenantDirectoryTest, AllThatIsSaidOfATenantChangesInOneWrite) {
  const Tenant tenant = make_tenant("acme");
  const int writes = store_->num_writes;
  const auto change = [](TenantSettings& settings) -> Result<void> {
    settings.name = "Acme";
    settings.limits.max_adapters = 3;
    settings.policy.weight = 7;
    settings.policy.labels["team"] = "red";
    return {};
  };
  const auto changed = directory_->modify_tenant(admin_, tenant.id, change, kNow);
  ASSERT_TRUE(changed);
  EXPECT_EQ(store_->num_writes, writes + 1);
  EXPECT_EQ(changed->limits_revision, 1U);
  reopen();
  const TenantEntry* entry = directory_->snapshot()->find(tenant.id);
  ASSERT_NE(entry, nullptr);
  EXPECT_EQ(entry->tenant.name, "Acme");
  EXPECT_EQ(entry->tenant.slug, tenant.slug);
  EXPECT_EQ(entry->limits.max_adapters, 3);
  EXPECT_EQ(*entry->policy, *changed->policy);
}

TEST_F(TenantDirectoryTest, AChangeOfATenantThatCannotBeLeavesAllOfItAsItWas) {
  const Tenant tenant = make_tenant("acme");
  const auto modify = [&](const Caller& actor, auto edit) {
    const auto change = [&](TenantSettings& settings) -> Result<void> {
      settings.policy.weight = 7;
      edit(settings);
      return {};
    };
    return directory_->modify_tenant(actor, tenant.id, change, kNow);
  };
  EXPECT_FALSE(modify(admin_, [](TenantSettings& settings) { settings.name.clear(); }));
  EXPECT_FALSE(modify(admin_, [](TenantSettings& settings) { settings.limits.max_adapters = -1; }));
  const Caller nobody{.tenant = tenant.id, .key = KeyId("k")};
  EXPECT_EQ(modify(nobody, [](TenantSettings&) {}).error().code, Code::kInsufficientScope);
  const TenantEntry* entry = directory_->snapshot()->find(tenant.id);
  EXPECT_EQ(entry->tenant.name, "acme");
  EXPECT_EQ(entry->policy, nullptr);
  EXPECT_EQ(entry->limits_revision, 0U);
}

TEST_F(TenantDirectoryTest, ATenantIsMadeWithItsLimitsAndPolicy) {
  const Tenant tenant = directory_
                            ->create_tenant(admin_,
                                            {.name = "acme",
                                             .limits = {.max_adapters = 2},
                                             .policy = {.weight = 3, .tier = "flex"}},
                                            kNow)
                            .value();
  reopen();
  const TenantEntry* entry = directory_->snapshot()->find(tenant.id);
  EXPECT_EQ(entry->limits.max_adapters, 2);
  ASSERT_NE(entry->policy, nullptr);
  EXPECT_EQ(entry->policy->weight, 3);
  EXPECT_EQ(entry->policy->tier, "flex");
}

TEST_F(TenantDirectoryTest, AlertsOfTheOrganizationAreKeptAndAreAnAdminsBusiness) {
  const auto add = [](OrganizationAlerts& alerts) -> Result<void> {
    alerts.spend_alerts.push_back({.id = "alert_1", .threshold_cents = 5});
    return {};
  };
  const auto modify = [&](const Caller& actor) {
    return directory_->modify_organization_alerts(actor, "spend_alert.created", add, kNow, {},
                                                  "alert_1");
  };
  EXPECT_EQ(modify(Caller()).error().code, Code::kInsufficientScope);
  EXPECT_TRUE(directory_->snapshot()->organization_alerts().empty());
  ASSERT_TRUE(modify(admin_));
  reopen();
  ASSERT_EQ(directory_->snapshot()->organization_alerts().size(), 1U);
  EXPECT_EQ(directory_->snapshot()->organization_alerts()[0].threshold_cents, 5);
  EXPECT_EQ(directory_->snapshot()->organization(), nullptr) << "alerts are no limits";
}

}  // namespace
}  // namespace tessera
