// adapter_trials.hpp — when what was made of an adapter's bytes may go.
//
// Packed pages, host and device copies are kept by digest. They go with the last version of their
// digest, and with an upload that is tried out and refused; but not under another upload that is
// trying out the same bytes at that moment: that one has no version yet, and needs the pages.
#pragma once

#include <functional>
#include <map>

#include "adapters/registry.hpp"
#include "storage/mutex.hpp"

namespace tessera {

// Thread-safe. `registry` outlives it. `drop` runs on the thread that calls, one at a time, and no
// trial begins meanwhile; it must not call back.
class AdapterTrials {
 public:
  using Drop = std::function<void(const AdapterDigest&)>;
  AdapterTrials(const AdapterRegistry& registry, Drop drop)
      : registry_(registry), drop_(std::move(drop)) {}

  // Between the two, nobody drops the digest. A digest that has no version at the end of its last
  // trial is dropped.
  void begin(const AdapterDigest& digest) TESSERA_EXCLUDES(mutex_);
  void end(const AdapterDigest& digest) TESSERA_EXCLUDES(mutex_);

  // Drops a digest whose last version is gone, unless it is tried out, or has a version again.
  void gone(const AdapterDigest& digest) TESSERA_EXCLUDES(mutex_);

 private:
  void drop_unless_needed(const AdapterDigest& digest) TESSERA_REQUIRES(mutex_);

  const AdapterRegistry& registry_;
  const Drop drop_;
  Mutex mutex_;
  std::map<AdapterDigest, int> running_ TESSERA_GUARDED_BY(mutex_);  // no entry: none
};

}  // namespace tessera
