#include "adapters/registry.hpp"

#include <cstring>
#include <thread>

#include <gtest/gtest.h>

#include "adapters/adapter_loader.hpp"
#include "storage/keys.hpp"
#include "tests/adapters/test_package.hpp"
#include "tests/support/temp_dir.hpp"

namespace tessera {
namespace {

const TenantId kAnn{"proj_ann"};
const TenantId kBob{"proj_bob"};
constexpr WallTime kNow{std::chrono::microseconds(1'700'000'000'000'000)};
constexpr AdapterQuota kPlenty{.max_adapters = 100, .max_bytes = std::uint64_t{1} << 40};

std::size_t count_keys(const Store& store, Family family) {
  std::size_t count = 0;
  const auto visit = [&](std::string_view, std::string_view) {
    ++count;
    return true;
  };
  EXPECT_TRUE(store.scan(family, {}, {}, visit));
  return count;
}

// A package whose values, and so whose digest, depend on the seed.
struct Upload {
  explicit Upload(unsigned seed, std::string_view note = {}) : package(seed) {
    if (!note.empty()) package.config["peft_version"] = note;
    config = package.config_text();
    tensors = package.tensor_bytes();
  }

  Result<Published> publish(AdapterRegistry& registry, const TenantId& tenant, std::string name,
                            AdapterQuota quota = kPlenty) const {
    const auto validation = validate_adapter(config, tensors, registry.base());
    return registry.publish({.tenant = tenant,
                             .name = std::move(name),
                             .config = config,
                             .tensors = tensors,
                             .created_by = KeyId{"key"},
                             .now = kNow,
                             .quota = quota},
                            *validation.adapter);
  }
  std::uint64_t bytes() const { return config.size() + tensors.size(); }

  TestPackage package;
  std::string config;
  std::vector<std::byte> tensors;
};

// A store whose disk can be full.
class FullStore final : public Store {
 public:
  explicit FullStore(Store& inner) : inner_(inner) {}

  Result<std::optional<std::string>> get(Family family, std::string_view key) const override {
    return inner_.get(family, key);
  }
  Result<void> scan(
      Family family, std::string_view prefix, std::string_view start,
      const std::function<bool(std::string_view, std::string_view)>& visit) const override {
    return inner_.scan(family, prefix, start, visit);
  }
  Result<void> write(const Batch& batch, Durability durability) override {
    if (is_full) return Error{Code::kStorageFull, "the disk is full"};
    return inner_.write(batch, durability);
  }
  Result<void> sync() override { return inner_.sync(); }

  bool is_full = false;

 private:
  Store& inner_;
};

class Registry : public testing::Test {
 protected:
  Registry() { reopen(); }

  // What a restart does.
  void reopen(const BaseModel& base = test_base()) {
    registry.reset();
    store.reset();
    auto opened = open_rocks_store(directory.path());
    ASSERT_TRUE(opened) << opened.error().message;
    store = std::move(*opened);
    auto read = AdapterRegistry::open(*store, base);
    ASSERT_TRUE(read) << read.error().message;
    registry = std::move(*read);
  }

  AdapterDigest resolved(const TenantId& tenant, std::string_view model) {
    const auto found = registry->resolve(tenant, model);
    EXPECT_TRUE(found) << model;
    return found ? found->digest : AdapterDigest{};
  }

  TempDir directory;
  std::unique_ptr<Store> store;
  std::unique_ptr<AdapterRegistry> registry;
};

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
  EXPECT_FALSE(registry->remove(kBob, "bot"));
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

TEST_F(Registry, AFileLargerThanAChunkIsCutAndPutTogether) {
  std::vector<std::byte> tensors((std::size_t{5} << 20) / 2);
  for (std::size_t i = 0; i < tensors.size(); ++i) tensors[i] = static_cast<std::byte>(i * 7);
  const PackageRef package = refer_to_package("{}", tensors);
  Batch batch;
  put_package(batch, package, "{}", tensors);
  EXPECT_EQ(batch.puts.size(), 4U);
  ASSERT_TRUE(store->write(batch));
  const auto files = read_package(*store, package);
  ASSERT_TRUE(files);
  EXPECT_EQ(files->tensors, tensors);
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

TEST_F(Registry, ALoadedAdapterIsThePackedOne) {
  const Upload upload(3);
  const auto published = upload.publish(*registry, kAnn, "bot");
  const auto packed = load_packed_adapter(*registry, published->version.digest, PageType::kBf16);
  ASSERT_TRUE(packed) << packed.error().message;
  const auto expected = pack_adapter(*upload.package.validate().adapter, PageType::kBf16);
  ASSERT_EQ((*packed)->bytes(), expected->bytes());
  const auto& q = expected->view().layers[0][0];
  EXPECT_EQ(std::memcmp((*packed)->view().layers[0][0].a, q.a, expected->bytes()), 0);
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
  EXPECT_EQ(after->aliases, before->aliases);
  ASSERT_EQ(after->versions.size(), 2U);
  for (const auto& [number, version] : before->versions) {
    EXPECT_EQ(version_record(after->versions.at(number)), version_record(version));
    EXPECT_EQ(after->versions.at(number).version, number);
    EXPECT_EQ(after->versions.at(number).adapter, "bot");
  }
  EXPECT_EQ(resolved(kAnn, "bot"), second->version.digest);
  EXPECT_EQ(registry->list(kBob).size(), 1U);
  EXPECT_EQ(registry->usage(kAnn).bytes, Upload(1).bytes() + Upload(2).bytes());
}

TEST_F(Registry, ARefusedWriteLeavesNothing) {
  FullStore full(*store);
  auto opened = AdapterRegistry::open(full, test_base());
  ASSERT_TRUE(opened);
  AdapterRegistry& on_full = **opened;
  const auto first = Upload(1).publish(on_full, kAnn, "bot");
  ASSERT_TRUE(first);
  full.is_full = true;
  EXPECT_EQ(Upload(2).publish(on_full, kAnn, "bot").error().code, Code::kStorageFull);
  EXPECT_EQ(on_full.remove(kAnn, "bot").error().code, Code::kStorageFull);
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

  ASSERT_TRUE(registry->remove(kAnn, "bot"));
  reopen();
  ASSERT_TRUE(registry->remove(kAnn, "twin"));
  EXPECT_TRUE(registry->load(others->version.digest));
  EXPECT_TRUE(registry->has(others->version.digest));
  ASSERT_TRUE(registry->remove(kBob, "bot"));
  EXPECT_FALSE(registry->has(others->version.digest));
  EXPECT_EQ(count_keys(*store, Family::kChunks), 0U);
  EXPECT_EQ(registry->load(others->version.digest).error().code, Code::kNotFound);
}

// Two tenants' files that mean the same adapter but carry different words beside it.
TEST_F(Registry, ATenantNeverGetsAnothersFilesBack) {
  const Upload anns(1, "ann's secret path");
  const Upload bobs(1, "bob's");
  ASSERT_EQ(anns.publish(*registry, kAnn, "bot")->version.digest,
            bobs.publish(*registry, kBob, "bot")->version.digest);
  EXPECT_NE(registry->get(kAnn, "bot").value()->versions.at(1).package.content,
            registry->get(kBob, "bot").value()->versions.at(1).package.content);
  ASSERT_TRUE(registry->remove(kAnn, "bot"));
  const auto files = registry->load(resolved(kBob, "bot"));
  ASSERT_TRUE(files);
  EXPECT_EQ(files->config, bobs.config);
}

TEST_F(Registry, RemovingANameRemovesAllOfItButItsCount) {
  ASSERT_TRUE(Upload(1).publish(*registry, kAnn, "bot"));
  ASSERT_TRUE(Upload(2).publish(*registry, kAnn, "bot"));
  const std::size_t of_others = count_keys(*store, Family::kMeta) - 4;  // adapter, alias, versions
  ASSERT_TRUE(registry->remove(kAnn, "bot"));
  EXPECT_FALSE(registry->resolve(kAnn, "bot"));
  EXPECT_EQ(registry->remove(kAnn, "bot").error().code, Code::kModelNotFound);
  EXPECT_EQ(count_keys(*store, Family::kMeta), of_others + 1);
  EXPECT_EQ(count_keys(*store, Family::kChunks), 0U);
  reopen();
  EXPECT_TRUE(registry->list(kAnn).empty());
}

TEST_F(Registry, AVersionsNameNeverBecomesAnothers) {
  const auto first = Upload(1).publish(*registry, kAnn, "bot");
  ASSERT_TRUE(registry->remove(kAnn, "bot"));
  reopen();
  EXPECT_EQ(Upload(2).publish(*registry, kAnn, "bot")->version.version, 2);
  EXPECT_FALSE(registry->resolve(kAnn, "bot@1")) << "it was " << to_hex(first->version.digest);
  EXPECT_EQ(Upload(3).publish(*registry, kBob, "bot")->version.version, 1) << "counted by tenant";
}

TEST_F(Registry, AVersionIsRemovedUnlessAnAliasPointsAtIt) {
  ASSERT_TRUE(Upload(1).publish(*registry, kAnn, "bot"));
  ASSERT_TRUE(Upload(2).publish(*registry, kAnn, "bot"));
  EXPECT_EQ(registry->remove_version(kAnn, "bot", 2).error().code, Code::kConflict);
  ASSERT_TRUE(registry->remove_version(kAnn, "bot", 1));
  EXPECT_FALSE(registry->resolve(kAnn, "bot@1"));
  EXPECT_EQ(registry->remove_version(kAnn, "bot", 1).error().code, Code::kModelNotFound);
  reopen();
  EXPECT_TRUE(registry->resolve(kAnn, "bot@2"));
  EXPECT_EQ(Upload(1).publish(*registry, kAnn, "bot")->version.version, 3) << "never reused";
}

TEST_F(Registry, AForcedRemovalTakesTheAliasAlongAndLeavesTheOtherVersions) {
  ASSERT_TRUE(Upload(1).publish(*registry, kAnn, "bot"));
  ASSERT_TRUE(Upload(2).publish(*registry, kAnn, "bot"));
  ASSERT_TRUE(registry->remove_version(kAnn, "bot", 2, Removal::kForced));
  reopen();
  EXPECT_FALSE(registry->resolve(kAnn, "bot@2"));
  EXPECT_FALSE(registry->resolve(kAnn, "bot")) << "no version takes its place unasked";
  EXPECT_TRUE(registry->resolve(kAnn, "bot@1"));
}

TEST_F(Registry, PublishingAKnownVersionGivesTheNameItsLostAliasBack) {
  ASSERT_TRUE(Upload(1).publish(*registry, kAnn, "bot"));
  ASSERT_TRUE(Upload(2).publish(*registry, kAnn, "bot"));
  ASSERT_TRUE(registry->remove_version(kAnn, "bot", 2, Removal::kForced));
  const auto again = Upload(1).publish(*registry, kAnn, "bot");
  ASSERT_TRUE(again);
  EXPECT_FALSE(again->created);
  EXPECT_EQ(again->version.version, 1);
  reopen();
  EXPECT_EQ(resolved(kAnn, "bot"), again->version.digest);
}

TEST_F(Registry, AnAdapterOutlivesItsLastVersion) {
  ASSERT_TRUE(Upload(1).publish(*registry, kAnn, "bot"));
  ASSERT_TRUE(registry->remove_version(kAnn, "bot", 1, Removal::kForced));
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

}  // namespace
}  // namespace tessera
