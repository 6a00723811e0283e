#include <cmath>
#include <map>
#include <set>
#include <thread>

#include <gtest/gtest.h>

#include "tests/adapters/registry_fixture.hpp"

namespace tessera {
namespace {

// A name with three versions; "prod" points at the third.
class RegistryAliases : public RegistryTest {
 protected:
  RegistryAliases() {
    for (unsigned seed = 1; seed <= 3; ++seed) {
      EXPECT_TRUE(Upload(seed).publish(*registry, kAnn, "bot"));
    }
  }

  Result<Alias> point(std::string_view alias, int version, Precondition precondition = {}) {
    return registry->set_alias(change_of(kAnn, "bot", std::move(precondition)), alias,
                               AliasTarget::one(version));
  }
  Result<Alias> split(std::string_view alias, std::vector<AliasShare> shares,
                      Stickiness sticky = Stickiness::kUser) {
    return registry->set_alias(change_of(kAnn, "bot"), alias,
                               {.shares = std::move(shares), .sticky = sticky});
  }
  std::string name_of(std::string_view model, const StickyKeys& keys = {}) {
    const auto found = registry->resolve(kAnn, model, keys);
    return found ? found->display_name : std::string(to_string(found.error().code));
  }
  std::string etag(const std::string& alias) {
    const auto info = registry->get(kAnn, "bot").value();
    return etag_of(*info, info->aliases.at(alias));
  }
};

TEST_F(RegistryAliases, AnAliasIsMadeMovedAndRemoved) {
  ASSERT_TRUE(point("canary", 1));
  EXPECT_EQ(name_of("bot:canary"), "bot@1");
  ASSERT_TRUE(point("canary", 2));
  reopen();
  EXPECT_EQ(name_of("bot:canary"), "bot@2");
  ASSERT_TRUE(registry->remove_alias(change_of(kAnn, "bot"), "canary"));
  reopen();
  EXPECT_EQ(name_of("bot:canary"), "model_not_found");
  EXPECT_EQ(registry->remove_alias(change_of(kAnn, "bot"), "canary").error().code, Code::kNotFound);
}

TEST_F(RegistryAliases, ATargetThatIsNotThereOrNoTargetIsRefused) {
  EXPECT_EQ(point("prod", 9).error().code, Code::kModelNotFound);
  EXPECT_EQ(split("prod", {{1, 1}, {9, 1}}).error().code, Code::kModelNotFound);
  EXPECT_EQ(split("prod", {{1, 1}, {1, 1}}).error().code, Code::kInvalidValue);
  EXPECT_EQ(split("prod", {{1, 0}}).error().code, Code::kInvalidValue);
  EXPECT_EQ(point("Prod", 1).error().code, Code::kInvalidValue);
  EXPECT_EQ(name_of("bot"), "bot@3");
  const auto others = registry->set_alias(change_of(kBob, "bot"), "prod", AliasTarget::one(1));
  EXPECT_EQ(others.error().code, Code::kModelNotFound);
}

TEST_F(RegistryAliases, OfTwoWhoMoveItKnowingTheSameStateOneLoses) {
  const std::string known = etag("prod");
  ASSERT_TRUE(point("prod", 1, {.etags = {known}}));
  EXPECT_EQ(point("prod", 2, {.etags = {known}}).error().code, Code::kPreconditionFailed);
  EXPECT_EQ(name_of("bot"), "bot@1");
  EXPECT_TRUE(point("prod", 2, {.etags = {known, etag("prod")}}));
}

TEST_F(RegistryAliases, EveryMoverOfManyThreadsWinsOncePerState) {
  constexpr int kThreads = 4;
  constexpr int kMoves = 25;
  ASSERT_TRUE(point("prod", 1));
  const auto first = registry->get(kAnn, "bot").value()->revision;
  std::vector<std::jthread> movers;
  for (int thread = 0; thread < kThreads; ++thread) {
    movers.emplace_back([&, thread] {
      for (int moves = 0; moves < kMoves;) {
        const int version = 1 + (thread + moves) % 3;
        const auto info = registry->get(kAnn, "bot").value();
        if (info->aliases.at("prod").target.points_at(version)) {
          ++moves;
          continue;
        }
        const auto moved =
            point("prod", version, {.etags = {etag_of(*info, info->aliases.at("prod"))}});
        EXPECT_TRUE(moved || moved.error().code == Code::kPreconditionFailed);
        if (moved) ++moves;
      }
    });
  }
  movers.clear();
  const auto last = registry->get(kAnn, "bot").value();
  EXPECT_LE(last->revision - first, std::uint64_t{kThreads} * kMoves);
  EXPECT_LE(last->aliases.at("prod").revision, last->revision);
}

TEST_F(RegistryAliases, AnAliasCanBeMadeOnlyIfItIsNotThereOrOnlyMoved) {
  EXPECT_EQ(point("canary", 1, {.must_exist = true}).error().code, Code::kPreconditionFailed);
  EXPECT_EQ(point("canary", 1, {.etags = {"\"x\""}}).error().code, Code::kPreconditionFailed);
  EXPECT_TRUE(point("canary", 1, {.must_be_absent = true}));
  EXPECT_EQ(point("canary", 2, {.must_be_absent = true}).error().code, Code::kPreconditionFailed);
  EXPECT_TRUE(point("canary", 2, {.must_exist = true}));
}

TEST_F(RegistryAliases, AnEtagIsNeverSeenAgain) {
  std::set<std::string> seen;
  for (int round = 0; round < 3; ++round) {
    for (const int version : {1, 2, 1}) {
      ASSERT_TRUE(point("canary", version));
      EXPECT_TRUE(seen.insert(etag("canary")).second) << "round " << round;
    }
    ASSERT_TRUE(registry->remove_alias(change_of(kAnn, "bot"), "canary"));
    if (round == 1) {  // the name itself goes and comes
      ASSERT_TRUE(registry->remove(change_of(kAnn, "bot")));
      for (unsigned seed = 1; seed <= 3; ++seed) {
        ASSERT_TRUE(Upload(seed).publish(*registry, kAnn, "bot"));
      }
      break;
    }
  }
  ASSERT_TRUE(point("canary", 4));
  EXPECT_TRUE(seen.insert(etag("canary")).second);
}

TEST_F(RegistryAliases, MovingItToWhereItIsChangesNothing) {
  const std::string before = etag("prod");
  ASSERT_TRUE(point("prod", 3));
  EXPECT_EQ(etag("prod"), before);
  EXPECT_EQ(registry->history(kAnn, "bot", "prod")->size(), 2U);
}

TEST_F(RegistryAliases, ASplitIsStickyByWhatItSaysAndDrawnOtherwise) {
  ASSERT_TRUE(split("prod", {{1, 1}, {2, 1}}));
  std::set<std::string> users;
  std::set<std::string> drawn;
  for (int i = 0; i < 64; ++i) {
    const std::string user = "user-" + std::to_string(i);
    const std::string name = name_of("bot", {.user = user, .session = std::to_string(i)});
    EXPECT_EQ(name, name_of("bot", {.user = user, .session = "another"}));
    users.insert(name);
    drawn.insert(name_of("bot", {.session = "one and the same"}));
  }
  EXPECT_EQ(users, (std::set<std::string>{"bot@1", "bot@2"}));
  EXPECT_EQ(drawn.size(), 2U) << "who gives no user is drawn each time";

  ASSERT_TRUE(split("prod", {{1, 1}, {2, 1}}, Stickiness::kSession));
  const std::string name = name_of("bot", {.user = "ann", .session = "s"});
  for (int i = 0; i < 64; ++i) {
    EXPECT_EQ(name, name_of("bot", {.user = std::to_string(i), .session = "s"}));
  }
}

TEST_F(RegistryAliases, TheTrafficOfADrawnSplitIsWithinBinomialBounds) {
  ASSERT_TRUE(split("prod", {{1, 80}, {2, 20}}, Stickiness::kNone));
  constexpr int kRequests = 4'000;
  std::map<std::string, int> counts;
  for (int i = 0; i < kRequests; ++i) ++counts[name_of("bot", {.user = "ann"})];
  EXPECT_NEAR(counts["bot@2"], kRequests * 0.2, 6 * std::sqrt(kRequests * 0.2 * 0.8));
  EXPECT_EQ(counts["bot@1"] + counts["bot@2"], kRequests);
}

TEST_F(RegistryAliases, ARollbackGoesOneTargetBackAndTheNextOneFurther) {
  ASSERT_TRUE(split("prod", {{3, 95}, {1, 5}}));
  ASSERT_TRUE(point("prod", 1));
  ASSERT_TRUE(registry->roll_back(change_of(kAnn, "bot"), "prod"));
  EXPECT_TRUE(registry->get(kAnn, "bot").value()->aliases.at("prod").target.is_split());
  reopen();
  for (const char* expected : {"bot@3", "bot@2", "bot@1"}) {
    ASSERT_TRUE(registry->roll_back(change_of(kAnn, "bot"), "prod"));
    EXPECT_EQ(name_of("bot"), expected);
  }
  EXPECT_EQ(registry->roll_back(change_of(kAnn, "bot"), "prod").error().code, Code::kConflict);
  EXPECT_EQ(registry->roll_back(change_of(kAnn, "bot"), "other").error().code, Code::kNotFound);
  EXPECT_EQ(registry->roll_back(change_of(kBob, "bot"), "prod").error().code, Code::kModelNotFound);
  EXPECT_EQ(name_of("bot"), "bot@1");
}

TEST_F(RegistryAliases, ARollbackIsComparedAndSwappedToo) {
  const std::string known = etag("prod");
  ASSERT_TRUE(registry->roll_back(change_of(kAnn, "bot", {.etags = {known}}), "prod"));
  EXPECT_EQ(registry->roll_back(change_of(kAnn, "bot", {.etags = {known}}), "prod").error().code,
            Code::kPreconditionFailed);
  EXPECT_EQ(name_of("bot"), "bot@2");
}

TEST_F(RegistryAliases, ARollbackPassesTargetsWhoseVersionsAreGoneOrOutOfService) {
  ASSERT_TRUE(registry->remove_version(change_of(kAnn, "bot"), 2));
  ASSERT_TRUE(registry->roll_back(change_of(kAnn, "bot"), "prod"));
  EXPECT_EQ(name_of("bot"), "bot@1");
  ASSERT_TRUE(point("prod", 3));
  ASSERT_TRUE(registry->set_quarantined(change_of(kAnn, "bot"), 1, true));
  EXPECT_EQ(registry->roll_back(change_of(kAnn, "bot"), "prod").error().code, Code::kConflict);
}

TEST_F(RegistryAliases, TheLastTwentyTargetsAreRemembered) {
  for (int move = 0; move < 30; ++move) ASSERT_TRUE(point("prod", 1 + move % 3));
  reopen();
  const auto history = registry->history(kAnn, "bot", "prod").value();
  ASSERT_EQ(history.size(), kMaxAliasHistory);
  EXPECT_EQ(history.front().target, AliasTarget::one(1 + 28 % 3));
  EXPECT_EQ(history.front().moved_by, KeyId{"key"});
  for (std::size_t i = 0; i < kMaxAliasHistory; ++i) {
    ASSERT_TRUE(registry->roll_back(change_of(kAnn, "bot"), "prod")) << i;
  }
  EXPECT_FALSE(registry->roll_back(change_of(kAnn, "bot"), "prod"));
}

TEST_F(RegistryAliases, ASplitGoesOnWithoutAVersionThatIsRemovedOrSetAside) {
  ASSERT_TRUE(split("canary", {{1, 1}, {2, 1}, {3, 2}}));
  EXPECT_EQ(registry->remove_version(change_of(kAnn, "bot"), 1).error().code, Code::kConflict);
  ASSERT_TRUE(registry->remove_version(change_of(kAnn, "bot"), 1, Removal::kForced));
  ASSERT_TRUE(registry->set_quarantined(change_of(kAnn, "bot"), 3, true));
  reopen();
  EXPECT_EQ(registry->get(kAnn, "bot").value()->aliases.at("canary").target, AliasTarget::one(2));
  for (int i = 0; i < 32; ++i) EXPECT_EQ(name_of("bot:canary"), "bot@2");
  const std::string before = etag("canary");
  ASSERT_TRUE(point("canary", 2));
  EXPECT_EQ(etag("canary"), before) << "it is there already, whatever its share was";
  EXPECT_EQ(name_of("bot"), "version_not_ready") << "prod has only the one";
}

TEST_F(RegistryAliases, AnUploadMayMoveAnotherAliasOrNone) {
  PublishRequest request = Upload(4).request(kAnn, "bot");
  request.alias = "canary";
  ASSERT_TRUE(registry->publish(request, Upload(4).facts()));
  EXPECT_EQ(name_of("bot"), "bot@3");
  EXPECT_EQ(name_of("bot:canary"), "bot@4");
  request = Upload(5).request(kAnn, "bot");
  request.alias = "";
  ASSERT_TRUE(registry->publish(request, Upload(5).facts()));
  EXPECT_EQ(name_of("bot"), "bot@3");
  EXPECT_EQ(name_of("bot@5"), "bot@5");
  request.alias = "Not a name";
  EXPECT_EQ(registry->publish(request, Upload(5).facts()).error().code, Code::kInvalidValue);
}

TEST_F(RegistryAliases, AnAdapterHasOnlySoManyAliases) {
  for (std::size_t i = 1; i < kMaxAliases; ++i) ASSERT_TRUE(point("a" + std::to_string(i), 1));
  EXPECT_EQ(point("one-more", 1).error().code, Code::kRequestExceedsLimit);
  EXPECT_TRUE(point("a1", 2)) << "those that are there still move";
}

TEST_F(RegistryAliases, TheFineTunedFormMeansTheVersion) {
  EXPECT_EQ(name_of("ft:tiny:proj_ann:bot:2"), "bot@2");
  EXPECT_EQ(name_of("ft:tiny:proj_bob:bot:2"), "model_not_found");
  EXPECT_EQ(registry->resolve(kBob, "ft:tiny:proj_ann:bot:2").error().message,
            model_not_found("ft:tiny:proj_ann:bot:2").message);
}

}  // namespace
}  // namespace tessera
