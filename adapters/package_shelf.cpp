#include "adapters/package_shelf.hpp"

#include <algorithm>
#include <cassert>
#include <cstring>
#include <utility>

#include "storage/keys.hpp"
#include "storage/log.hpp"

namespace tessera {
namespace {

std::string intent_value(const PackageRef& package) {
  return keys::big_endian(package.config_bytes) + keys::big_endian(package.tensors_bytes);
}

// Of a record and its key without the prefix; false if they are none.
bool parse_intent(std::string_view key, std::string_view value, PackageRef& package) {
  if (key.size() != package.content.bytes.size() || value.size() != 16) return false;
  std::memcpy(package.content.bytes.data(), key.data(), key.size());
  const auto number = [&](std::size_t at) {
    return std::uint64_t{keys::number_at_end(value.substr(0, at + 4))} << 32 |
           keys::number_at_end(value.substr(0, at + 8));
  };
  package.config_bytes = number(0);
  package.tensors_bytes = number(8);
  return true;
}

void put_intent(Batch& batch, const PackageRef& package) {
  batch.put(Family::kMeta, keys::package_intent(package.content), intent_value(package));
}

Result<void> erase_all(Store& store, const PackageRef& package) {
  if (auto erased = erase_package(store, package); !erased) return erased;
  return store.write(Batch().erase(Family::kMeta, keys::package_intent(package.content)),
                     Durability::kBuffered);
}

Result<void> write_package(Store& store, const PackageRef& package, const StagedFile& config,
                           const StagedFile& tensors) {
  const auto config_bytes = config.map();
  if (!config_bytes) return config_bytes.error();
  const auto tensor_bytes = tensors.map();
  if (!tensor_bytes) return tensor_bytes.error();
  Batch intent;
  put_intent(intent, package);
  auto written = store.write(intent, Durability::kBuffered);
  if (!written) return written;
  return put_package(store, package, *config_bytes, *tensor_bytes);
}

// Before one more is put: a table that is filled at a start is spread anew seldom.
void make_room(auto& table) {
  constexpr std::size_t kTimes = 8;
  const auto room = static_cast<float>(table.bucket_count()) * table.max_load_factor();
  if (static_cast<float>(table.size() + 1) > room) table.reserve(kTimes * (table.size() + 1));
}

}  // namespace

struct PackageShelf::State : std::enable_shared_from_this<State> {
  struct Entry {
    bool is_busy = false;      // being written, or waiting to be erased
    bool is_in_doubt = false;  // not to be erased before the next open
    int num_versions = 0;
    PackagePin kept = {};  // while there are versions
    std::weak_ptr<const StoredPackage> alive = {};
    std::vector<AdapterDigest> digests = {};  // that versions had it under
  };
  using Entries = std::unordered_map<ContentDigest, Entry, DigestHash>;

  explicit State(Store& the_store) : store(the_store) {}

  PackagePin make_pin(const PackageRef& package) {
    const auto let_go = [state = weak_from_this()](const StoredPackage* gone) {
      const PackageRef ref = gone->ref();
      delete gone;
      if (const auto shelf = state.lock()) shelf->let_go(ref);
    };
    return {new StoredPackage(store, package), let_go};
  }

  void let_go(const PackageRef& package) TESSERA_EXCLUDES(mutex) {
    MutexLock lock(mutex);
    Entry& entry = entries.at(package.content);
    assert(entry.num_versions == 0 && !entry.is_busy);
    entry.is_busy = true;
    to_erase.push_back(package);
    changed.notify_all();
  }

  // Forgets the package; returns the digests that nobody has now.
  std::vector<AdapterDigest> remove(const ContentDigest& content) TESSERA_EXCLUDES(mutex) {
    MutexLock lock(mutex);
    std::vector<AdapterDigest> gone;
    for (const AdapterDigest& digest : entries.at(content).digests) {
      auto [at, end] = by_digest.equal_range(digest);
      while (at->second != content) ++at;
      by_digest.erase(at);
      if (!by_digest.contains(digest)) gone.push_back(digest);
    }
    entries.erase(content);
    changed.notify_all();
    return gone;
  }

  void name(Entry& entry, const ContentDigest& content, const AdapterDigest& digest)
      TESSERA_REQUIRES(mutex) {
    if (std::ranges::find(entry.digests, digest) != entry.digests.end()) return;
    entry.digests.push_back(digest);
    make_room(by_digest);
    by_digest.emplace(digest, content);
  }

  // The package, once it is neither being written nor erased; null if it then is not there, and
  // the caller's to write.
  PackagePin find_or_claim(const ContentDigest& content) TESSERA_EXCLUDES(mutex) {
    MutexLock lock(mutex);
    for (;;) {
      const auto [entry, is_new] = entries.try_emplace(content);
      if (is_new) {
        entry->second.is_busy = true;
        return nullptr;
      }
      if (auto alive = entry->second.alive.lock()) return alive;
      changed.wait(mutex);  // for its writer, or for the thread that erases
    }
  }

  Store& store;
  mutable Mutex mutex;
  std::condition_variable_any changed;
  Entries entries TESSERA_GUARDED_BY(mutex);
  std::unordered_multimap<AdapterDigest, ContentDigest, DigestHash> by_digest
      TESSERA_GUARDED_BY(mutex);
  std::deque<PackageRef> to_erase TESSERA_GUARDED_BY(mutex);

  Mutex on_gone_mutex;  // held while it runs; never together with the other
  std::function<void(const AdapterDigest&)> on_gone TESSERA_GUARDED_BY(on_gone_mutex);
};

PackageShelf::PackageShelf(Store& store)
    : state_(std::make_shared<State>(store)),
      eraser_([&state = *state_](const std::stop_token& stop) { run_eraser(state, stop); }) {}

PackageShelf::~PackageShelf() {
  if (!state_) return;
  eraser_.request_stop();
  {
    MutexLock lock(state_->mutex);
    state_->changed.notify_all();
  }
  eraser_.join();
}

void PackageShelf::run_eraser(State& state, const std::stop_token& stop) {
  for (;;) {
    PackageRef package;
    bool is_in_doubt = false;
    {
      MutexLock lock(state.mutex);
      while (state.to_erase.empty() && !stop.stop_requested()) state.changed.wait(state.mutex);
      if (stop.stop_requested()) return;  // the next open goes on
      package = state.to_erase.front();
      state.to_erase.pop_front();
      is_in_doubt = state.entries.at(package.content).is_in_doubt;
    }
    const auto erased = is_in_doubt ? Result<void>() : erase_all(state.store, package);
    if (!erased) log_error("package_not_erased", {{"reason", erased.error().message}});
    const auto gone = state.remove(package.content);
    MutexLock lock(state.on_gone_mutex);
    if (!state.on_gone) continue;
    for (const AdapterDigest& digest : gone) state.on_gone(digest);
  }
}

void PackageShelf::restore(const PackageRef& package, const AdapterDigest& digest) {
  MutexLock lock(state_->mutex);
  make_room(state_->entries);
  State::Entry& entry = state_->entries[package.content];
  if (!entry.kept) {
    entry.kept = state_->make_pin(package);
    entry.alive = entry.kept;
  }
  ++entry.num_versions;
  state_->name(entry, package.content, digest);
}

Result<void> PackageShelf::sweep() {
  std::vector<PackageRef> left;
  const std::string prefix = keys::package_intents();
  auto scanned = state_->store.scan(Family::kMeta, prefix, {},
                                    [&](std::string_view key, std::string_view value) {
                                      PackageRef package;
                                      if (parse_intent(key.substr(prefix.size()), value, package)) {
                                        left.push_back(package);
                                      }
                                      return true;
                                    });
  if (!scanned) return scanned;
  for (const PackageRef& package : left) {
    if (find(package.content)) continue;  // never so, but better one record too many
    if (auto erased = erase_all(state_->store, package); !erased) return erased;
  }
  return {};
}

Result<PackagePin> PackageShelf::keep(const StagedFile& config, const StagedFile& tensors) {
  const PackageRef package = refer_to_package(config, tensors);
  if (auto found = state_->find_or_claim(package.content)) return found;

  auto written = write_package(state_->store, package, config, tensors);
  if (!written) {
    (void)erase_all(state_->store, package);  // on a full disk perhaps in vain: the intent stays
    state_->remove(package.content);
    return written.error();
  }
  MutexLock lock(state_->mutex);
  State::Entry& entry = state_->entries.at(package.content);
  PackagePin pin = state_->make_pin(package);
  entry.alive = pin;
  entry.is_busy = false;
  state_->changed.notify_all();
  return pin;
}

void PackageShelf::add_version(Batch& batch, const PackageRef& package) const {
  batch.erase(Family::kMeta, keys::package_intent(package.content));
}

void PackageShelf::drop_versions(Batch& batch, const PackageRef& package, int num) const {
  MutexLock lock(state_->mutex);
  const State::Entry& entry = state_->entries.at(package.content);
  assert(entry.num_versions >= num);
  if (entry.num_versions == num) put_intent(batch, package);
}

void PackageShelf::added(const PackagePin& package, const AdapterDigest& digest) {
  const ContentDigest& content = package->ref().content;
  MutexLock lock(state_->mutex);
  State::Entry& entry = state_->entries.at(content);
  ++entry.num_versions;
  entry.kept = package;
  state_->name(entry, content, digest);
}

void PackageShelf::dropped(const PackageRef& package, int num) {
  PackagePin last;  // let go of after the lock
  MutexLock lock(state_->mutex);
  State::Entry& entry = state_->entries.at(package.content);
  entry.num_versions -= num;
  if (entry.num_versions == 0) last = std::move(entry.kept);
}

void PackageShelf::in_doubt(const PackagePin& package) {
  MutexLock lock(state_->mutex);
  state_->entries.at(package->ref().content).is_in_doubt = true;
}

PackagePin PackageShelf::find(const ContentDigest& content) const {
  MutexLock lock(state_->mutex);
  const auto entry = state_->entries.find(content);
  return entry == state_->entries.end() ? nullptr : entry->second.alive.lock();
}

PackagePin PackageShelf::find(const AdapterDigest& digest) const {
  PackagePin found;  // outlives the lock, in case it turns out to be the last
  MutexLock lock(state_->mutex);
  const auto [first, end] = state_->by_digest.equal_range(digest);
  for (auto at = first; at != end; ++at) {
    found = state_->entries.at(at->second).alive.lock();
    if (found) return found;
  }
  return nullptr;
}

void PackageShelf::set_on_gone(std::function<void(const AdapterDigest&)> on_gone) {
  MutexLock lock(state_->on_gone_mutex);
  state_->on_gone = std::move(on_gone);
}

}  // namespace tessera
