#include "tenancy/access_policy.hpp"

#include <random>

#include <gtest/gtest.h>

#include "tenancy/tenant.hpp"

namespace tessera {
namespace {

IpSet set_of(const std::vector<std::string>& ranges) {
  const auto set = IpSet::parse(ranges);
  EXPECT_TRUE(set) << set.error().message;
  return set ? *set : IpSet();
}

TEST(IpSet, HoldsRangesOfBothFamilies) {
  const IpSet set = set_of({"203.0.113.0/24", "198.51.100.7", "2001:db8::/33"});
  EXPECT_TRUE(set.contains("203.0.113.255"));
  EXPECT_FALSE(set.contains("203.0.114.0"));
  EXPECT_TRUE(set.contains("198.51.100.7"));
  EXPECT_FALSE(set.contains("198.51.100.6"));
  EXPECT_TRUE(set.contains("2001:db8:7fff::1"));
  EXPECT_FALSE(set.contains("2001:db8:8000::1"));
}

TEST(IpSet, MappedAddressIsTheIpv4OneAndNoOther) {
  const IpSet set = set_of({"203.0.113.0/24"});
  EXPECT_TRUE(set.contains("::ffff:203.0.113.9"));
  EXPECT_FALSE(set.contains("::203.0.113.9"));
  EXPECT_FALSE(set_of({"0.0.0.0/0"}).contains("2001:db8::1"));
  EXPECT_TRUE(set_of({"::/0"}).contains("192.0.2.1"));
}

TEST(IpSet, RefusesWhatIsNoRange) {
  for (const char* text : {"", "/", "203.0.113.0/", "203.0.113.0/33", "203.0.113.1/24", "1.2.3",
                           "2001:db8::/129", "2001:db8::1/64", "host", "10.0.0.0/-1", "10.0.0.0/8 ",
                           "10.0.0.0/08a", "fe80::1%eth0", "010.0.0.1"}) {
    EXPECT_FALSE(IpSet::parse({text})) << text;
  }
  EXPECT_FALSE(IpSet::parse(std::vector<std::string>(kMaxIpRanges + 1, "10.0.0.0/8")));
}

TEST(IpSet, EmptyIsNoRestrictionAndJunkIsInNoSet) {
  EXPECT_TRUE(IpSet().contains("192.0.2.1"));
  EXPECT_FALSE(set_of({"::/0"}).contains(""));
  EXPECT_FALSE(set_of({"::/0"}).contains("unix"));
}

TEST(ModelPermissions, ListsAllowOrDeny) {
  using Mode = ModelPermissions::Mode;
  EXPECT_TRUE(ModelPermissions().allow("a"));
  EXPECT_TRUE((ModelPermissions{Mode::kAllowList, {"a"}}).allow("a"));
  EXPECT_FALSE((ModelPermissions{Mode::kAllowList, {"a"}}).allow("b"));
  EXPECT_FALSE((ModelPermissions{Mode::kAllowList, {}}).allow("a"));
  EXPECT_FALSE((ModelPermissions{Mode::kDenyList, {"a"}}).allow("a"));
  EXPECT_TRUE((ModelPermissions{Mode::kDenyList, {"a"}}).allow("b"));
}

TEST(Caller, PassesItsTenantsPolicyAndItsKeys) {
  Caller caller;
  EXPECT_TRUE(caller.may_come_from("192.0.2.1") && caller.may_use_model("a"));
  caller.tenant_policy = std::make_shared<TenantPolicy>(
      TenantPolicy{.models = {ModelPermissions::Mode::kDenyList, {"a"}},
                   .allowed_ips = set_of({"192.0.2.0/24"})});
  caller.key_policy = std::make_shared<KeyPolicy>(
      KeyPolicy{.allowed_models = {"a", "b"}, .allowed_ips = set_of({"192.0.2.1"})});
  EXPECT_FALSE(caller.may_use_model("a"));
  EXPECT_TRUE(caller.may_use_model("b"));
  EXPECT_FALSE(caller.may_use_model("c"));
  EXPECT_TRUE(caller.may_come_from("192.0.2.1"));
  EXPECT_FALSE(caller.may_come_from("192.0.2.2"));
  EXPECT_FALSE(caller.may_come_from("198.51.100.1"));
}

TEST(KeyPolicy, ChildIsWithinParentFieldByField) {
  const KeyPolicy parent{.limits = {.max_concurrent_requests = 4,
                                    .requests_per_minute = 60,
                                    .burst_requests = 10,
                                    .tokens_per_month = 1000,
                                    .spend_cents_per_month = 500},
                         .allowed_models = {"a", "b"},
                         .allowed_ips = set_of({"10.0.0.0/8"})};
  EXPECT_TRUE(is_within(parent, parent));
  EXPECT_TRUE(is_within(parent, {}));
  EXPECT_FALSE(is_within({}, parent));
  const auto altered = [&](auto change) {
    KeyPolicy child = parent;
    change(child);
    return is_within(child, parent);
  };
  EXPECT_TRUE(altered([](KeyPolicy& key) { key.limits.tokens_per_day = 1; }));
  EXPECT_FALSE(altered([](KeyPolicy& key) { key.limits.requests_per_minute = 61; }));
  EXPECT_FALSE(altered([](KeyPolicy& key) { key.limits.requests_per_minute.reset(); }));
  EXPECT_FALSE(altered([](KeyPolicy& key) { key.limits.burst_requests.reset(); }));
  EXPECT_FALSE(altered([](KeyPolicy& key) { key.limits.spend_cents_per_month = 501; }));
  EXPECT_TRUE(altered([](KeyPolicy& key) { key.allowed_models = {"a"}; }));
  EXPECT_FALSE(altered([](KeyPolicy& key) { key.allowed_models.clear(); }));
  EXPECT_FALSE(altered([](KeyPolicy& key) { key.allowed_models = {"c"}; }));
  EXPECT_TRUE(altered([](KeyPolicy& key) { key.allowed_ips = *IpSet::parse({"10.1.0.0/16"}); }));
  EXPECT_FALSE(altered([](KeyPolicy& key) { key.allowed_ips = *IpSet::parse({"10.0.0.0/7"}); }));
  EXPECT_FALSE(altered([](KeyPolicy& key) { key.allowed_ips = {}; }));
  EXPECT_TRUE(altered([](KeyPolicy& key) { key.allowed_tiers = {"flex"}; }));
  EXPECT_FALSE(is_within({}, {.allowed_tiers = {"flex"}}));
  EXPECT_FALSE(is_within({.allowed_tiers = {"priority"}}, {.allowed_tiers = {"flex"}}));
}

}  // namespace
}  // namespace tessera
