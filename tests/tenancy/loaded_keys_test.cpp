#include "tenancy/loaded_keys.hpp"

#include <algorithm>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "tenancy/directory_snapshot.hpp"
#include "tenancy/records.hpp"

namespace tessera {
namespace {

ApiKeyRecord key(int number, const std::string& tenant) {
  return {.id = KeyId("key" + std::to_string(number)),
          .tenant = TenantId(tenant),
          .name = "name " + std::to_string(number),
          .scopes = kDefaultKeyScopes};
}

std::string tenant_of(int number) {
  return number % 10 == 0 ? "" : "proj_" + std::to_string(number % 7);
}

// Of keys 0 to `count` - 1, in two piles.
std::shared_ptr<const LoadedKeys> loaded(int count) {
  std::vector<LoadedKeys::Pile> piles(2);
  for (int number = 0; number < count; ++number) {
    const ApiKeyRecord record = key(number, tenant_of(number));
    piles[static_cast<std::size_t>(number % 2)].add(record, encode(record));
  }
  return std::make_shared<LoadedKeys>(std::move(piles));
}

std::vector<std::string> names(const std::vector<ApiKeyRecord>& keys) {
  std::vector<std::string> names;
  for (const ApiKeyRecord& each : keys) names.push_back(each.name);
  std::ranges::sort(names);
  return names;
}

TEST(LoadedKeys, EachIsFoundWholeAndNoOther) {
  constexpr int kCount = 20'000;  // some MiB: several blocks
  const auto keys = loaded(kCount);
  for (int number = 0; number < kCount; ++number) {
    const auto found = keys->find(KeyId("key" + std::to_string(number)));
    ASSERT_TRUE(found) << number;
    EXPECT_EQ(*found, key(number, tenant_of(number)));
  }
  EXPECT_FALSE(keys->find(KeyId("key20000")));
  EXPECT_FALSE(keys->find(KeyId()));
}

TEST(LoadedKeys, OnesOfATenantAreToldTogether) {
  const auto keys = loaded(1000);
  std::vector<KeyId> expected;
  for (int number = 0; number < 1000; ++number) {
    if (tenant_of(number) == "proj_3") expected.emplace_back("key" + std::to_string(number));
  }
  std::vector<KeyId> found = keys->ids_of(TenantId("proj_3"));
  std::ranges::sort(found);
  std::ranges::sort(expected);
  EXPECT_EQ(found, expected);
  EXPECT_EQ(keys->ids_of(TenantId()).size(), 100U);
  EXPECT_TRUE(keys->ids_of(TenantId("proj_7")).empty());
}

TEST(LoadedKeys, WithoutAnyNothingIsFound) {
  const auto keys = loaded(0);
  EXPECT_FALSE(keys->find(KeyId("key0")));
  EXPECT_TRUE(keys->ids_of(TenantId()).empty());
}

TEST(LoadedKeys, ThreadsThatAskAtOnceGetOneRecord) {
  const auto keys = loaded(500);
  std::vector<std::vector<const ApiKeyRecord*>> found(4);
  {
    std::vector<std::jthread> threads;
    for (auto& own : found) {
      threads.emplace_back([&keys, &own] {
        for (int number = 0; number < 500; ++number) {
          own.push_back(keys->find(KeyId("key" + std::to_string(number))).get());
        }
      });
    }
  }
  for (const auto& own : found) EXPECT_EQ(own, found.front());
}

TEST(LoadedKeys, ARecordOutlivesWhatItWasFoundIn) {
  auto keys = loaded(3);
  const auto found = keys->find(KeyId("key2"));
  keys.reset();
  EXPECT_EQ(found->name, "name 2");
}

TEST(DirectorySnapshot, ChangesOfLoadedKeysLeaveOlderSnapshotsAsTheyWere) {
  DirectorySnapshot before;
  before.put_loaded(loaded(40));
  const auto all = names(before.keys_of(TenantId("proj_1")));
  DirectorySnapshot after = before;
  after.erase_key(KeyId("key1"));
  ApiKeyRecord renamed = key(8, "proj_1");
  renamed.name = "renamed";
  after.put_key(renamed);
  after.put_key(key(100, "proj_1"));

  EXPECT_EQ(names(before.keys_of(TenantId("proj_1"))), all);
  EXPECT_NE(before.find_key(KeyId("key1")), nullptr);
  EXPECT_EQ(before.find_key(KeyId("key100")), nullptr);

  EXPECT_EQ(after.find_key(KeyId("key1")), nullptr);
  EXPECT_EQ(after.find_key(KeyId("key8"))->name, "renamed");
  EXPECT_EQ(after.share_key(KeyId("key100"))->name, "name 100");
  auto expected = all;
  std::erase(expected, "name 1");
  std::ranges::replace(expected, "name 8", "renamed");
  expected.emplace_back("name 100");
  std::ranges::sort(expected);
  EXPECT_EQ(names(after.keys_of(TenantId("proj_1"))), expected);

  after.put_key(key(1, "proj_1"));  // made anew
  EXPECT_NE(after.find_key(KeyId("key1")), nullptr);
  after.erase_key(KeyId("key100"));
  EXPECT_EQ(after.find_key(KeyId("key100")), nullptr);
}

TEST(DirectorySnapshot, TheLastLoadedAdminKeyIsTheLast) {
  DirectorySnapshot snapshot;
  snapshot.put_loaded(loaded(11));  // 0 and 10 are admins'
  EXPECT_TRUE(snapshot.has_admin_key());
  snapshot.erase_key(KeyId("key0"));
  EXPECT_TRUE(snapshot.has_admin_key());
  snapshot.erase_key(KeyId("key10"));
  EXPECT_FALSE(snapshot.has_admin_key());
}

}  // namespace
}  // namespace tessera
