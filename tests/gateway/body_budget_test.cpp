#include "gateway/http/body_budget.hpp"

#include <optional>

#include <gtest/gtest.h>

namespace tessera {
namespace {

const TenantId kAnn{"ann"};
const TenantId kBob{"bob"};
const TenantId kEve{"eve"};

TEST(BodyBudget, RefusalTakesNothingAndWhatIsGivenBackCanBeHeldAgain) {
  BodyBudget budget(100);
  std::optional<BodyBudget::Share> first(std::in_place, budget, kAnn);
  BodyBudget::Share second(budget, kAnn);
  EXPECT_TRUE(first->hold(30));
  EXPECT_TRUE(second.hold(20));
  EXPECT_FALSE(second.hold(21)) << "the tenant's half is taken";
  EXPECT_EQ(budget.held_bytes(), 50U);
  first.reset();
  EXPECT_EQ(budget.held_bytes(), 20U);
  EXPECT_TRUE(second.hold(50));
}

TEST(BodyBudget, NoTenantHoldsMoreThanHalf) {
  BodyBudget budget(100);
  BodyBudget::Share anns(budget, kAnn);
  BodyBudget::Share bobs(budget, kBob);
  EXPECT_FALSE(anns.hold(51));
  EXPECT_TRUE(anns.hold(50));
  EXPECT_TRUE(bobs.hold(50)) << "whatever another holds";
}

TEST(BodyBudget, AllTogetherAreBounded) {
  BodyBudget budget(100);
  BodyBudget::Share anns(budget, kAnn);
  BodyBudget::Share bobs(budget, kBob);
  BodyBudget::Share eves(budget, kEve);
  EXPECT_TRUE(anns.hold(40) && bobs.hold(40));
  EXPECT_FALSE(eves.hold(21));
  EXPECT_TRUE(eves.hold(20));
}

}  // namespace
}  // namespace tessera
