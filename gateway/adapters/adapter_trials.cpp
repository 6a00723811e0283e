#include "gateway/adapters/adapter_trials.hpp"

namespace tessera {

void AdapterTrials::begin(const AdapterDigest& digest) {
  MutexLock lock(mutex_);
  ++running_[digest];
}

void AdapterTrials::end(const AdapterDigest& digest) {
  MutexLock lock(mutex_);
  if (--running_.at(digest) > 0) return;
  running_.erase(digest);
  drop_unless_needed(digest);
}

void AdapterTrials::gone(const AdapterDigest& digest) {
  MutexLock lock(mutex_);
  drop_unless_needed(digest);
}

void AdapterTrials::drop_unless_needed(const AdapterDigest& digest) {
  if (!running_.contains(digest) && !registry_.has(digest)) drop_(digest);
}

}  // namespace tessera
