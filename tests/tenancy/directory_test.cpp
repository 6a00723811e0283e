#include "tenancy/directory.hpp"

#include <algorithm>
#include <random>
#include <thread>

#include <sys/stat.h>

#include <gtest/gtest.h>

#include "storage/durable_file.hpp"
#include "storage/keys.hpp"
#include "tests/support/temp_dir.hpp"

namespace tessera {
namespace {
using namespace std::chrono_literals;

constexpr WallTime kNow{1'700'000'000s};

// Lets writes through until told to fail them.
class FailingStore final : public Store {
 public:
  explicit FailingStore(std::unique_ptr<Store> store) : store_(std::move(store)) {}

  Result<std::optional<std::string>> get(Family family, std::string_view key) const override {
    return store_->get(family, key);
  }
  Result<void> scan(
      Family family, std::string_view prefix, std::string_view start,
      const std::function<bool(std::string_view, std::string_view)>& visit) const override {
    return store_->scan(family, prefix, start, visit);
  }
  Result<void> write(const Batch& batch, Durability durability) override {
    if (fails) return Error{Code::kStorageFull, "the disk is full"};
    ++num_writes;
    return store_->write(batch, durability);
  }
  Result<void> sync() override { return store_->sync(); }

  bool fails = false;
  int num_writes = 0;

 private:
  std::unique_ptr<Store> store_;
};

class TenantDirectoryTest : public testing::Test {
 protected:
  TenantDirectoryTest() {
    open();
    EXPECT_TRUE(directory_->ensure_admin_key(folder_ / "admin.key", kNow).value());
    admin_ = directory_->authenticate(admin_key(), kNow).value();
  }

  void open() {
    store_ = std::make_unique<FailingStore>(open_rocks_store(folder_ / "db").value());
    directory_ = TenantDirectory::open(*store_, peppers_).value();
  }
  void reopen() {
    directory_.reset();
    store_.reset();
    open();
  }

  std::string admin_key() const {
    std::string text = read_file(folder_ / "admin.key", 1000).value();
    text.pop_back();  // the newline
    return text;
  }

  Tenant make_tenant(const std::string& name) {
    return directory_->create_tenant(admin_, {.name = name}, kNow).value();
  }

  CreatedApiKey make_key(const Tenant& tenant, ScopeSet scopes = kDefaultKeyScopes) {
    const auto account = directory_->create_service_account(admin_, tenant.id, "bot", kNow).value();
    return directory_
        ->create_key(
            admin_,
            {.name = "key", .scopes = scopes, .tenant = tenant.id, .service_account = account.id},
            kNow)
        .value();
  }

  Caller caller_with(const Tenant& tenant, ScopeSet scopes) {
    return directory_->authenticate(make_key(tenant, scopes).value, kNow).value();
  }

  Code refusal_of(const std::string& key, WallTime now = kNow) const {
    const auto caller = directory_->authenticate(key, now);
    EXPECT_FALSE(caller);
    return caller ? Code::kInternalError : caller.error().code;
  }

  std::vector<std::string> audit_events() const {
    std::vector<std::string> events;
    EXPECT_TRUE(scan_audit(*store_, kNow - 1h, kNow + 1h, [&](const AuditRecord& record) {
      events.push_back(record.event);
      return true;
    }));
    std::ranges::sort(events);
    return events;
  }

  TempDir folder_;
  PepperFile peppers_ = PepperFile::open(folder_ / "pepper").value();
  std::unique_ptr<FailingStore> store_;
  std::unique_ptr<TenantDirectory> directory_;
  Caller admin_;
};

TEST_F(TenantDirectoryTest, FirstAdminKeyIsMadeOnceInAPrivateFile) {
  EXPECT_TRUE(admin_.is_admin);
  EXPECT_TRUE(admin_.may(Scope::kAdmin));
  EXPECT_FALSE(directory_->ensure_admin_key(folder_ / "other.key", kNow).value());
  EXPECT_FALSE(std::filesystem::exists(folder_ / "other.key"));
  struct stat status {};
  ASSERT_EQ(::stat((folder_ / "admin.key").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600U);
}

TEST_F(TenantDirectoryTest, AdminKeyWhoseRecordWasLostInACrashIsMadeAgain) {
  TempDir other;
  auto store = FailingStore(open_rocks_store(other / "db").value());
  auto directory = TenantDirectory::open(store, peppers_).value();
  store.fails = true;
  EXPECT_FALSE(directory->ensure_admin_key(other / "admin.key", kNow));
  const std::string lost = read_file(other / "admin.key", 100).value();
  store.fails = false;
  EXPECT_TRUE(directory->ensure_admin_key(other / "admin.key", kNow).value());
  const std::string found = read_file(other / "admin.key", 100).value();
  EXPECT_NE(found, lost);
  EXPECT_FALSE(directory->authenticate(lost.substr(0, lost.size() - 1), kNow));
  EXPECT_TRUE(directory->authenticate(found.substr(0, found.size() - 1), kNow));
}

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

TEST_F(TenantDirectoryTest, ArchivedTenantIsSuspendedAndTakesNoNewKeys) {
  const Tenant tenant = make_tenant("a");
  const CreatedApiKey key = make_key(tenant);
  const auto archived = directory_->archive_tenant(admin_, tenant.id, kNow);
  EXPECT_EQ(archived->archived_at, kNow);
  EXPECT_EQ(directory_->archive_tenant(admin_, tenant.id, kNow + 1s)->archived_at, kNow);
  EXPECT_EQ(refusal_of(key.value), Code::kTenantSuspended);
  EXPECT_EQ(directory_->create_service_account(admin_, tenant.id, "x", kNow).error().code,
            Code::kConflict);
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

TEST_F(TenantDirectoryTest, SlugsAreUniqueWhetherWantedOrMade) {
  make_tenant("Acme");
  EXPECT_NE(make_tenant("acme").slug, "acme");
  EXPECT_EQ(directory_->create_tenant(admin_, {.name = "x", .slug = "acme"}, kNow).error().code,
            Code::kNameExists);
  EXPECT_EQ(directory_->create_tenant(admin_, {.name = "x", .slug = "Acme"}, kNow).error().code,
            Code::kInvalidValue);
}

TEST_F(TenantDirectoryTest, OnlyAdminsAdministerTenants) {
  const Tenant tenant = make_tenant("a");
  const Caller caller = caller_with(tenant, kTenantScopes);
  const auto code_of = [](const auto& result) {
    return result ? Code::kInternalError : result.error().code;
  };
  EXPECT_EQ(code_of(directory_->create_tenant(caller, {.name = "b"}, kNow)),
            Code::kInsufficientScope);
  EXPECT_EQ(code_of(directory_->rename_tenant(caller, make_tenant("c").id, "b", kNow)),
            Code::kInsufficientScope);
  EXPECT_EQ(code_of(directory_->archive_tenant(caller, tenant.id, kNow)), Code::kInsufficientScope);
  EXPECT_EQ(code_of(directory_->set_limits(caller, tenant.id, {}, kNow)), Code::kInsufficientScope);
  EXPECT_EQ(code_of(directory_->create_key(
                caller, {.name = "k", .scopes = kAdminScopes, .kind = KeyKind::kAdmin}, kNow)),
            Code::kInsufficientScope);
  EXPECT_EQ(code_of(directory_->revoke_key(caller, TenantId(), admin_.key, kNow)),
            Code::kInsufficientScope);
}

TEST_F(TenantDirectoryTest, WhoMayWriteATenantRenamesThatOne) {
  const Tenant tenant = make_tenant("mine");
  const Caller writer = caller_with(tenant, {Scope::kTenantWrite});
  EXPECT_EQ(directory_->rename_tenant(writer, tenant.id, "ours", kNow).value().name, "ours");
  const Caller reader = caller_with(tenant, {Scope::kTenantRead, Scope::kKeyWrite});
  EXPECT_EQ(directory_->rename_tenant(reader, tenant.id, "b", kNow).error().code,
            Code::kInsufficientScope);
  EXPECT_EQ(directory_->snapshot()->find(tenant.id)->tenant.name, "ours");
}

TEST_F(TenantDirectoryTest, OtherTenantsLookAsIfTheyDidNotExist) {
  const Tenant mine = make_tenant("mine");
  const Tenant other = make_tenant("other");
  const CreatedApiKey others_key = make_key(other);
  const Caller caller = caller_with(mine, kTenantScopes);
  const auto theirs = directory_->create_service_account(caller, other.id, "x", kNow);
  const auto nobodys = directory_->create_service_account(caller, TenantId("proj_no"), "x", kNow);
  EXPECT_EQ(theirs.error().code, Code::kNotFound);
  EXPECT_EQ(theirs.error().message, nobodys.error().message);
  const auto revoked = directory_->revoke_key(caller, mine.id, others_key.record.id, kNow);
  const auto unknown = directory_->revoke_key(caller, mine.id, KeyId("nobody"), kNow);
  EXPECT_EQ(revoked.error().code, Code::kNotFound);
  EXPECT_EQ(revoked.error().message, unknown.error().message);
  EXPECT_TRUE(directory_->authenticate(others_key.value, kNow));
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

TEST_F(TenantDirectoryTest, FailedWriteChangesNothing) {
  const Tenant tenant = make_tenant("a");
  const CreatedApiKey key = make_key(tenant);
  const auto before = directory_->snapshot();
  store_->fails = true;
  EXPECT_EQ(directory_->create_tenant(admin_, {.name = "b"}, kNow).error().code,
            Code::kStorageFull);
  EXPECT_FALSE(directory_->rename_tenant(admin_, tenant.id, "b", kNow));
  EXPECT_FALSE(directory_->set_limits(admin_, tenant.id, {}, kNow));
  EXPECT_FALSE(directory_->revoke_key(admin_, tenant.id, key.record.id, kNow));
  EXPECT_EQ(directory_->snapshot(), before);
  EXPECT_TRUE(directory_->authenticate(key.value, kNow));
}

TEST_F(TenantDirectoryTest, EveryChangeLeavesItsAuditRecord) {
  const Tenant tenant = make_tenant("a");
  const CreatedApiKey key = make_key(tenant);
  ASSERT_TRUE(directory_->set_limits(admin_, tenant.id, {}, kNow));
  ASSERT_TRUE(directory_->revoke_key(admin_, tenant.id, key.record.id, kNow));
  ASSERT_TRUE(directory_->rename_tenant(admin_, tenant.id, "b", kNow));
  ASSERT_TRUE(directory_->archive_tenant(admin_, tenant.id, kNow));
  EXPECT_FALSE(directory_->archive_tenant(admin_, TenantId("proj_no"), kNow));
  EXPECT_EQ(audit_events(),
            (std::vector<std::string>{"api_key.created", "api_key.created", "api_key.deleted",
                                      "project.archived", "project.created", "project.updated",
                                      "rate_limit.updated", "service_account.created"}));
}

TEST_F(TenantDirectoryTest, AnExchangedPepperFileIsToldAtOpening) {
  directory_.reset();
  const PepperFile others = PepperFile::open(folder_ / "other pepper").value();
  const auto opened = TenantDirectory::open(*store_, others);
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, Code::kCorrupt);
  EXPECT_NE(opened.error().message.find("pepper"), std::string::npos);
}

TEST_F(TenantDirectoryTest, KeysOfOlderPeppersStayValid) {
  const CreatedApiKey old = make_key(make_tenant("a"));
  const std::string first = read_file(folder_ / "pepper", 1000).value();
  ASSERT_TRUE(
      write_file_durably(folder_ / "pepper", first + "2 " + std::string(64, 'b') + "\n", 0600));
  peppers_ = PepperFile::open(folder_ / "pepper").value();
  reopen();
  EXPECT_TRUE(directory_->authenticate(old.value, kNow));
  EXPECT_EQ(make_key(make_tenant("b")).record.pepper_version, 2U);
}

TEST_F(TenantDirectoryTest, DamagedRecordIsToldAtOpening) {
  ASSERT_TRUE(
      store_->write(Batch().put(Family::kMeta, keys::tenant("proj_x"), "{}"), Durability::kSynced));
  directory_.reset();
  EXPECT_EQ(TenantDirectory::open(*store_, peppers_).error().code, Code::kCorrupt);
}

TEST_F(TenantDirectoryTest, ReopenedDirectoryEqualsTheOneThatWasClosed) {
  const auto seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  std::vector<Tenant> tenants{make_tenant("first")};
  std::vector<CreatedApiKey> keys{make_key(tenants[0])};
  for (int step = 0; step < 150; ++step) {
    const WallTime now = kNow + step * 1s;
    const Tenant& tenant = tenants[random() % tenants.size()];
    switch (random() % 6) {
      case 0:
        tenants.push_back(make_tenant("tenant " + std::to_string(step)));
        break;
      case 1:
        if (!directory_->snapshot()->find(tenant.id)->tenant.archived_at) {
          keys.push_back(make_key(tenant));
        }
        break;
      case 2: {
        const auto& key = keys[random() % keys.size()].record;
        static_cast<void>(directory_->revoke_key(admin_, key.tenant, key.id, now));
        break;
      }
      case 3:
        ASSERT_TRUE(
            directory_->set_limits(admin_, tenant.id, {.requests_per_minute = 1 + step}, now));
        break;
      case 4:
        ASSERT_TRUE(
            directory_->rename_tenant(admin_, tenant.id, "name " + std::to_string(step), now));
        break;
      case 5:
        if (random() % 4 == 0) {
          ASSERT_TRUE(directory_->archive_tenant(admin_, tenant.id, now));
        }
        break;
    }
  }
  const auto before = directory_->snapshot();
  std::vector<bool> opens;
  for (const auto& key : keys)
    opens.push_back(directory_->authenticate(key.value, kNow).has_value());
  reopen();
  const auto after = directory_->snapshot();
  EXPECT_EQ(after->tenants(), before->tenants());
  EXPECT_EQ(after->keys_of(TenantId()), before->keys_of(TenantId()));
  for (const Tenant& tenant : before->tenants()) {
    EXPECT_EQ(after->find(tenant.id)->limits, before->find(tenant.id)->limits);
    EXPECT_EQ(after->find(tenant.id)->service_accounts, before->find(tenant.id)->service_accounts);
    EXPECT_EQ(after->keys_of(tenant.id), before->keys_of(tenant.id));
  }
  for (std::size_t i = 0; i < keys.size(); ++i) {
    EXPECT_EQ(directory_->authenticate(keys[i].value, kNow).has_value(), opens[i]);
  }
}

TEST_F(TenantDirectoryTest, ReadersNeverSeeHalfAChange) {
  const Tenant tenant = make_tenant("a");
  const CreatedApiKey key = make_key(tenant);
  std::jthread writer([&](const std::stop_token& stop) {
    for (std::int64_t i = 1; !stop.stop_requested(); ++i) {
      const TenantLimits limits{.requests_per_minute = i, .tokens_per_minute = i};
      EXPECT_TRUE(directory_->set_limits(admin_, tenant.id, limits, kNow));
    }
  });
  std::vector<std::jthread> readers;
  for (int t = 0; t < 2; ++t) {
    readers.emplace_back([&] {
      for (int i = 0; i < 2000; ++i) {
        const auto caller = directory_->authenticate(key.value, kNow);
        ASSERT_TRUE(caller);
        if (caller->limits == TenantLimits()) continue;
        ASSERT_EQ(caller->limits.requests_per_minute, caller->limits.tokens_per_minute);
      }
    });
  }
}

TEST_F(TenantDirectoryTest, TheStoreHoldsNoSecret) {
  const CreatedApiKey key = make_key(make_tenant("a"));
  const std::string secret = parse_api_key(key.value)->secret;
  for (int f = 0; f < kNumFamilies; ++f) {
    ASSERT_TRUE(store_->scan(static_cast<Family>(f), "", "", [&](auto, std::string_view value) {
      EXPECT_EQ(value.find(secret), value.npos);
      return true;
    }));
  }
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

TEST_F(TenantDirectoryTest, AGuardSeesWhatWouldBeChangedAndItsErrorRefusesTheChange) {
  const Tenant tenant = directory_->create_tenant(admin_, {.name = "before"}, kNow).value();
  std::string seen;
  const Guard refuse = [&](const DirectorySnapshot& snapshot) -> Result<void> {
    seen = snapshot.find(tenant.id)->tenant.name;
    return Error{Code::kPreconditionFailed, "no"};
  };
  const auto none = [](auto&) -> Result<void> { return {}; };
  EXPECT_FALSE(directory_->rename_tenant(admin_, tenant.id, "after", kNow, refuse));
  EXPECT_FALSE(directory_->archive_tenant(admin_, tenant.id, kNow, refuse));
  EXPECT_FALSE(directory_->modify_limits(admin_, tenant.id, none, kNow, refuse));
  EXPECT_FALSE(directory_->modify_policy(admin_, tenant.id, "x", none, kNow, refuse));
  EXPECT_EQ(seen, "before");
  EXPECT_EQ(directory_->snapshot()->find(tenant.id)->tenant.name, "before");
  EXPECT_FALSE(directory_->snapshot()->find(tenant.id)->tenant.archived_at);
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
