// directory_fixture.hpp — a directory of tenants with an admin, over a store that fails when told.
#pragma once

#include <algorithm>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "storage/durable_file.hpp"
#include "storage/store.hpp"
#include "tenancy/directory.hpp"
#include "tests/support/temp_dir.hpp"

namespace tessera {

inline constexpr WallTime kNow{std::chrono::seconds(1'700'000'000)};

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
    EXPECT_TRUE(scan_audit(*store_, kNow - std::chrono::hours(1), kNow + std::chrono::hours(1),
                           [&](const AuditRecord& record) {
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

}  // namespace tessera
