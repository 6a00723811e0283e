#include "tenancy/scope.hpp"

#include <gtest/gtest.h>

namespace tessera {
namespace {

TEST(Scope, EveryOneHasANameThatIsReadBack) {
  for (int i = 0; i < kNumScopes; ++i) {
    const auto scope = static_cast<Scope>(i);
    EXPECT_EQ(scope_from_string(to_string(scope)), scope);
    EXPECT_TRUE(to_string(scope).starts_with("api."));
  }
  EXPECT_EQ(scope_from_string("api.everything"), std::nullopt);
  EXPECT_EQ(scope_from_string(""), std::nullopt);
}

TEST(ScopeSet, DeniesWhatIsNotNamed) {
  const ScopeSet set{Scope::kAdapterRead};
  EXPECT_TRUE(set.contains(Scope::kAdapterRead));
  EXPECT_FALSE(set.contains(Scope::kAdapterWrite));
  EXPECT_FALSE(ScopeSet().contains(Scope::kModelRequest));
}

TEST(ScopeSet, AdminImpliesNothingAndBelongsToNoTenant) {
  EXPECT_FALSE(kAdminScopes.contains(Scope::kModelRequest));
  EXPECT_FALSE(kTenantScopes.contains(Scope::kAdmin));
  EXPECT_TRUE(kDefaultKeyScopes.is_subset_of(kTenantScopes));
}

TEST(ScopeSet, SubsetsAreByElement) {
  const ScopeSet small{Scope::kAdapterRead};
  const ScopeSet large{Scope::kAdapterRead, Scope::kModelRequest};
  EXPECT_TRUE(small.is_subset_of(large));
  EXPECT_FALSE(large.is_subset_of(small));
  EXPECT_TRUE(ScopeSet().is_subset_of(small));
}

TEST(ScopeSet, NamesAreTheWireNames) {
  EXPECT_EQ((ScopeSet{Scope::kAdapterWrite, Scope::kModelRequest}).names(),
            (std::vector<std::string>{"api.model.request", "api.adapter.write"}));
}

}  // namespace
}  // namespace tessera
