// adapter_shelf.hpp — random adapters for a model, and a HostCache that loads them from here.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "adapters/host_cache.hpp"
#include "adapters/packed_adapter.hpp"
#include "kernels/model_spec.hpp"
#include "storage/clock.hpp"
#include "storage/digest.hpp"
#include "tests/engine/tiny_model.hpp"

namespace tessera {

// Adapter number n is the same on every shelf; from kFirstActivated on they apply from the last
// invocation() in the prompt. Thread-safe.
class AdapterShelf {
 public:
  AdapterShelf(const ModelSpec& spec, PageType type, HostCache::Config config = {})
      : spec_(spec),
        type_(type),
        cache_([this](const AdapterDigest& digest) { return load(digest); }, config, clock_) {}

  // Opens the gate, so that the cache's loader can end.
  ~AdapterShelf() { open_gate(); }

  static constexpr int kFirstActivated = 200;
  static std::vector<TokenId> invocation() { return {7, 7, 3}; }

  static AdapterDigest digest(int number) {
    AdapterDigest digest;
    digest.bytes[0] = static_cast<std::uint8_t>(number);
    return digest;
  }

  HostCache& cache() { return cache_; }

  // Loading this one fails.
  void break_adapter(int number) { broken_.insert(number); }

  // Loads wait while the gate is closed.
  void close_gate() { set_gate(false); }
  void open_gate() { set_gate(true); }

  // Loads the adapter if need be, for `tenant`, and returns when it is there or has failed.
  void wait_for(int number, std::string_view tenant = {}) {
    std::mutex mutex;
    std::condition_variable loaded;
    cache_.set_wake([&] {
      std::lock_guard lock(mutex);
      loaded.notify_all();
    });
    {
      std::unique_lock lock(mutex);
      loaded.wait(lock, [&] {
        return cache_.get(digest(number), tenant).state != HostCache::State::kLoading;
      });
    }
    cache_.set_wake([] {});
  }

 private:
  Result<HostCache::Pin> load(const AdapterDigest& digest) {
    {
      std::unique_lock lock(gate_mutex_);
      gate_changed_.wait(lock, [this] { return gate_is_open_; });
    }
    const int number = digest.bytes[0];
    if (broken_.contains(number)) {
      return Error{Code::kCorrupt, "The adapter's stored bytes are damaged."};
    }
    Adapter adapter = random_adapter(spec_, static_cast<std::uint64_t>(number));
    if (number >= kFirstActivated) adapter.invocation = invocation();
    return HostCache::Pin(pack_adapter(adapter, type_));
  }

  void set_gate(bool is_open) {
    {
      std::lock_guard lock(gate_mutex_);
      gate_is_open_ = is_open;
    }
    gate_changed_.notify_all();
  }

  const ModelSpec spec_;
  const PageType type_;
  std::set<int> broken_;
  std::mutex gate_mutex_;
  std::condition_variable gate_changed_;
  bool gate_is_open_ = true;  // guarded by gate_mutex_
  ManualClock clock_;
  HostCache cache_;  // last: its loaders use the rest
};

}  // namespace tessera
