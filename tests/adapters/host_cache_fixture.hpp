// host_cache_fixture.hpp — a cache of small adapters whose loads are counted and can fail.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <semaphore>
#include <set>
#include <string>
#include <string_view>

#include <gtest/gtest.h>

#include "adapters/host_cache.hpp"
#include "tests/adapters/test_package.hpp"

namespace tessera {

inline AdapterDigest digest_of(unsigned i) {
  AdapterDigest digest;
  digest.bytes[0] = static_cast<std::uint8_t>(i);
  digest.bytes[1] = static_cast<std::uint8_t>(i >> 8);
  return digest;
}

// Adapters of one size, made at once; digests that are told to fail fail.
class Loads {
 public:
  Result<HostCache::Pin> operator()(const AdapterDigest& digest) {
    std::lock_guard lock(mutex_);
    ++count_[digest];
    if (broken_.contains(digest)) return Error{Code::kCorrupt, "broken"};
    return pack_adapter(adapter_, PageType::kF32);
  }
  void set_broken(const AdapterDigest& digest, bool broken) {
    std::lock_guard lock(mutex_);
    if (broken) {
      broken_.insert(digest);
    } else {
      broken_.erase(digest);
    }
  }
  int count(const AdapterDigest& digest) {
    std::lock_guard lock(mutex_);
    return count_[digest];
  }
  std::size_t bytes_each() const { return pack_adapter(adapter_, PageType::kF32)->bytes(); }

 private:
  const Adapter adapter_ = *TestPackage().validate().adapter;
  std::mutex mutex_;
  std::map<AdapterDigest, int> count_;
  std::set<AdapterDigest> broken_;
};

// The clock stands still, and with it every rate.
inline constexpr LoadLimits kUnhurried{.max_loading_of_tenant = 8, .load_burst_of_tenant = 1 << 20};

class HostCacheTest : public testing::Test {
 protected:
  // A cache that holds `capacity` adapters.
  void open(std::size_t capacity, int num_loaders = 1) {
    cache =
        std::make_unique<HostCache>([this](const AdapterDigest& digest) { return loads(digest); },
                                    HostCache::Config{.max_bytes = capacity * loads.bytes_each(),
                                                      .num_loaders = num_loaders,
                                                      .failure_memory = std::chrono::seconds(2),
                                                      .loads = kUnhurried,
                                                      .allowance = allowance_of()},
                                    clock);
    cache->set_wake([this] { woken.release(); });
  }

  // Others have none.
  void set_allowance(const std::string& tenant, const HostCache::Allowance& allowance) {
    std::lock_guard lock(allowances_mutex_);
    allowances_[tenant] = allowance;
  }
  std::function<HostCache::Allowance(std::string_view)> allowance_of() {
    return [this](std::string_view tenant) {
      std::lock_guard lock(allowances_mutex_);
      const auto found = allowances_.find(std::string(tenant));
      return found == allowances_.end() ? HostCache::Allowance{} : found->second;
    };
  }

  // Asks until the answer is not "loading", waiting for the cache's wake-up in between.
  HostCache::Lookup wait_for(unsigned i, std::string_view tenant = {}) {
    for (;;) {
      auto found = cache->get(digest_of(i), tenant);
      if (found.state != HostCache::State::kLoading) return found;
      woken.acquire();
    }
  }

  bool is_resident(unsigned i) {
    const int before = loads.count(digest_of(i));
    wait_for(i);
    return loads.count(digest_of(i)) == before;
  }

  Loads loads;
  ManualClock clock;
  std::counting_semaphore<> woken{0};

 private:
  std::mutex allowances_mutex_;
  std::map<std::string, HostCache::Allowance> allowances_;

 protected:
  std::unique_ptr<HostCache> cache;  // last: its loaders use the rest
};

}  // namespace tessera
