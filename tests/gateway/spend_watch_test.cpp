#include "gateway/admin/spend_watch.hpp"

#include <memory>
#include <string>

#include <gtest/gtest.h>

#include "tests/support/temp_dir.hpp"

namespace tessera {
namespace {

using namespace std::chrono_literals;

constexpr WallTime kMay{std::chrono::sys_days(std::chrono::year(2026) / 5 / 10)};
constexpr WallTime kJune{std::chrono::sys_days(std::chrono::year(2026) / 6 / 1)};

class SpendWatchTest : public testing::Test {
 protected:
  SpendWatchTest() {
    clock_.advance(kMay - clock_.wall_now());
    admin_.scopes = kAdminScopes;
    admin_.is_admin = true;
    tenant_ = directory_->create_tenant(admin_, {.name = "t"}, kMay).value().id;
  }

  void add_alert(const std::string& id, std::int64_t cents) {
    const auto added = directory_->modify_policy(
        admin_, tenant_, "spend_alert.created",
        [&](TenantPolicy& policy) -> Result<void> {
          policy.spend_alerts.push_back({.id = id, .threshold_cents = cents});
          return {};
        },
        kMay);
    ASSERT_TRUE(added);
  }

  void spend(std::int64_t cents, WallTime when) {
    UsageRecord record{.request = RequestId("req_" + std::to_string(++num_requests_)),
                       .tenant = tenant_,
                       .key = KeyId("k"),
                       .cost = Money::of_cents(cents),
                       .finish = "stop",
                       .started = when,
                       .finished = when};
    ASSERT_TRUE(ledger_.record(record));
  }

  TempDir folder_;
  std::unique_ptr<Store> store_ = open_rocks_store(folder_.path() / "store").value();
  PepperFile peppers_ = PepperFile::open(folder_.path() / "peppers").value();
  std::unique_ptr<TenantDirectory> directory_ = TenantDirectory::open(*store_, peppers_).value();
  UsageLedger ledger_{*store_};
  ManualClock clock_;
  Caller admin_;
  TenantId tenant_;
  int num_requests_ = 0;
};

TEST_F(SpendWatchTest, AnAlertIsToldOnceAMonthWhenItsThresholdIsReached) {
  SpendWatch watch(*directory_, ledger_, clock_);
  watch.stop();  // the test looks itself
  add_alert("low", 10);
  add_alert("high", 100);
  spend(9, kMay);
  EXPECT_EQ(watch.look(), 0);
  spend(1, kMay);
  EXPECT_EQ(watch.look(), 1);
  EXPECT_EQ(watch.look(), 0) << "once";
  spend(90, kMay);
  EXPECT_EQ(watch.look(), 1) << "the other";
  clock_.advance(kJune - clock_.wall_now());
  EXPECT_EQ(watch.look(), 0) << "a month begins with nothing spent";
  spend(10, kJune);
  EXPECT_EQ(watch.look(), 1);
}

TEST_F(SpendWatchTest, WhatWasToldIsInTheAuditLogAndStaysToldAfterARestart) {
  add_alert("low", 10);
  spend(10, kMay);
  {
    SpendWatch watch(*directory_, ledger_, clock_);
    watch.stop();
    EXPECT_EQ(watch.look(), 1);
  }
  directory_ = TenantDirectory::open(*store_, peppers_).value();
  SpendWatch watch(*directory_, ledger_, clock_);
  watch.stop();
  EXPECT_EQ(watch.look(), 0);
  int told = 0;
  ASSERT_TRUE(scan_audit(*store_, WallTime(0s), kJune, [&](const AuditRecord& record) {
    told += record.event == "spend_alert.triggered" && record.target == "low" &&
            record.actor.empty() && record.tenant == tenant_;
    return true;
  }));
  EXPECT_EQ(told, 1);
}

TEST_F(SpendWatchTest, AnAlertOfTheOrganizationIsAboutWhatAllSpendTogether) {
  const auto add = [](OrganizationAlerts& alerts) -> Result<void> {
    alerts.spend_alerts.push_back({.id = "all", .threshold_cents = 100});
    return {};
  };
  ASSERT_TRUE(
      directory_->modify_organization_alerts(admin_, "spend_alert.created", add, kMay, {}, "all"));
  const TenantId other = directory_->create_tenant(admin_, {.name = "other"}, kMay).value().id;
  {
    SpendWatch watch(*directory_, ledger_, clock_);
    watch.stop();
    spend(60, kMay);
    EXPECT_EQ(watch.look(), 0);
    tenant_ = other;
    spend(40, kMay);
    EXPECT_EQ(watch.look(), 1);
    EXPECT_EQ(watch.look(), 0) << "once";
  }
  directory_ = TenantDirectory::open(*store_, peppers_).value();
  SpendWatch watch(*directory_, ledger_, clock_);
  watch.stop();
  EXPECT_EQ(watch.look(), 0) << "once, also after a restart";
  clock_.advance(kJune - clock_.wall_now());
  spend(100, kJune);
  EXPECT_EQ(watch.look(), 1);
}

}  // namespace
}  // namespace tessera
