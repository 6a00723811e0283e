#include "tenancy/records.hpp"

#include <gtest/gtest.h>

namespace tessera {
namespace {

constexpr WallTime kNow{std::chrono::microseconds(1'700'000'000'123'456)};

template <class Record>
void expect_round_trip(const Record& record) {
  const auto decoded = decode<Record>(encode(record));
  ASSERT_TRUE(decoded) << encode(record);
  EXPECT_EQ(*decoded, record);
}

TEST(Records, RoundTripWithEveryFieldSet) {
  expect_round_trip(Tenant{TenantId("proj_1"), "Über \"x\"", "uber", kNow, kNow});
  expect_round_trip(TenantLimits{.requests_per_minute = 1,
                                 .tokens_per_minute = 2,
                                 .burst_requests = 3,
                                 .burst_tokens = 4,
                                 .max_concurrent_requests = 5,
                                 .max_output_tokens = 6,
                                 .max_adapters = 7,
                                 .max_adapter_bytes = std::int64_t{1} << 60,
                                 .max_adapter_rank = 8,
                                 .max_concurrent_uploads = 9,
                                 .uploads_per_day = 10,
                                 .max_queue = 11,
                                 .max_resident_adapters = 12,
                                 .max_resident_bytes = std::int64_t{1} << 61});
  expect_round_trip(ServiceAccount{ServiceAccountId("svc_1"), TenantId("proj_1"), "bot", kNow});
  ApiKeyRecord key{.id = KeyId("id"),
                   .kind = KeyKind::kTest,
                   .tenant = TenantId("proj_1"),
                   .service_account = ServiceAccountId("svc_1"),
                   .name = "name",
                   .scopes = kDefaultKeyScopes,
                   .pepper_version = 4'000'000'000,
                   .created_at = kNow,
                   .created_by = KeyId("maker"),
                   .expires_at = kNow};
  key.secret_hmac.fill(0xAB);
  expect_round_trip(key);
  expect_round_trip(
      AuditRecord{"audit_1", kNow, "e", KeyId("k"), TenantId("t"), "target", "reason"});
  key.policy = {.limits = {.requests_per_minute = 5, .spend_cents_per_month = 9},
                .allowed_models = {"a"},
                .allowed_ips = *IpSet::parse({"10.0.0.0/8", "2001:db8::/32"}),
                .allowed_tiers = {"flex"},
                .lenient = true};
  key.disabled_at = kNow;
  expect_round_trip(key);
  expect_round_trip(TenantPolicy{.models = {ModelPermissions::Mode::kAllowList, {"a", "b"}},
                                 .allowed_ips = *IpSet::parse({"::1"}),
                                 .model_limits = {{"a", {.tokens_per_minute = 3}}},
                                 .weight = 5,
                                 .tier = "flex",
                                 .labels = {{"team", "red"}, {"\"", ""}}});
  expect_round_trip(OrganizationAlerts{{{.id = "alert_1", .threshold_cents = 5}}});
  KeyCharge charge{.first = RequestId("req_1"),
                   .begun = kNow,
                   .charged = Money{7},
                   .complete = true,
                   .requests = 2};
  charge.content.bytes.fill(0xCD);
  expect_round_trip(charge);
  expect_round_trip(UsageRecord{RequestId("req_1"), TenantId("t"), KeyId("k"), "digest", "bot@1", 1,
                                2, 3, "flex", "embeddings", "trace", Money{4}, "stop", kNow, kNow,
                                RequestId("req_0")});
  expect_round_trip(MeterLimits{.requests_per_minute = 5, .spend_cents_per_month = 9});
  expect_round_trip(CountedTotals{{1, 2, 3, 4, Money{5}}, 6});
}

TEST(Records, RoundTripWithNothingSet) {
  expect_round_trip(Tenant());
  expect_round_trip(TenantLimits());
  expect_round_trip(ApiKeyRecord());
  expect_round_trip(UsageRecord());
}

// Stores of earlier builds have records without the fields that came later.
TEST(Records, LackOfLaterFieldsIsTheirDefault) {
  const auto totals = decode<CountedTotals>(
      R"({"requests":1,"prompt_tokens":2,"cached_tokens":3,"completion_tokens":4})");
  ASSERT_TRUE(totals);
  EXPECT_EQ(*totals, (CountedTotals{{1, 2, 3, 4, Money{}}, 0}));
  EXPECT_EQ(decode<TenantPolicy>("{}").value(), TenantPolicy());
  std::string limits = encode(TenantLimits{.max_adapters = 5, .uploads_per_day = 0});
  EXPECT_EQ(decode<TenantLimits>(limits)->uploads_per_day, 0);
  limits.replace(limits.find(",\"uploads_per_day\":0"), 20, "");
  EXPECT_EQ(decode<TenantLimits>(limits).value(), TenantLimits{.max_adapters = 5});
}

TEST(Records, KeepNoSecretButItsHmac) {
  const std::string text = encode(ApiKeyRecord());
  EXPECT_EQ(text.find("\"secret\""), std::string::npos);
}

TEST(Records, DamagedOnesAreCorrupt) {
  for (const std::string_view text :
       {"", "[]", "{}", "7", R"({"requests":1,"prompt_tokens":2,"cached_tokens":3})",
        R"({"requests":"1","prompt_tokens":2,"cached_tokens":3,"completion_tokens":4})",
        R"({"requests":1.5,"prompt_tokens":2,"cached_tokens":3,"completion_tokens":4})"}) {
    EXPECT_EQ(decode<CountedTotals>(text).error().code, Code::kCorrupt) << text;
  }
  std::string key = encode(ApiKeyRecord());
  key.replace(key.find("live"), 4, "root");
  EXPECT_EQ(decode<ApiKeyRecord>(key).error().code, Code::kCorrupt);
}

TEST(Records, FieldsOfANewerProgramAreIgnored) {
  const auto totals = decode<CountedTotals>(
      R"({"requests":1,"prompt_tokens":2,"cached_tokens":3,"completion_tokens":4,"new":{}})");
  ASSERT_TRUE(totals);
  EXPECT_EQ(*totals, (CountedTotals{{1, 2, 3, 4}}));
}

}  // namespace
}  // namespace tessera
