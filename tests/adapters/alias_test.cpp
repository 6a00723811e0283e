#include "adapters/alias.hpp"

#include <cmath>
#include <map>
#include <string>

#include <gtest/gtest.h>

#include "adapters/model_name.hpp"

namespace tessera {
namespace {

const AliasTarget kCanary{.shares = {{.version = 7, .weight = 95}, {.version = 8, .weight = 5}}};

std::map<int, int> traffic(const AliasTarget& target, int num_users) {
  std::map<int, int> versions;
  for (int user = 0; user < num_users; ++user) {
    ++versions[choose_version(target, "adp_1:prod", "user-" + std::to_string(user))];
  }
  return versions;
}

// Five standard deviations of a binomial: one run in a million would be outside by chance, and the
// users are always the same ones.
TEST(Alias, ASplitsTrafficIsWithinBinomialBoundsOfItsWeights) {
  constexpr int kUsers = 20'000;
  const AliasTarget three{.shares = {{1, 1}, {2, 10}, {3, 89}}};
  for (const AliasTarget& target : {kCanary, three}) {
    const auto versions = traffic(target, kUsers);
    for (const AliasShare& share : target.shares) {
      const double p = share.weight / 100.0;
      const double bound = 5 * std::sqrt(kUsers * p * (1 - p));
      EXPECT_NEAR(versions.at(share.version), kUsers * p, bound) << share.version;
    }
  }
}

TEST(Alias, TheSameKeyAlwaysGetsTheSameVersion) {
  for (int user = 0; user < 100; ++user) {
    const std::string key = std::to_string(user);
    EXPECT_EQ(choose_version(kCanary, "a", key), choose_version(kCanary, "a", key));
  }
}

TEST(Alias, RaisingTheLastShareMovesUsersToItAndNoneAway) {
  const AliasTarget more{.shares = {{.version = 7, .weight = 60}, {.version = 8, .weight = 40}}};
  int moved = 0;
  for (int user = 0; user < 5'000; ++user) {
    const std::string key = std::to_string(user);
    const int before = choose_version(kCanary, "a", key);
    const int after = choose_version(more, "a", key);
    EXPECT_TRUE(before != 8 || after == 8) << key;
    if (before != after) ++moved;
  }
  EXPECT_GT(moved, 1'000);
}

TEST(Alias, WhoIsInOneAliasesCanaryIsInAnothersByChanceAlone) {
  const AliasTarget half{.shares = {{.version = 1}, {.version = 2}}};
  int both = 0;
  for (int user = 0; user < 4'000; ++user) {
    const std::string key = std::to_string(user);
    both += choose_version(half, "adp_1:prod", key) == choose_version(half, "adp_2:prod", key);
  }
  EXPECT_NEAR(both, 2'000, 160);
}

TEST(Alias, TheKeyIsTheOneThatTheStickinessNames) {
  const StickyKeys keys{.user = "ann", .session = "s1"};
  AliasTarget target = kCanary;
  EXPECT_EQ(sticky_key(target, keys), "ann");
  target.sticky = Stickiness::kSession;
  EXPECT_EQ(sticky_key(target, keys), "s1");
  target.sticky = Stickiness::kNone;
  EXPECT_EQ(sticky_key(target, keys), "");
  EXPECT_EQ(sticky_key(AliasTarget::one(7), keys), "");
}

TEST(Alias, TargetsThatMeanNothingAreRefused) {
  EXPECT_FALSE(check_target({}));
  EXPECT_FALSE(check_target({.shares = {{.version = 1, .weight = 0}}}));
  EXPECT_FALSE(check_target({.shares = {{.version = 1, .weight = -5}, {.version = 2}}}));
  EXPECT_FALSE(check_target({.shares = {{.version = 1, .weight = kMaxShareWeight + 1}}}));
  EXPECT_FALSE(check_target({.shares = {{.version = 1}, {.version = 1}}}));
  AliasTarget many;
  for (int version = 1; version <= static_cast<int>(kMaxShares); ++version) {
    many.shares.push_back({.version = version, .weight = kMaxShareWeight});
  }
  EXPECT_TRUE(check_target(many));
  EXPECT_EQ(traffic(many, 1'000).size(), kMaxShares);
  many.shares.push_back({.version = 99});
  EXPECT_FALSE(check_target(many));
}

struct Named {
  const char* text;
  const char* adapter;
  const char* alias;
  int version;
};

TEST(ModelName, EveryFormIsRead) {
  const TenantId tenant("proj_ann");
  for (const Named& expected :
       {Named{"bot", "bot", "prod", 0}, Named{"bot:canary", "bot", "canary", 0},
        Named{"bot@7", "bot", "", 7}, Named{"ft:llama-3:proj_ann:bot:7", "bot", "", 7}}) {
    const auto found = parse_model_name(expected.text, "llama-3", tenant);
    ASSERT_TRUE(found) << expected.text;
    EXPECT_EQ(found->adapter, expected.adapter);
    EXPECT_EQ(found->version, expected.version);
    EXPECT_TRUE(expected.version > 0 || found->alias == expected.alias) << expected.text;
  }
  EXPECT_EQ(parse_model_name("ft:org/base:v1:proj_ann:bot:3", "org/base:v1", tenant)->version, 3);
}

TEST(ModelName, OtherTextsAreNone) {
  const TenantId tenant("proj_ann");
  for (const char* text : {"bot@", "bot@0", "bot@07", "bot@1x", "bot@99999999999", "bot:", "bot:A",
                           "bot:a:b", "ft:llama-3:proj_bob:bot:7", "ft:other:proj_ann:bot:7",
                           "ft:llama-3:proj_ann:bot:", "ft:llama-3:proj_ann:bot:07",
                           "ft:llama-3:proj_ann:bot:prod", "ft::::"}) {
    EXPECT_FALSE(parse_model_name(text, "llama-3", tenant)) << text;
  }
}

// An adapter may be called "ft", and have aliases.
TEST(ModelName, AnAdapterCalledFtIsOneLikeOthers) {
  const auto found = parse_model_name("ft:canary", "llama-3", TenantId("proj_ann"));
  ASSERT_TRUE(found);
  EXPECT_EQ(found->adapter, "ft");
  EXPECT_EQ(found->alias, "canary");
}

}  // namespace
}  // namespace tessera
