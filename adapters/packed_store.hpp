// packed_store.hpp — packed pages on disk: a folder that is a cache, one file an adapter.
//
// What is in it can be made again from the uploaded bytes, so nothing here needs to survive: a file
// that is missing, damaged or of an older format is one that has to be rebuilt, and reading it says
// so. That is also why files are renamed into place but not synced: after a power cut some may be
// torn, and the checksum finds those (packed_file.hpp). Syncing each would add the disk's pace to
// every upload and every rebuild.
//
// Files are named after the digest and the page type. Beyond `max_bytes` the ones unused for
// longest go; the time of use is the file's modification time, so that it outlives the process.
#pragma once

#include <cstdint>
#include <filesystem>
#include <list>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "adapters/packed_file.hpp"
#include "adapters/page_pool.hpp"
#include "storage/digest.hpp"
#include "storage/mutex.hpp"
#include "storage/result.hpp"

namespace tessera {

// Thread-safe. The only one of its folder.
class PackedStore {
 public:
  struct Config {
    std::filesystem::path folder;
    std::uint64_t max_bytes = std::uint64_t{16} << 30;  // of the files
    // Of memory that adapters had, kept for the next ones: beyond what the host cache may have.
    std::size_t spare_bytes = std::size_t{16} << 20;
    // For the pages of adapters that are read, while there is room in it; null: none.
    std::shared_ptr<PinnedArena> arena = nullptr;
  };

  // Pages that somebody else is to write: a file of their own until publish(), and gone with this
  // object unless that succeeded.
  class Draft {
   public:
    Draft(Draft&& other) noexcept;
    Draft& operator=(Draft&& other) = delete;
    ~Draft();

    int descriptor() const { return descriptor_; }  // open for reading and writing

   private:
    friend class PackedStore;
    Draft(int descriptor, std::filesystem::path path)
        : descriptor_(descriptor), path_(std::move(path)) {}

    int descriptor_;
    std::filesystem::path path_;
  };

  // Makes the folder, removes drafts that a crash left, and learns what is there. Errors: kIo.
  static Result<std::unique_ptr<PackedStore>> open(const Config& config, const BaseModel& base,
                                                   PageType type);

  const PackedFormat& format() const { return format_; }

  // Errors: kNotFound if there is no file; kCorrupt if there was one and it was not good: it is
  // gone now; kIo.
  Result<std::shared_ptr<const PackedAdapter>> read(const AdapterDigest& digest);

  // Keeps pages that this process packed. Errors: kStorageFull, kIo; the cache is as it was.
  Result<void> write(const AdapterDigest& digest, const PackedAdapter& adapter);

  // For pages that another process packs: write_packed_file() to the draft's descriptor, then
  // publish(). Errors: kStorageFull, kIo.
  Result<Draft> draft();
  // Reads and checks the draft and makes it the digest's file. Errors: kCorrupt if it is not what
  // it should be; kConflict if the digest has other pages already, which stay; kStorageFull, kIo.
  Result<std::shared_ptr<const PackedAdapter>> publish(Draft draft, const AdapterDigest& digest);

  // Removes the digest's file, if there is one: its last version was deleted.
  void remove(const AdapterDigest& digest);

  struct Stats {
    std::uint64_t files = 0;
    std::uint64_t bytes = 0;
    std::uint64_t evictions = 0;
    std::uint64_t rebuilds = 0;  // files that were not good
  };
  Stats stats() const;

 private:
  struct File {
    std::uint64_t bytes;
    std::list<AdapterDigest>::iterator place;  // in by_use_
  };

  PackedStore(Config config, PackedFormat format);

  Result<void> scan();
  std::filesystem::path path_of(const AdapterDigest& digest) const;
  void add(const AdapterDigest& digest, std::uint64_t bytes) TESSERA_REQUIRES(mutex_);
  void drop(const AdapterDigest& digest) TESSERA_REQUIRES(mutex_);
  Result<void> put_in_place(Draft& draft, const AdapterDigest& digest, std::uint64_t bytes)
      TESSERA_EXCLUDES(mutex_);
  void touch(const AdapterDigest& digest) TESSERA_EXCLUDES(mutex_);

  const Config config_;
  const PackedFormat format_;
  const std::shared_ptr<PagePool> pool_;
  mutable Mutex mutex_;
  std::unordered_map<AdapterDigest, File, DigestHash> files_ TESSERA_GUARDED_BY(mutex_);
  std::list<AdapterDigest> by_use_ TESSERA_GUARDED_BY(mutex_);  // oldest use first
  std::uint64_t next_draft_ TESSERA_GUARDED_BY(mutex_) = 0;
  Stats stats_ TESSERA_GUARDED_BY(mutex_);
};

}  // namespace tessera
