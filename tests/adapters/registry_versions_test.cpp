// What versions go through: validation, failure, quarantine, deletion under use, and crashes.
#include <future>

#include <gtest/gtest.h>

#include "storage/keys.hpp"
#include "tests/adapters/registry_fixture.hpp"

namespace tessera {
namespace {

using RegistryVersions = RegistryTest;

// A version is begun when its sender cannot wait for the end of its validation.
TEST_F(RegistryVersions, AVersionThatIsBeingValidatedHasItsNumberAndNoTraffic) {
  const auto begun = registry->begin_version(version_request(kAnn, "bot"));
  ASSERT_TRUE(begun) << begun.error().message;
  EXPECT_EQ(begun->version, 1);
  EXPECT_EQ(begun->status, VersionStatus::kValidating);
  EXPECT_EQ(registry->resolve(kAnn, "bot@1").error().code, Code::kVersionNotReady);
  EXPECT_EQ(registry->resolve(kAnn, "bot").error().code, Code::kModelNotFound);
  EXPECT_EQ(Upload(1).publish(*registry, kAnn, "bot")->version.version, 2) << "others go on";

  PublishRequest request = Upload(3).request(kAnn, "bot");
  request.reserved = 1;
  request.report = R"({"ok":true})";
  const auto published = registry->publish(request, Upload(3).facts());
  ASSERT_TRUE(published) << published.error().message;
  EXPECT_EQ(published->version.version, 1);
  EXPECT_EQ(published->version.id, begun->id);
  EXPECT_EQ(resolved(kAnn, "bot"), Upload(3).facts().digest);
  EXPECT_EQ(registry->report(kAnn, "bot", 1).value(), request.report);
  EXPECT_EQ(registry->publish(request, Upload(3).facts()).error().code, Code::kConflict);
}

TEST_F(RegistryVersions, AReservedNumberStaysItsOwnThoughItsContentIsKnown) {
  ASSERT_TRUE(Upload(1).publish(*registry, kAnn, "bot"));
  ASSERT_TRUE(registry->begin_version(version_request(kAnn, "bot")));
  PublishRequest request = Upload(1).request(kAnn, "bot");
  request.reserved = 2;
  const auto published = registry->publish(request, Upload(1).facts());
  ASSERT_TRUE(published);
  EXPECT_EQ(published->version.version, 2);
  EXPECT_EQ(registry->usage(kAnn).bytes, Upload(1).bytes());
  ASSERT_TRUE(registry->remove_version(change_of(kAnn, "bot"), 1));
  EXPECT_TRUE(registry->load(resolved(kAnn, "bot")));
}

TEST_F(RegistryVersions, AFailedVersionKeepsItsReportAndIsNeverPointedAt) {
  ASSERT_TRUE(registry->begin_version(version_request(kAnn, "bot")));
  const auto failed = registry->fail_version(kAnn, "bot", 1, R"({"ok":false})", kNow);
  ASSERT_TRUE(failed);
  EXPECT_EQ(failed->status, VersionStatus::kFailed);
  const auto at_once = registry->record_failed(version_request(kAnn, "bot"), "{}");
  ASSERT_TRUE(at_once);
  EXPECT_EQ(at_once->version, 2);
  reopen();
  EXPECT_EQ(registry->report(kAnn, "bot", 1).value(), R"({"ok":false})");
  EXPECT_EQ(registry->resolve(kAnn, "bot@2").error().code, Code::kVersionNotReady);
  for (const int version : {1, 2}) {
    const auto moved =
        registry->set_alias(change_of(kAnn, "bot"), "prod", AliasTarget::one(version));
    EXPECT_EQ(moved.error().code, Code::kVersionNotReady);
  }
  EXPECT_EQ(registry->fail_version(kAnn, "bot", 1, "", kNow).error().code, Code::kConflict);
  EXPECT_EQ(registry->report(kBob, "bot", 1).error().code, Code::kModelNotFound);
}

TEST_F(RegistryVersions, OnlyTheLastFailuresOfANameAreKept) {
  ASSERT_TRUE(Upload(1).publish(*registry, kAnn, "bot"));
  for (std::size_t i = 0; i < kMaxFailedVersions + 5; ++i) {
    ASSERT_TRUE(registry->record_failed(version_request(kAnn, "bot"), "{}"));
  }
  const auto info = registry->get(kAnn, "bot").value();
  EXPECT_EQ(info->versions.size(), kMaxFailedVersions + 1);
  EXPECT_NE(info->find(1), nullptr) << "it is ready";
  EXPECT_EQ(info->find(6), nullptr);
  EXPECT_NE(info->find(7), nullptr);
}

TEST_F(RegistryVersions, AVersionThatACrashInterruptedHasFailed) {
  ASSERT_TRUE(Upload(1).publish(*registry, kAnn, "bot"));
  ASSERT_TRUE(registry->begin_version(version_request(kAnn, "bot")));
  reopen();
  const auto info = registry->get(kAnn, "bot").value();
  EXPECT_EQ(info->find(2)->status, VersionStatus::kFailed);
  EXPECT_NE(registry->report(kAnn, "bot", 2)->find("validation_interrupted"), std::string::npos);
  EXPECT_EQ(resolved(kAnn, "bot"), Upload(1).facts().digest);
  PublishRequest late = Upload(2).request(kAnn, "bot");
  late.reserved = 2;
  EXPECT_EQ(registry->publish(late, Upload(2).facts()).error().code, Code::kConflict);
}

TEST_F(RegistryVersions, AVersionThatWasDeletedWhileItWasValidatedIsNotPublished) {
  ASSERT_TRUE(registry->begin_version(version_request(kAnn, "bot")));
  ASSERT_TRUE(registry->remove_version(change_of(kAnn, "bot"), 1));
  PublishRequest late = Upload(2).request(kAnn, "bot");
  late.reserved = 1;
  EXPECT_EQ(registry->publish(late, Upload(2).facts()).error().code, Code::kModelNotFound);
  reopen();
  EXPECT_EQ(count_keys(*store, Family::kChunks), 0U);
}

TEST_F(RegistryVersions, AQuarantinedVersionIsOutOfServiceUntilItIsReleased) {
  ASSERT_TRUE(Upload(1).publish(*registry, kAnn, "bot"));
  ASSERT_TRUE(registry->set_quarantined(change_of(kAnn, "bot"), 1, true));
  reopen();
  EXPECT_EQ(registry->resolve(kAnn, "bot").error().code, Code::kVersionNotReady);
  EXPECT_EQ(registry->resolve(kAnn, "bot@1").error().code, Code::kVersionNotReady);
  EXPECT_EQ(registry->set_quarantined(change_of(kAnn, "bot"), 1, true).error().code,
            Code::kConflict);
  ASSERT_TRUE(registry->set_quarantined(change_of(kAnn, "bot"), 1, false));
  EXPECT_EQ(resolved(kAnn, "bot"), Upload(1).facts().digest);
}

// A request that was admitted is served, whatever happens to its version.
TEST_F(RegistryVersions, ARemovedVersionIsUnknownAtOnceAndItsBytesStayForWhoIsPinned) {
  ASSERT_TRUE(Upload(1).publish(*registry, kAnn, "bot"));
  std::promise<AdapterDigest> gone;
  registry->set_on_gone([&](const AdapterDigest& digest) { gone.set_value(digest); });
  auto pinned = registry->resolve(kAnn, "bot").value();
  ASSERT_TRUE(registry->remove(change_of(kAnn, "bot")));
  EXPECT_FALSE(registry->resolve(kAnn, "bot@1"));
  const auto files = registry->load(pinned.digest);
  ASSERT_TRUE(files) << files.error().message;
  EXPECT_EQ(files->tensors, Upload(1).tensors);
  const AdapterDigest digest = pinned.digest;
  pinned.pin.reset();
  EXPECT_EQ(gone.get_future().get(), digest);
  EXPECT_EQ(count_keys(*store, Family::kChunks), 0U);
  EXPECT_EQ(count_keys(*store, Family::kMeta, keys::package_intents()), 0U);
  EXPECT_FALSE(registry->has(digest));
}

TEST_F(RegistryVersions, BytesThatAreUploadedAgainWhileTheyArePinnedStay) {
  ASSERT_TRUE(Upload(1).publish(*registry, kAnn, "bot"));
  auto pinned = registry->resolve(kAnn, "bot").value();
  ASSERT_TRUE(registry->remove(change_of(kAnn, "bot")));
  ASSERT_TRUE(Upload(1).publish(*registry, kAnn, "bot"));
  pinned.pin.reset();
  reopen();
  EXPECT_TRUE(registry->load(resolved(kAnn, "bot@2")));
}

TEST_F(RegistryVersions, BytesOfARemovedVersionThatWerePinnedAtAKillGoAtTheNextOpen) {
  ASSERT_TRUE(Upload(1).publish(*registry, kAnn, "bot"));
  const auto pinned = registry->resolve(kAnn, "bot").value();
  ASSERT_TRUE(registry->remove(change_of(kAnn, "bot")));
  EXPECT_GT(count_keys(*store, Family::kChunks), 0U);
  reopen();
  EXPECT_EQ(count_keys(*store, Family::kChunks), 0U);
}

TEST_F(RegistryVersions, AnUploadOfAnySizeIsWrittenInBatchesOfAFewMiB) {
  FaultyStore watched(*store);
  auto opened = AdapterRegistry::open(watched, test_base());
  PublishRequest request{.version = version_request(kAnn, "bot"),
                         .config = memory_file("{}"),
                         .tensors = memory_file(std::string((std::size_t{37} << 20) + 5, 'x'))};
  const auto published = (*opened)->publish(request, made_up_facts(1));
  ASSERT_TRUE(published);
  EXPECT_LE(watched.largest_batch_bytes, std::size_t{9} << 20);
  const auto package = (*opened)->package(published->version);
  ASSERT_TRUE(package);
  EXPECT_EQ(package->read(PackageFile::kTensors, (std::size_t{37} << 20) - 2, 100)->size(), 7U);
  EXPECT_EQ(package->read_all()->tensors.size(), request.tensors->size());
}

// The process is killed before the k-th write of a publish, for every k: what is there then is the
// whole version or nothing, and no byte that is nobody's.
TEST_F(RegistryVersions, AKillAtAnyWriteOfAPublishLeavesAllOfItOrNothing) {
  const std::string tensors((std::size_t{20} << 20) + 1, 'x');
  bool published = false;
  for (int writes = 0; !published; ++writes) {
    ASSERT_LT(writes, 20);
    FaultyStore killed(*store);
    {
      auto opened = AdapterRegistry::open(killed, test_base());
      killed.writes_left = writes;
      const PublishRequest request{.version = version_request(kAnn, "bot"),
                                   .config = memory_file("{}"),
                                   .tensors = memory_file(tensors)};
      published = (*opened)->publish(request, made_up_facts(1)).has_value();
    }
    reopen();
    EXPECT_EQ(registry->resolve(kAnn, "bot").has_value(), published) << "after " << writes;
    EXPECT_EQ(count_keys(*store, Family::kChunks), published ? 22U : 0U) << "after " << writes;
    EXPECT_EQ(count_keys(*store, Family::kMeta, keys::package_intents()), 0U);
  }
  EXPECT_EQ(registry->load(resolved(kAnn, "bot"))->tensors.size(), tensors.size());
}

TEST_F(RegistryVersions, LabelsAndMetadataAreKeptWithinTheirLimits) {
  VersionRequest request = version_request(kAnn, "bot");
  request.metadata = {{"run", "42"}};
  PublishRequest upload = Upload(1).request(kAnn, "bot");
  upload.version.metadata = request.metadata;
  ASSERT_TRUE(registry->publish(upload, Upload(1).facts()));
  ASSERT_TRUE(registry->set_labels(change_of(kAnn, "bot"), {{"team", "red"}, {"old", "x"}}));
  ASSERT_TRUE(registry->set_labels(change_of(kAnn, "bot"), {{"old", std::nullopt}}));
  reopen();
  const auto info = registry->get(kAnn, "bot").value();
  EXPECT_EQ(info->labels, (Labels{{"team", "red"}}));
  EXPECT_EQ(info->find(1)->metadata, request.metadata);
  EXPECT_EQ(registry->set_labels(change_of(kAnn, "bot"), {{"", "x"}}).error().code,
            Code::kInvalidValue);
  AdapterRegistry::LabelChanges many;
  for (std::size_t i = 0; i < kMaxLabels; ++i) many["label" + std::to_string(i)] = "x";
  EXPECT_EQ(registry->set_labels(change_of(kAnn, "bot"), many).error().code, Code::kInvalidValue);
  const Precondition stale{.etags = {"\"adp_x.1\""}};
  EXPECT_EQ(registry->set_labels(change_of(kAnn, "bot", stale), {{"a", "b"}}).error().code,
            Code::kPreconditionFailed);
}

TEST_F(RegistryVersions, ANameWithoutAVersionIsThereAndIsMadeOnce) {
  const auto made = registry->create(version_request(kAnn, "bot"), {{"team", "red"}});
  ASSERT_TRUE(made);
  const auto again = registry->create(version_request(kAnn, "bot"));
  EXPECT_EQ((*again)->id, (*made)->id);
  reopen();
  EXPECT_EQ(registry->get(kAnn, "bot").value()->labels, (Labels{{"team", "red"}}));
  EXPECT_EQ(registry->resolve(kAnn, "bot").error().code, Code::kModelNotFound);
  EXPECT_EQ(registry->create(version_request(kAnn, "tiny")).error().code, Code::kNameExists);
  AdapterQuota one = kPlenty;
  one.max_adapters = 1;
  EXPECT_EQ(registry->create(version_request(kAnn, "other", one)).error().code,
            Code::kStorageQuotaExceeded);
}

}  // namespace
}  // namespace tessera
