#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/adapters/registry_fixture.hpp"

namespace tessera {
namespace {

std::string line_of(const RegistryChange& change) {
  std::string line = std::string(event_name(change.kind)) + ' ' + change.adapter;
  if (change.version > 0) {
    line += '@' + std::to_string(change.version) + ' ' + std::string(to_string(change.status));
  }
  if (!change.alias.empty()) line += ':' + change.alias;
  for (const AliasShare& share : change.target.shares) line += " >" + std::to_string(share.version);
  return line;
}

// Writes what it is given, and remembers what it was told.
class Journal final : public RegistryJournal {
 public:
  explicit Journal(Store& the_store) : store(the_store) {}

  Result<void> write(Batch batch, std::span<const RegistryChange> changes) override {
    if (is_full) return Error{Code::kStorageFull, "the disk is full"};
    num_written += changes.size();
    return store.write(batch);
  }
  void tell(std::span<const RegistryChange> changes) override {
    for (const RegistryChange& change : changes) lines.push_back(line_of(change));
  }
  std::vector<std::string> take() { return std::exchange(lines, {}); }

  Store& store;
  bool is_full = false;
  std::size_t num_written = 0;
  std::vector<std::string> lines;
};

class RegistryJournalTest : public RegistryTest {
 protected:
  RegistryJournalTest() : log(*store) {
    registry = AdapterRegistry::open(*store, test_base(), &log, kNow).value();
  }
  ~RegistryJournalTest() override { close(); }

  using Lines = std::vector<std::string>;
  Journal log;
};

TEST_F(RegistryJournalTest, EveryChangeIsWrittenWithItsRecordAndToldOnce) {
  ASSERT_TRUE(Upload(1).publish(*registry, kAnn, "bot"));
  EXPECT_EQ(log.take(), (Lines{"adapter.created bot", "adapter.version.created bot@1 ready",
                               "adapter.alias.updated bot:prod >1"}));
  ASSERT_TRUE(registry->begin_version(version_request(kAnn, "bot")));
  ASSERT_TRUE(registry->fail_version(kAnn, "bot", 2, "{}", kNow));
  EXPECT_EQ(log.take(), (Lines{"adapter.version.created bot@2 validating",
                               "adapter.version.updated bot@2 failed"}));
  ASSERT_TRUE(Upload(3).publish(*registry, kAnn, "bot"));
  ASSERT_TRUE(registry->roll_back(change_of(kAnn, "bot"), "prod"));
  ASSERT_TRUE(registry->set_labels(change_of(kAnn, "bot"), {{"a", "b"}}));
  EXPECT_EQ(log.take(),
            (Lines{"adapter.version.created bot@3 ready", "adapter.alias.updated bot:prod >3",
                   "adapter.alias.updated bot:prod >1", "adapter.updated bot"}));
  ASSERT_TRUE(registry->remove_version(change_of(kAnn, "bot"), 1, Removal::kForced));
  EXPECT_EQ(log.take(),
            (Lines{"adapter.alias.deleted bot:prod", "adapter.version.deleted bot@1 ready"}));
  ASSERT_TRUE(registry->remove(change_of(kAnn, "bot")));
  EXPECT_EQ(log.take(), Lines{"adapter.deleted bot"});
  EXPECT_EQ(log.num_written, 12U);
}

TEST_F(RegistryJournalTest, WhatChangesNothingIsNotTold) {
  ASSERT_TRUE(Upload(1).publish(*registry, kAnn, "bot"));
  log.take();
  ASSERT_TRUE(Upload(1).publish(*registry, kAnn, "bot"));
  ASSERT_TRUE(registry->set_alias(change_of(kAnn, "bot"), "prod", AliasTarget::one(1)));
  ASSERT_TRUE(registry->set_labels(change_of(kAnn, "bot"), {{"a", std::nullopt}}));
  EXPECT_FALSE(registry->set_alias(change_of(kAnn, "bot"), "prod", AliasTarget::one(5)));
  EXPECT_EQ(log.take(), Lines{});
}

TEST_F(RegistryJournalTest, AChangeThatCannotBeLoggedDoesNotHappen) {
  ASSERT_TRUE(Upload(1).publish(*registry, kAnn, "bot"));
  ASSERT_TRUE(Upload(2).publish(*registry, kAnn, "bot"));
  log.take();
  log.is_full = true;
  const auto change = change_of(kAnn, "bot");
  EXPECT_FALSE(Upload(3).publish(*registry, kAnn, "bot"));
  EXPECT_FALSE(registry->set_alias(change, "prod", AliasTarget::one(1)));
  EXPECT_FALSE(registry->roll_back(change, "prod"));
  EXPECT_FALSE(registry->remove_version(change, 1));
  EXPECT_FALSE(registry->remove(change));
  EXPECT_FALSE(registry->set_quarantined(change, 1, true));
  EXPECT_EQ(log.take(), Lines{});
  EXPECT_EQ(registry->resolve(kAnn, "bot")->display_name, "bot@2");
  registry = AdapterRegistry::open(*store, test_base()).value();
  EXPECT_EQ(registry->resolve(kAnn, "bot")->display_name, "bot@2");
  EXPECT_EQ(registry->get(kAnn, "bot").value()->versions.size(), 2U);
}

TEST_F(RegistryJournalTest, WhatACrashInterruptedIsToldAsTheServersDoing) {
  ASSERT_TRUE(registry->begin_version(version_request(kAnn, "bot")));
  log.take();
  registry = AdapterRegistry::open(*store, test_base(), &log, kNow).value();
  EXPECT_EQ(log.take(), Lines{"adapter.version.updated bot@1 failed"});
}

}  // namespace
}  // namespace tessera
