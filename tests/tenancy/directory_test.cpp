// directory_test.cpp — tenants, who may administer them, and what is kept of them.
#include "tenancy/directory.hpp"

#include <filesystem>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <sys/stat.h>

#include <gtest/gtest.h>

#include "storage/durable_file.hpp"
#include "storage/keys.hpp"
#include "tests/tenancy/directory_fixture.hpp"

namespace tessera {
namespace {

using namespace std::chrono_literals;

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

}  // namespace
}  // namespace tessera
