// registry_fixture.hpp — a registry over a store on disk, and uploads to publish there.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "adapters/registry.hpp"
#include "tests/adapters/memory_file.hpp"
#include "tests/adapters/test_package.hpp"
#include "tests/support/temp_dir.hpp"

namespace tessera {

inline const TenantId kAnn{"proj_ann"};
inline const TenantId kBob{"proj_bob"};
inline constexpr WallTime kNow{std::chrono::microseconds(1'700'000'000'000'000)};
inline constexpr AdapterQuota kPlenty{.max_adapters = 100'000, .max_bytes = std::uint64_t{1} << 40};

inline std::size_t count_keys(const Store& store, Family family, std::string_view prefix = {}) {
  std::size_t count = 0;
  const auto visit = [&](std::string_view, std::string_view) {
    ++count;
    return true;
  };
  EXPECT_TRUE(store.scan(family, prefix, {}, visit));
  return count;
}

inline VersionRequest version_request(const TenantId& tenant, std::string name,
                                      AdapterQuota quota = kPlenty) {
  return {.tenant = tenant,
          .name = std::move(name),
          .created_by = KeyId{"key"},
          .now = kNow,
          .quota = quota};
}

inline ChangeRequest change_of(const TenantId& tenant, std::string name,
                               Precondition precondition = {}) {
  return {.tenant = tenant,
          .name = std::move(name),
          .actor = KeyId{"key"},
          .now = kNow,
          .precondition = std::move(precondition)};
}

// A package whose values, and so whose digest, depend on the seed.
struct Upload {
  explicit Upload(unsigned seed, std::string_view note = {}) : package(seed) {
    if (!note.empty()) package.config["peft_version"] = note;
    config = package.config_text();
    tensors = package.tensor_bytes();
  }

  PublishRequest request(const TenantId& tenant, std::string name,
                         AdapterQuota quota = kPlenty) const {
    return {.version = version_request(tenant, std::move(name), quota),
            .config = memory_file(config),
            .tensors = memory_file({reinterpret_cast<const char*>(tensors.data()), tensors.size()}),
            .report = "{}"};
  }
  AdapterFacts facts(const BaseModel& base = test_base()) const {
    const auto validation = validate_adapter(config, tensors, base);
    return facts_of(*validation.adapter, base.digest, validation.report.coverage.tensors_bound, 1);
  }
  Result<Published> publish(AdapterRegistry& registry, const TenantId& tenant, std::string name,
                            AdapterQuota quota = kPlenty) const {
    return registry.publish(request(tenant, std::move(name), quota), facts(registry.base()));
  }
  std::uint64_t bytes() const { return config.size() + tensors.size(); }

  TestPackage package;
  std::string config;
  std::vector<std::byte> tensors;
};

// What an adapter that nobody validated would be: for tests of many.
inline AdapterFacts made_up_facts(std::uint32_t number) {
  AdapterFacts facts{.rank_max = 4, .num_tensors = 8, .target_modules = {"q_proj", "v_proj"}};
  for (int i = 0; i < 4; ++i) {
    facts.digest.bytes[static_cast<std::size_t>(i)] = static_cast<std::uint8_t>(number >> (8 * i));
  }
  return facts;
}

// A store that can fail.
class FaultyStore final : public Store {
 public:
  explicit FaultyStore(Store& inner) : inner_(inner) {}

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
    if (writes_left == 0) return Error{Code::kIo, "the process was killed"};
    if (writes_left > 0) --writes_left;
    largest_batch_bytes = std::max(largest_batch_bytes, bytes_of(batch));
    return inner_.write(batch, durability);
  }
  Result<void> sync() override { return inner_.sync(); }

  bool is_full = false;
  int writes_left = -1;  // until all fail; below 0: for ever
  std::size_t largest_batch_bytes = 0;

 private:
  static std::size_t bytes_of(const Batch& batch) {
    std::size_t bytes = 0;
    for (const auto& put : batch.puts) bytes += put.value.size();
    return bytes;
  }

  Store& inner_;
};

class RegistryTest : public testing::Test {
 protected:
  RegistryTest() { reopen(); }

  // What a restart does.
  void reopen(const BaseModel& base = test_base()) {
    close();
    auto opened = open_rocks_store(directory.path());
    ASSERT_TRUE(opened) << opened.error().message;
    store = std::move(*opened);
    auto read = AdapterRegistry::open(*store, base, journal, kNow);
    ASSERT_TRUE(read) << read.error().message;
    registry = std::move(*read);
  }
  void close() {
    registry.reset();
    store.reset();
  }

  AdapterDigest resolved(const TenantId& tenant, std::string_view model) {
    const auto found = registry->resolve(tenant, model);
    EXPECT_TRUE(found) << model;
    return found ? found->digest : AdapterDigest{};
  }

  TempDir directory;
  RegistryJournal* journal = nullptr;
  std::unique_ptr<Store> store;
  std::unique_ptr<AdapterRegistry> registry;
};

}  // namespace tessera
