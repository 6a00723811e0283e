// package_shelf.hpp — the bytes of uploads, kept for as long as anybody needs them.
//
// A package is needed by the versions that have it, and by every request that was admitted with one
// of those and holds a pin. When nobody needs it any more its chunks are erased, on a thread of the
// shelf's own, because the last to let go may be one that must not wait for a disk.
//
// The store agrees with that across crashes by intents: a record that says "these chunks are
// nobody's". It is written before the first chunk of an upload and erased by the batch that makes
// the version visible; the batch that removes the last version writes it again. Invariant: chunks
// are there only if a version has them or such a record is. Whatever intents are found when the
// shelf is opened lead to their chunks being erased.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "adapters/package_chunks.hpp"
#include "storage/digest.hpp"
#include "storage/mutex.hpp"
#include "storage/result.hpp"
#include "storage/staged_file.hpp"
#include "storage/store.hpp"

namespace tessera {

// The bytes of one package. Immutable; any thread; not to be read once the store is closed.
class StoredPackage {
 public:
  StoredPackage(const Store& store, const PackageRef& ref) : store_(store), ref_(ref) {}

  const PackageRef& ref() const { return ref_; }
  // Errors: those of read_package().
  Result<std::string> read(PackageFile file, std::uint64_t offset, std::size_t bytes) const {
    return read_package(store_, ref_, file, offset, bytes);
  }
  Result<AdapterFiles> read_all() const { return read_package(store_, ref_); }

 private:
  const Store& store_;
  const PackageRef ref_;
};

using PackagePin = std::shared_ptr<const StoredPackage>;

// Thread-safe. Pins may outlive the shelf; what they then let go of is erased at the next open.
class PackageShelf {
 public:
  // `store` outlives the shelf and every pin that is read from.
  explicit PackageShelf(Store& store);
  ~PackageShelf();
  PackageShelf(PackageShelf&&) noexcept = default;  // of the one that is left, nothing is asked
  PackageShelf(const PackageShelf&) = delete;
  PackageShelf& operator=(const PackageShelf&) = delete;

  // At open, of every version in the store.
  void restore(const PackageRef& package, const AdapterDigest& digest);
  // After that: erases what a crash left. Errors: those of Store.
  Result<void> sweep();

  // The two files, copied into the store and synced, or found there. They are nobody's until a
  // version is added; if the pin goes before, so do they. A few MiB of them are in memory at a
  // time. Waits for whoever is writing or erasing the same bytes. Errors: those of Store and
  // StagedFile.
  Result<PackagePin> keep(const StagedFile& config, const StagedFile& tensors);

  // Adds to `batch` what makes the store agree that a version was added, or `num` were dropped;
  // and, once it is written, notes it here. The caller holds one lock from the one to the other.
  void add_version(Batch& batch, const PackageRef& package) const;
  void drop_versions(Batch& batch, const PackageRef& package, int num) const;
  void added(const PackagePin& package, const AdapterDigest& digest);
  void dropped(const PackageRef& package, int num);
  // Instead of added(): it is not known whether the batch will be there after a restart, so the
  // bytes have to be, whoever lets go of them. The next open knows which.
  void in_doubt(const PackagePin& package);

  // Null if nobody has them.
  PackagePin find(const ContentDigest& content) const;
  PackagePin find(const AdapterDigest& digest) const;

  // Called on the shelf's thread when nobody has a digest any more. When set_on_gone() returns, the
  // former callback is neither running nor called again.
  void set_on_gone(std::function<void(const AdapterDigest&)> on_gone);

 private:
  struct State;
  static void run_eraser(State& state, const std::stop_token& stop);

  std::shared_ptr<State> state_;
  std::jthread eraser_;
};

}  // namespace tessera
