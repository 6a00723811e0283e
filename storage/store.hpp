// store.hpp — [seam] what survives a restart: an ordered map from keys to values, changed by atomic
// batches.
//
// A change is one Batch: all of its puts and erases become visible and durable together, or, if an
// expectation no longer holds, none of them. After write() has returned success the batch survives
// kill -9 and power loss (the log is synced). Keys are the byte strings of keys.hpp; families keep
// kinds of data apart (large adapter chunks away from small records).
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "storage/result.hpp"

namespace tessera {

// Column families, one per kind of data. The numbers are part of the on-disk format.
enum class Family : std::uint8_t {
  kMeta,    // tenants, keys, limits, adapter names, versions, aliases: small, read often
  kChunks,  // adapter bytes in chunks of kChunkBytes, uncompressed
  kLedger,  // usage records, appended, scanned by time
  kAudit,   // audit records
};
inline constexpr int kNumFamilies = 4;
inline constexpr std::size_t kChunkBytes = std::size_t{1} << 20;  // 1 MiB

struct Batch {
  struct Put {
    Family family;
    std::string key;
    std::string value;
  };
  struct Erase {
    Family family;
    std::string key;
  };
  // The batch is applied only if the key's value is exactly `value` (nullopt: absent) just before.
  struct Expect {
    Family family;
    std::string key;
    std::optional<std::string> value;
  };

  std::vector<Put> puts;
  std::vector<Erase> erases;
  std::vector<Expect> expectations;

  Batch& put(Family family, std::string key, std::string value) {
    puts.push_back({family, std::move(key), std::move(value)});
    return *this;
  }
  Batch& erase(Family family, std::string key) {
    erases.push_back({family, std::move(key)});
    return *this;
  }
  Batch& expect(Family family, std::string key, std::optional<std::string> value) {
    expectations.push_back({family, std::move(key), std::move(value)});
    return *this;
  }
};

// kSynced survives power loss when write() returns. kBuffered survives kill -9 of the process (it
// is in the operating system's hands) but may lose the last moments on power loss: for records
// whose loss is bounded and told, such as usage between two syncs.
enum class Durability : std::uint8_t { kSynced, kBuffered };

// Thread-safe; owned by the gateway's main, which outlives every user.
class Store {
 public:
  virtual ~Store() = default;

  // The value of `key`, or nullopt if there is none. Errors: kIo, kCorrupt.
  virtual Result<std::optional<std::string>> get(Family family, std::string_view key) const = 0;

  // Calls `visit(key, value)` for every key that starts with `prefix`, in byte order, from
  // `start` on if that is larger, until `visit` returns false. Sees one consistent snapshot.
  virtual Result<void> scan(
      Family family, std::string_view prefix, std::string_view start,
      const std::function<bool(std::string_view key, std::string_view value)>& visit) const = 0;

  // Applies `batch` atomically. Errors: kPreconditionFailed if an expectation does not hold (then
  // nothing was written), kStorageFull if the disk is, kIo (then it is not known whether the batch
  // will be there after a restart, as with any failing disk).
  virtual Result<void> write(const Batch& batch, Durability durability = Durability::kSynced) = 0;

  // A buffered write() by somebody who must not wait for other writers, nor for room among what is
  // not in tables yet: false if he would have to, and nothing was written. (A disk that stalls
  // holds him up nevertheless.) Errors: those of write().
  virtual Result<bool> write_at_once(const Batch& batch);

  // Makes every batch written so far, the buffered ones too, survive power loss. Errors: kIo.
  virtual Result<void> sync() = 0;

  // Puts many bytes, past the log if they are worth it: entries in ascending order of keys, which
  // nobody has and nobody else writes meanwhile. When it returns, all of them are there and survive
  // power loss, and so does every batch written before. Errors: kStorageFull, kIo; then any number
  // of them may be there.
  struct Entry {
    std::string key;
    std::string_view value;
  };
  virtual Result<void> ingest(Family family, std::span<const Entry> entries);

  // Has the space of erased keys back at once where that is cheap: when all keys that start with
  // `prefix` have been erased and nobody will write one meanwhile.
  virtual void reclaim(Family /*family*/, std::string_view /*prefix*/) {}

  // Makes `directory`, which must not be there yet, a store that holds what this one does at one
  // instant; what can be linked is not copied. Others go on writing meanwhile.
  // Errors: kStorageFull, kIo, also of a store that cannot be copied.
  virtual Result<void> checkpoint(const std::filesystem::path& directory) {
    return Error{Code::kIo, "this store cannot be copied to " + directory.string()};
  }
};

// Opens (or makes) the RocksDB store in `directory`; one process at a time.
// Errors: kIo if it is locked by another process or cannot be made; kCorrupt if it is damaged.
Result<std::unique_ptr<Store>> open_rocks_store(const std::filesystem::path& directory);

// Opens a store that is there to be read as it is now, also while another process writes to it.
// write() and sync() fail with kIo. Errors: kIo if there is none; kCorrupt.
Result<std::unique_ptr<Store>> open_rocks_store_read_only(const std::filesystem::path& directory);

}  // namespace tessera
