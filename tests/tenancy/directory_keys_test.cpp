// directory_keys_test.cpp — keys: whom they open, who makes, rotates, disables and revokes them.
#include <algorithm>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tenancy/directory.hpp"
#include "tests/tenancy/directory_fixture.hpp"

namespace tessera {
namespace {

using namespace std::chrono_literals;

TEST_F(TenantDirectoryTest, KeyOpensItsTenantWithItsScopesAndLimits) {
  const Tenant tenant = make_tenant("Acme & Sons");
  EXPECT_EQ(tenant.slug, "acme-sons");
  EXPECT_TRUE(tenant.id.str().starts_with("proj_"));
  const CreatedApiKey key = make_key(tenant, {Scope::kModelRequest});
  const auto caller = directory_->authenticate(key.value, kNow);
  ASSERT_TRUE(caller);
  EXPECT_EQ(caller->tenant, tenant.id);
  EXPECT_EQ(caller->key, key.record.id);
  EXPECT_FALSE(caller->is_admin);
  EXPECT_TRUE(caller->may(Scope::kModelRequest));
  EXPECT_FALSE(caller->may(Scope::kAdapterRead));
  EXPECT_EQ(caller->limits, TenantLimits());
}

TEST_F(TenantDirectoryTest, WrongKeysAreAllRefusedWithOneText) {
  const CreatedApiKey key = make_key(make_tenant("a"));
  ApiKey unknown = new_api_key(KeyKind::kLive);
  ApiKey wrong_secret = *parse_api_key(key.value);
  wrong_secret.secret = unknown.secret;
  ApiKey as_admin = *parse_api_key(key.value);
  as_admin.kind = KeyKind::kAdmin;
  const auto malformed = directory_->authenticate("sk-nonsense", kNow);
  for (const ApiKey& presented : {unknown, wrong_secret, as_admin}) {
    const auto refused = directory_->authenticate(to_text(presented), kNow);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, Code::kInvalidApiKey);
    EXPECT_EQ(refused.error().message, malformed.error().message);
  }
}

TEST_F(TenantDirectoryTest, RevokedKeyIsRefusedAtOnce) {
  const Tenant tenant = make_tenant("a");
  const CreatedApiKey key = make_key(tenant);
  ASSERT_TRUE(directory_->revoke_key(admin_, tenant.id, key.record.id, kNow));
  EXPECT_EQ(refusal_of(key.value), Code::kInvalidApiKey);
  EXPECT_TRUE(directory_->snapshot()->keys_of(tenant.id).empty());
  EXPECT_EQ(directory_->revoke_key(admin_, tenant.id, key.record.id, kNow).error().code,
            Code::kNotFound);
}

TEST_F(TenantDirectoryTest, KeyExpiresAtItsInstant) {
  const Tenant tenant = make_tenant("a");
  const auto account = directory_->create_service_account(admin_, tenant.id, "bot", kNow).value();
  const auto key = directory_->create_key(admin_,
                                          {.name = "short",
                                           .scopes = {Scope::kModelRequest},
                                           .tenant = tenant.id,
                                           .service_account = account.id,
                                           .expires_at = kNow + 1h},
                                          kNow);
  EXPECT_TRUE(directory_->authenticate(key->value, kNow + 1h - 1us));
  EXPECT_EQ(refusal_of(key->value, kNow + 1h), Code::kExpiredApiKey);
}

TEST_F(TenantDirectoryTest, BothSecretsOpenARotatedKeyUntilTheGraceEnds) {
  const Tenant tenant = make_tenant("acme");
  const CreatedApiKey old = make_key(tenant);
  const auto rotated = directory_->rotate_key(admin_, tenant.id, old.record.id, 3600s, kNow);
  ASSERT_TRUE(rotated);
  EXPECT_EQ(rotated->record.id, old.record.id);
  EXPECT_NE(rotated->value, old.value);
  EXPECT_TRUE(directory_->authenticate(old.value, kNow + 3600s - 1us));
  EXPECT_EQ(refusal_of(old.value, kNow + 3600s), Code::kInvalidApiKey);
  EXPECT_TRUE(directory_->authenticate(rotated->value, kNow + 3600s));
  reopen();
  EXPECT_TRUE(directory_->authenticate(old.value, kNow));
  EXPECT_TRUE(directory_->authenticate(rotated->value, kNow));
}

TEST_F(TenantDirectoryTest, ASecondRotationEndsTheFirstSecretAtOnce) {
  const Tenant tenant = make_tenant("acme");
  const CreatedApiKey first = make_key(tenant);
  const auto rotate = [&](std::chrono::seconds grace) {
    return directory_->rotate_key(admin_, tenant.id, first.record.id, grace, kNow).value();
  };
  const CreatedApiKey second = rotate(3600s);
  const CreatedApiKey third = rotate(0s);
  EXPECT_EQ(refusal_of(first.value), Code::kInvalidApiKey);
  EXPECT_EQ(refusal_of(second.value), Code::kInvalidApiKey);  // no grace
  EXPECT_TRUE(directory_->authenticate(third.value, kNow));
}

TEST_F(TenantDirectoryTest, NobodyRotatesAKeyThatCanDoMoreOrIsAnothers) {
  const Tenant tenant = make_tenant("acme");
  const Tenant other = make_tenant("other");
  const CreatedApiKey strong = make_key(tenant, kTenantScopes);
  const Caller weak = caller_with(tenant, {Scope::kKeyWrite});
  const auto code_of = [&](const Caller& actor, const TenantId& place, const KeyId& key) {
    const auto done = directory_->rotate_key(actor, place, key, 0s, kNow);
    return done ? Code::kInternalError : done.error().code;
  };
  EXPECT_EQ(code_of(weak, tenant.id, strong.record.id), Code::kInsufficientScope);
  EXPECT_EQ(code_of(weak, other.id, strong.record.id), Code::kNotFound);
  EXPECT_EQ(code_of(admin_, other.id, strong.record.id), Code::kNotFound);
  EXPECT_TRUE(directory_->authenticate(strong.value, kNow));
}

TEST_F(TenantDirectoryTest, ADisabledKeyIsRefusedUntilItIsEnabled) {
  const Tenant tenant = make_tenant("acme");
  const CreatedApiKey key = make_key(tenant);
  const auto set = [&](bool enabled) {
    return directory_->set_key_enabled(admin_, tenant.id, key.record.id, enabled, kNow);
  };
  EXPECT_EQ(set(false)->disabled_at, kNow);
  EXPECT_EQ(refusal_of(key.value), Code::kInvalidApiKey);
  reopen();
  EXPECT_EQ(refusal_of(key.value), Code::kInvalidApiKey);
  EXPECT_EQ(set(true)->disabled_at, std::nullopt);
  EXPECT_TRUE(directory_->authenticate(key.value, kNow));
  const auto events = audit_events();
  EXPECT_EQ(std::ranges::count(events, "api_key.updated"), 2);
  ASSERT_TRUE(set(true));
  EXPECT_EQ(audit_events(), events) << "nothing was changed";
}

TEST_F(TenantDirectoryTest, NobodyEnablesAKeyThatCanDoMoreAndAnyManagerDisablesIt) {
  const Tenant tenant = make_tenant("acme");
  const CreatedApiKey strong = make_key(tenant, kTenantScopes);
  const Caller weak = caller_with(tenant, {Scope::kKeyWrite});
  const auto set = [&](const Caller& actor, const TenantId& place, bool enabled) {
    const auto done = directory_->set_key_enabled(actor, place, strong.record.id, enabled, kNow);
    return done ? std::nullopt : std::optional(done.error().code);
  };
  EXPECT_EQ(set(weak, make_tenant("other").id, false), Code::kNotFound);
  EXPECT_EQ(set(caller_with(tenant, {Scope::kModelRequest}), tenant.id, false),
            Code::kInsufficientScope);
  EXPECT_EQ(set(weak, tenant.id, false), std::nullopt);
  EXPECT_EQ(set(weak, tenant.id, true), Code::kInsufficientScope);
  EXPECT_EQ(refusal_of(strong.value), Code::kInvalidApiKey);
}

TEST_F(TenantDirectoryTest, AccountAndItsFirstKeyAreOneWrite) {
  const Tenant tenant = make_tenant("a");
  const int before = store_->num_writes;
  const auto created = directory_->create_service_account_with_key(admin_, tenant.id, "bot",
                                                                   kDefaultKeyScopes, kNow);
  ASSERT_TRUE(created);
  EXPECT_EQ(store_->num_writes, before + 1);
  EXPECT_EQ(directory_->authenticate(created->key.value, kNow)->tenant, tenant.id);
  EXPECT_EQ(audit_events(),
            (std::vector<std::string>{"api_key.created", "api_key.created", "project.created",
                                      "service_account.created"}));
  reopen();
  EXPECT_EQ(directory_->authenticate(created->key.value, kNow)->key, created->key.record.id);
  EXPECT_TRUE(
      directory_->snapshot()->find(tenant.id)->service_accounts.contains(created->account.id));
}

TEST_F(TenantDirectoryTest, AccountWhoseKeyIsRefusedIsNotMade) {
  const Tenant tenant = make_tenant("a");
  const auto created =
      directory_->create_service_account_with_key(admin_, tenant.id, "bot", ScopeSet(), kNow);
  EXPECT_EQ(created.error().code, Code::kInvalidValue);
  EXPECT_EQ(created.error().param, "scopes");
  EXPECT_TRUE(directory_->snapshot()->find(tenant.id)->service_accounts.empty());
}

TEST_F(TenantDirectoryTest, NoKeyGetsMoreThanItsMakerHas) {
  const auto seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  const auto some_scopes = [&] {
    ScopeSet scopes;
    for (int i = 0; i < kNumScopes; ++i) {
      if (random() % 2 == 0) scopes.insert(static_cast<Scope>(i));
    }
    return scopes;
  };
  const Tenant tenant = make_tenant("a");
  const auto account = directory_->create_service_account(admin_, tenant.id, "bot", kNow).value();
  for (int i = 0; i < 200; ++i) {
    const Caller maker{.tenant = tenant.id, .key = KeyId("maker"), .scopes = [&] {
                         ScopeSet scopes;  // whatever a tenant's key can have
                         for (int s = 0; s < kNumScopes - 1; ++s) {
                           if (random() % 2 == 0) scopes.insert(static_cast<Scope>(s));
                         }
                         return scopes;
                       }()};
    const ScopeSet wanted = some_scopes();
    const auto key = directory_->create_key(
        maker, {.name = "k", .scopes = wanted, .tenant = tenant.id, .service_account = account.id},
        kNow);
    const bool allowed =
        maker.may(Scope::kKeyWrite) && !wanted.empty() && wanted.is_subset_of(maker.scopes);
    ASSERT_EQ(key.has_value(), allowed);
    if (key) {
      EXPECT_TRUE(key->record.scopes.is_subset_of(maker.scopes));
      EXPECT_EQ(directory_->authenticate(key->value, kNow)->scopes, wanted);
    }
  }
}

TEST_F(TenantDirectoryTest, KeysFitTheirPlace) {
  const Tenant tenant = make_tenant("a");
  const auto code_of = [&](const NewApiKey& request) {
    const auto key = directory_->create_key(admin_, request, kNow);
    return key ? Code::kInternalError : key.error().code;
  };
  const auto account = directory_->create_service_account(admin_, tenant.id, "bot", kNow).value();
  EXPECT_EQ(code_of({.name = "k",
                     .scopes = kAdminScopes,
                     .tenant = tenant.id,
                     .service_account = account.id}),
            Code::kInvalidValue);
  EXPECT_EQ(code_of({.name = "k",
                     .scopes = kAdminScopes,
                     .tenant = tenant.id,
                     .service_account = account.id,
                     .kind = KeyKind::kAdmin}),
            Code::kInvalidValue);
  EXPECT_EQ(code_of({.name = "k", .scopes = kDefaultKeyScopes}), Code::kInvalidValue);
  EXPECT_EQ(code_of({.name = "k", .scopes = kDefaultKeyScopes, .kind = KeyKind::kAdmin}),
            Code::kInvalidValue);
  EXPECT_EQ(code_of({.name = "k", .scopes = kDefaultKeyScopes, .tenant = tenant.id}),
            Code::kNotFound);
}

TEST_F(TenantDirectoryTest, LastAdminKeyCannotBeRevoked) {
  EXPECT_EQ(directory_->revoke_key(admin_, TenantId(), admin_.key, kNow).error().code,
            Code::kConflict);
  const auto second = directory_->create_key(
      admin_, {.name = "second", .scopes = kAdminScopes, .kind = KeyKind::kAdmin}, kNow);
  ASSERT_TRUE(second);
  EXPECT_TRUE(directory_->revoke_key(admin_, TenantId(), admin_.key, kNow));
  EXPECT_TRUE(directory_->authenticate(second->value, kNow)->is_admin);
}

TEST_F(TenantDirectoryTest, NobodyMakesChangesOrRotatesAKeyOfMoreThanHisOwn) {
  const Tenant tenant = make_tenant("acme");
  const CreatedApiKey maker = make_key(tenant, ScopeSet{Scope::kKeyWrite, Scope::kModelRequest});
  const CreatedApiKey strong = make_key(tenant, ScopeSet{Scope::kModelRequest});
  const auto limit = [](KeyPolicy& policy) -> Result<void> {
    policy.limits.requests_per_minute = 10;
    return {};
  };
  ASSERT_TRUE(directory_->modify_key_policy(admin_, tenant.id, maker.record.id, limit, kNow));
  const Caller actor = directory_->authenticate(maker.value, kNow).value();
  NewApiKey request{.name = "child",
                    .scopes = ScopeSet{Scope::kModelRequest},
                    .tenant = tenant.id,
                    .service_account = maker.record.service_account};
  EXPECT_EQ(directory_->create_key(actor, request, kNow).error().code, Code::kInsufficientScope);
  request.policy.limits.requests_per_minute = 11;
  EXPECT_EQ(directory_->create_key(actor, request, kNow).error().code, Code::kInsufficientScope);
  request.policy.limits.requests_per_minute = 10;
  const auto child = directory_->create_key(actor, request, kNow);
  ASSERT_TRUE(child);
  const auto raise = [](KeyPolicy& policy) -> Result<void> {
    policy.limits.requests_per_minute.reset();
    return {};
  };
  const auto refused = [&](const KeyId& id) {
    return directory_->modify_key_policy(actor, tenant.id, id, raise, kNow).error().code;
  };
  EXPECT_EQ(refused(child->record.id), Code::kInsufficientScope);
  EXPECT_EQ(refused(maker.record.id), Code::kInsufficientScope);
  EXPECT_EQ(refused(strong.record.id), Code::kInsufficientScope);
  EXPECT_EQ(directory_->rotate_key(actor, tenant.id, strong.record.id, 0s, kNow).error().code,
            Code::kInsufficientScope);
}

TEST_F(TenantDirectoryTest, DeletedServiceAccountTakesItsKeysAlongAndLeavesOthers) {
  const Tenant tenant = directory_->create_tenant(admin_, {.name = "t"}, kNow).value();
  const auto bot =
      directory_->create_service_account_with_key(admin_, tenant.id, "bot", kDefaultKeyScopes, kNow)
          .value();
  const auto other =
      directory_->create_service_account_with_key(admin_, tenant.id, "x", kDefaultKeyScopes, kNow)
          .value();
  ASSERT_TRUE(directory_->delete_service_account(admin_, tenant.id, bot.account.id, kNow));
  const auto check = [&](const TenantDirectory& directory) {
    EXPECT_EQ(directory.authenticate(bot.key.value, kNow).error().code, Code::kInvalidApiKey);
    EXPECT_TRUE(directory.authenticate(other.key.value, kNow));
    EXPECT_EQ(directory.snapshot()->find(tenant.id)->service_accounts.size(), 1U);
  };
  check(*directory_);
  reopen();
  check(*directory_);
  EXPECT_EQ(
      directory_->delete_service_account(admin_, tenant.id, bot.account.id, kNow).error().code,
      Code::kNotFound);
}

}  // namespace
}  // namespace tessera
