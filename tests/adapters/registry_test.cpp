#include "adapters/registry.hpp"

#include <future>
#include <thread>

#include <gtest/gtest.h>

#include "storage/keys.hpp"
#include "tests/adapters/registry_fixture.hpp"

namespace tessera {
namespace {

using Registry = RegistryTest;

TEST_F(Registry, APublishedVersionIsResolvedByNameNumberAndAlias) {
  const auto published = Upload(1).publish(*registry, kAnn, "bot");
  ASSERT_TRUE(published) << published.error().message;
  EXPECT_TRUE(published->created);
  EXPECT_EQ(published->version.version, 1);
  EXPECT_EQ(published->version.num_tensors, 8);
  EXPECT_EQ(published->version.target_modules, (std::vector<std::string>{"q_proj", "v_proj"}));
  for (const char* model : {"bot", "bot@1", "bot:prod"}) {
    const auto found = registry->resolve(kAnn, model);
    ASSERT_TRUE(found) << model;
    EXPECT_EQ(found->digest, published->version.digest);
    EXPECT_EQ(found->display_name, "bot@1");
  }
}

TEST_F(Registry, ANewVersionTakesTheAliasAndTheOldOneStays) {
  const auto first = Upload(1).publish(*registry, kAnn, "bot");
  const auto second = Upload(2).publish(*registry, kAnn, "bot");
  ASSERT_TRUE(first && second);
  EXPECT_EQ(second->version.version, 2);
  EXPECT_EQ(resolved(kAnn, "bot"), second->version.digest);
  EXPECT_EQ(resolved(kAnn, "bot@1"), first->version.digest);
}

TEST_F(Registry, EqualContentIsOneVersionOfAName) {
  const auto first = Upload(1).publish(*registry, kAnn, "bot");
  const auto again = Upload(1).publish(*registry, kAnn, "bot");
  ASSERT_TRUE(first && again);
  EXPECT_FALSE(again->created);
  EXPECT_EQ(again->version.id, first->version.id);
  EXPECT_EQ(registry->list(kAnn).front()->versions.size(), 1U);
}

TEST_F(Registry, ADifferentlyWrittenFileOfTheSameAdapterIsTheSameVersion) {
  ASSERT_TRUE(Upload(1).publish(*registry, kAnn, "bot"));
  const auto again = Upload(1, "another writer").publish(*registry, kAnn, "bot");
  ASSERT_TRUE(again);
  EXPECT_FALSE(again->created);
}

TEST_F(Registry, UnknownNamesAndOtherTenantsAreAnsweredWithTheSameText) {
  ASSERT_TRUE(Upload(1).publish(*registry, kAnn, "bot"));
  for (const char* model : {"bot", "bot@1", "bot:prod"}) {
    const auto others = registry->resolve(kBob, model);
    ASSERT_FALSE(others);
    EXPECT_EQ(others.error().code, Code::kModelNotFound);
    EXPECT_EQ(others.error().message, "The model `" + std::string(model) +
                                          "` does not exist or you do not have access to it.");
  }
  const auto unknown = registry->resolve(kAnn, "bat");
  ASSERT_FALSE(unknown);
  EXPECT_EQ(unknown.error().message,
            "The model `bat` does not exist or you do not have access to it.");
  EXPECT_EQ(registry->get(kBob, "bot").error().message, registry->get(kBob, "bot").error().message);
  EXPECT_FALSE(registry->remove(change_of(kBob, "bot")));
  EXPECT_TRUE(registry->list(kBob).empty());
  EXPECT_TRUE(registry->resolve(kAnn, "bot"));
}

TEST_F(Registry, ModelTextsThatMeanNothingAreNotFound) {
  ASSERT_TRUE(Upload(1).publish(*registry, kAnn, "bot"));
  for (const char* model : {"", "bot@", "bot@0", "bot@01", "bot@1x", "bot@-1", "bot@2",
                            "bot:", "bot:canary", "bot@1:prod", "@1", ":prod", "bot@99999999999"}) {
    const auto found = registry->resolve(kAnn, model);
    ASSERT_FALSE(found) << model;
    EXPECT_EQ(found.error().code, Code::kModelNotFound) << model;
  }
}

TEST_F(Registry, NamesAreOfAFixedAlphabet) {
  for (const char* name : {"a", "0", "support-bot", "a.b_c-d"}) {
    EXPECT_TRUE(is_valid_adapter_name(name)) << name;
  }
  for (const char* name : {"", "-a", ".a", "A", "a b", "a/b", "../a", "a@1", "a:b", "\xc3\xa4"}) {
    EXPECT_FALSE(is_valid_adapter_name(name)) << name;
    const auto published = Upload(1).publish(*registry, kAnn, name);
    ASSERT_FALSE(published);
    EXPECT_EQ(published.error().code, Code::kInvalidValue);
  }
  EXPECT_TRUE(is_valid_adapter_name(std::string(63, 'a')));
  EXPECT_FALSE(is_valid_adapter_name(std::string(64, 'a')));
  EXPECT_EQ(Upload(1).publish(*registry, kAnn, "tiny").error().code, Code::kNameExists);
}

TEST_F(Registry, TheFilesComeBackAsTheyWent) {
  const Upload upload(1);
  const auto published = upload.publish(*registry, kAnn, "bot");
  const auto files = registry->load(published->version.digest);
  ASSERT_TRUE(files) << files.error().message;
  EXPECT_EQ(files->config, upload.config);
  EXPECT_EQ(files->tensors, upload.tensors);
  EXPECT_EQ(registry->load(AdapterDigest{}).error().code, Code::kNotFound);
}

TEST_F(Registry, DamagedBytesAreNoticed) {
  const auto published = Upload(1).publish(*registry, kAnn, "bot");
  const auto key = keys::chunk(published->version.package.content, 1, 0);
  std::string chunk = store->get(Family::kChunks, key)->value();
  chunk.back() ^= 1;
  ASSERT_TRUE(store->write(Batch().put(Family::kChunks, key, chunk)));
  EXPECT_EQ(registry->load(published->version.digest).error().code, Code::kCorrupt);
  ASSERT_TRUE(store->write(Batch().erase(Family::kChunks, key)));
  EXPECT_EQ(registry->load(published->version.digest).error().code, Code::kCorrupt);
}

// As an earlier build keyed them; such a store may be opened.
TEST_F(Registry, PackagesKeyedByTheirBytesAreRead) {
  const Upload upload(1);
  const std::uint64_t config_bytes = upload.config.size();
  Sha256 hash;
  hash.update(std::as_bytes(std::span(&config_bytes, 1)));
  hash.update(upload.config);
  hash.update(upload.tensors);
  PackageRef package{.content = {hash.finish()},
                     .config_bytes = config_bytes,
                     .tensors_bytes = upload.tensors.size()};
  const auto config = std::as_bytes(std::span(upload.config));
  ASSERT_TRUE(put_package(*store, package, config, upload.tensors));
  const auto files = read_package(*store, package);
  ASSERT_TRUE(files) << files.error().message;
  EXPECT_EQ(files->tensors, upload.tensors);

  package.content.bytes[0] ^= 1;
  ASSERT_TRUE(put_package(*store, package, config, upload.tensors));
  EXPECT_EQ(read_package(*store, package).error().code, Code::kCorrupt);
}

TEST_F(Registry, EverythingIsThereAfterAReopen) {
  ASSERT_TRUE(Upload(1).publish(*registry, kAnn, "bot"));
  const auto second = Upload(2).publish(*registry, kAnn, "bot");
  ASSERT_TRUE(Upload(3).publish(*registry, kBob, "bot"));
  const auto before = registry->get(kAnn, "bot").value();
  reopen();
  const auto after = registry->get(kAnn, "bot").value();
  EXPECT_EQ(after->id, before->id);
  EXPECT_EQ(after->created_at, before->created_at);
  EXPECT_EQ(after->next_version, 3);
  ASSERT_EQ(after->aliases.size(), 1U);
  EXPECT_EQ(etag_of(*after), etag_of(*before));
  EXPECT_EQ(alias_record(after->aliases.at("prod")), alias_record(before->aliases.at("prod")));
  ASSERT_EQ(after->versions.size(), 2U);
  for (const auto& [number, version] : before->versions) {
    EXPECT_EQ(version_record(*after->find(number)), version_record(*version));
    EXPECT_EQ(after->find(number)->version, number);
    EXPECT_EQ(after->find(number)->adapter, "bot");
  }
  EXPECT_EQ(resolved(kAnn, "bot"), second->version.digest);
  EXPECT_EQ(registry->list(kBob).size(), 1U);
  EXPECT_EQ(registry->usage(kAnn).bytes, Upload(1).bytes() + Upload(2).bytes());
}

// The records of a start come by kind, each kind in the order of the names.
TEST_F(Registry, NamesThatBeginAlikeAreReadApart) {
  const TenantId longer(kAnn.str() + "a");
  unsigned seed = 1;
  for (const TenantId& tenant : {longer, kAnn, kBob}) {
    ASSERT_TRUE(registry->create(version_request(tenant, "bare")));
    for (const char* name : {"bot-2", "bot", "bot.a", "b"}) {
      ASSERT_TRUE(Upload(seed++).publish(*registry, tenant, name));
    }
  }
  ASSERT_TRUE(Upload(seed).publish(*registry, kAnn, "bot"));
  reopen();
  seed = 1;
  for (const TenantId& tenant : {longer, kAnn, kBob}) {
    EXPECT_TRUE((*registry->get(tenant, "bare"))->versions.empty());
    for (const char* name : {"bot-2", "bot", "bot.a", "b"}) {
      const auto resolved = registry->resolve(tenant, std::string(name) + "@1");
      ASSERT_TRUE(resolved) << name;
      EXPECT_EQ(resolved->digest, Upload(seed++).facts().digest);
    }
  }
  EXPECT_EQ(registry->resolve(kAnn, "bot")->display_name, "bot@2");
  EXPECT_EQ(registry->list(longer).size(), 5U);
}

TEST_F(Registry, ARefusedWriteLeavesNothing) {
  FaultyStore full(*store);
  auto opened = AdapterRegistry::open(full, test_base());
  ASSERT_TRUE(opened);
  AdapterRegistry& on_full = **opened;
  const auto first = Upload(1).publish(on_full, kAnn, "bot");
  ASSERT_TRUE(first);
  full.is_full = true;
  EXPECT_EQ(Upload(2).publish(on_full, kAnn, "bot").error().code, Code::kStorageFull);
  EXPECT_EQ(on_full.remove(change_of(kAnn, "bot")).error().code, Code::kStorageFull);
  EXPECT_EQ(on_full.resolve(kAnn, "bot")->digest, first->version.digest);
  EXPECT_FALSE(on_full.resolve(kAnn, "bot@2"));
  full.is_full = false;
  EXPECT_EQ(Upload(2).publish(on_full, kAnn, "bot")->version.version, 2);
}

TEST_F(Registry, EqualBytesAreKeptOnceAndGoWithTheLastVersion) {
  ASSERT_TRUE(Upload(1).publish(*registry, kAnn, "bot"));
  const std::size_t chunks = count_keys(*store, Family::kChunks);
  const auto others = Upload(1).publish(*registry, kBob, "bot");
  ASSERT_TRUE(Upload(1).publish(*registry, kAnn, "twin"));
  EXPECT_EQ(count_keys(*store, Family::kChunks), chunks);
  EXPECT_EQ(registry->usage(kAnn).bytes, Upload(1).bytes());

  ASSERT_TRUE(registry->remove(change_of(kAnn, "bot")));
  reopen();
  ASSERT_TRUE(registry->remove(change_of(kAnn, "twin")));
  EXPECT_TRUE(registry->load(others->version.digest));
  EXPECT_TRUE(registry->has(others->version.digest));
  ASSERT_TRUE(registry->remove(change_of(kBob, "bot")));
  EXPECT_FALSE(registry->has(others->version.digest));
  EXPECT_EQ(registry->load(others->version.digest).error().code, Code::kNotFound);
  reopen();
  EXPECT_EQ(count_keys(*store, Family::kChunks), 0U);
}

// Two tenants' files that mean the same adapter but carry different words beside it.
TEST_F(Registry, ATenantNeverGetsAnothersFilesBack) {
  const Upload anns(1, "ann's secret path");
  const Upload bobs(1, "bob's");
  ASSERT_EQ(anns.publish(*registry, kAnn, "bot")->version.digest,
            bobs.publish(*registry, kBob, "bot")->version.digest);
  EXPECT_NE(registry->get(kAnn, "bot").value()->versions.at(1)->package.content,
            registry->get(kBob, "bot").value()->versions.at(1)->package.content);
  ASSERT_TRUE(registry->remove(change_of(kAnn, "bot")));
  const auto files = registry->load(resolved(kBob, "bot"));
  ASSERT_TRUE(files);
  EXPECT_EQ(files->config, bobs.config);
}

TEST_F(Registry, RemovingANameRemovesAllOfItButItsCount) {
  ASSERT_TRUE(Upload(1).publish(*registry, kAnn, "bot"));
  ASSERT_TRUE(Upload(2).publish(*registry, kAnn, "bot"));
  // Adapter, alias and its history, two versions and their reports.
  const std::size_t of_others = count_keys(*store, Family::kMeta) - 7;
  ASSERT_TRUE(registry->remove(change_of(kAnn, "bot")));
  EXPECT_FALSE(registry->resolve(kAnn, "bot"));
  EXPECT_EQ(registry->remove(change_of(kAnn, "bot")).error().code, Code::kModelNotFound);
  reopen();
  EXPECT_EQ(count_keys(*store, Family::kMeta), of_others + 1);
  EXPECT_EQ(count_keys(*store, Family::kChunks), 0U);
  EXPECT_TRUE(registry->list(kAnn).empty());
}

TEST_F(Registry, AVersionsNameNeverBecomesAnothers) {
  const auto first = Upload(1).publish(*registry, kAnn, "bot");
  ASSERT_TRUE(registry->remove(change_of(kAnn, "bot")));
  reopen();
  EXPECT_EQ(Upload(2).publish(*registry, kAnn, "bot")->version.version, 2);
  EXPECT_FALSE(registry->resolve(kAnn, "bot@1")) << "it was " << to_hex(first->version.digest);
  EXPECT_EQ(Upload(3).publish(*registry, kBob, "bot")->version.version, 1) << "counted by tenant";
}

TEST_F(Registry, AVersionIsRemovedUnlessAnAliasPointsAtIt) {
  ASSERT_TRUE(Upload(1).publish(*registry, kAnn, "bot"));
  ASSERT_TRUE(Upload(2).publish(*registry, kAnn, "bot"));
  EXPECT_EQ(registry->remove_version(change_of(kAnn, "bot"), 2).error().code, Code::kConflict);
  ASSERT_TRUE(registry->remove_version(change_of(kAnn, "bot"), 1));
  EXPECT_FALSE(registry->resolve(kAnn, "bot@1"));
  EXPECT_EQ(registry->remove_version(change_of(kAnn, "bot"), 1).error().code, Code::kModelNotFound);
  reopen();
  EXPECT_TRUE(registry->resolve(kAnn, "bot@2"));
  EXPECT_EQ(Upload(1).publish(*registry, kAnn, "bot")->version.version, 3) << "never reused";
}

TEST_F(Registry, AForcedRemovalTakesTheAliasAlongAndLeavesTheOtherVersions) {
  ASSERT_TRUE(Upload(1).publish(*registry, kAnn, "bot"));
  ASSERT_TRUE(Upload(2).publish(*registry, kAnn, "bot"));
  ASSERT_TRUE(registry->remove_version(change_of(kAnn, "bot"), 2, Removal::kForced));
  reopen();
  EXPECT_FALSE(registry->resolve(kAnn, "bot@2"));
  EXPECT_FALSE(registry->resolve(kAnn, "bot")) << "no version takes its place unasked";
  EXPECT_TRUE(registry->resolve(kAnn, "bot@1"));
}

TEST_F(Registry, PublishingAKnownVersionGivesTheNameItsLostAliasBack) {
  ASSERT_TRUE(Upload(1).publish(*registry, kAnn, "bot"));
  ASSERT_TRUE(Upload(2).publish(*registry, kAnn, "bot"));
  ASSERT_TRUE(registry->remove_version(change_of(kAnn, "bot"), 2, Removal::kForced));
  const auto again = Upload(1).publish(*registry, kAnn, "bot");
  ASSERT_TRUE(again);
  EXPECT_FALSE(again->created);
  EXPECT_EQ(again->version.version, 1);
  reopen();
  EXPECT_EQ(resolved(kAnn, "bot"), again->version.digest);
}

TEST_F(Registry, AnAdapterOutlivesItsLastVersion) {
  ASSERT_TRUE(Upload(1).publish(*registry, kAnn, "bot"));
  ASSERT_TRUE(registry->remove_version(change_of(kAnn, "bot"), 1, Removal::kForced));
  reopen();
  EXPECT_TRUE(registry->get(kAnn, "bot").value()->versions.empty());
  EXPECT_EQ(count_keys(*store, Family::kChunks), 0U);
  EXPECT_EQ(Upload(1).publish(*registry, kAnn, "bot")->version.version, 2);
  EXPECT_TRUE(registry->resolve(kAnn, "bot"));
}

TEST_F(Registry, QuotasOfNamesAndBytesAreKeptAndANewVersionIsNoNewName) {
  const AdapterQuota one{.max_adapters = 1, .max_bytes = kPlenty.max_bytes};
  ASSERT_TRUE(Upload(1).publish(*registry, kAnn, "bot", one));
  EXPECT_EQ(Upload(2).publish(*registry, kAnn, "other", one).error().code,
            Code::kStorageQuotaExceeded);
  EXPECT_TRUE(Upload(2).publish(*registry, kAnn, "bot", one));
  EXPECT_TRUE(Upload(2).publish(*registry, kBob, "bot", one)) << "quotas are per tenant";

  const AdapterQuota full{.max_adapters = 10, .max_bytes = Upload(1).bytes() + Upload(2).bytes()};
  EXPECT_EQ(Upload(3).publish(*registry, kAnn, "third", full).error().code,
            Code::kStorageQuotaExceeded);
  EXPECT_TRUE(Upload(1).publish(*registry, kAnn, "same-bytes", full));
}

TEST_F(Registry, AVersionOfAnotherBaseIsToldFromOneThatIsNotThere) {
  ASSERT_TRUE(Upload(1).publish(*registry, kAnn, "bot"));
  BaseModel other = test_base();
  other.digest.bytes[3] ^= 1;
  reopen(other);
  EXPECT_EQ(registry->resolve(kAnn, "bot").error().code, Code::kVersionNotReady);
  EXPECT_EQ(registry->resolve(kBob, "bot").error().code, Code::kModelNotFound);
}

TEST_F(Registry, AStoreWithADamagedRecordIsNotOpened) {
  ASSERT_TRUE(Upload(1).publish(*registry, kAnn, "bot"));
  ASSERT_TRUE(store->write(
      Batch().put(Family::kMeta, keys::version(kAnn.str(), "bot", 1), R"({"id":"adv_x"})")));
  EXPECT_EQ(AdapterRegistry::open(*store, test_base()).error().code, Code::kCorrupt);
}

TEST_F(Registry, RequestsResolveWhileVersionsArePublished) {
  ASSERT_TRUE(Upload(1).publish(*registry, kAnn, "bot"));
  std::jthread reader([this](const std::stop_token& stop) {
    while (!stop.stop_requested()) EXPECT_TRUE(registry->resolve(kAnn, "bot"));
  });
  for (unsigned seed = 2; seed < 12; ++seed) {
    ASSERT_TRUE(Upload(seed).publish(*registry, kAnn, "bot"));
  }
}

// Records as they were written before aliases could be split and versions could fail.
TEST_F(Registry, AStoreOfTheFirstFormIsRead) {
  ASSERT_TRUE(Upload(1).publish(*registry, kAnn, "bot"));
  const AdapterVersion& version = *registry->get(kAnn, "bot").value()->find(1);
  const std::string record = R"({"id":"adv_1","digest":")" + to_hex(version.digest) +
                             R"(","base":")" + to_hex(version.base) + R"(","content":")" +
                             to_hex(version.package.content) + R"(","config_sha256":")" +
                             to_hex(version.config_sha256) + R"(","config_bytes":)" +
                             std::to_string(version.package.config_bytes) + R"(,"tensors_bytes":)" +
                             std::to_string(version.package.tensors_bytes) +
                             R"(,"rank_max":4,"num_tensors":8,"target_modules":["q_proj"],)"
                             R"("created_at":1,"created_by":"k"})";
  ASSERT_TRUE(store->write(Batch()
                               .put(Family::kMeta, keys::version(kAnn.str(), "bot", 1), record)
                               .put(Family::kMeta, keys::alias(kAnn.str(), "bot", "prod"),
                                    keys::big_endian(std::uint32_t{1}))
                               .put(Family::kMeta, keys::adapter(kAnn.str(), "bot"),
                                    R"({"id":"adp_1","created_at":1,"next_version":2})")));
  reopen();
  EXPECT_EQ(resolved(kAnn, "bot"), Upload(1).facts().digest);
  EXPECT_TRUE(registry->load(resolved(kAnn, "bot")));
}

}  // namespace
}  // namespace tessera
