// adapter_drafts.hpp — packages that are put together file by file before they are validated.
//
// A draft is made, gets its files in any order (a file that is sent again replaces the first), and
// is completed: then it is an upload like any other. A file that was acknowledged is on disk,
// synced, before the record that names it, so a draft goes on after a restart; it ends with the
// hour of its life. A crash between the two leaves a file without a record, which open() removes. A
// draft whose bytes are not there (a backup has none) is ended by open().
//
// Names on the disk are the server's own ids; nothing of a request becomes a path.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "gateway/adapters/file_records.hpp"
#include "storage/clock.hpp"
#include "storage/ids.hpp"
#include "storage/mutex.hpp"
#include "storage/result.hpp"
#include "storage/staged_file.hpp"
#include "storage/store.hpp"

namespace tessera {

struct AdapterDraft {
  using File = std::shared_ptr<const StagedFile>;

  std::string id = {};  // "draft_" + ULID
  TenantId tenant = {};
  std::string adapter = {};  // the name that it is to be a version of
  WallTime created_at = {};
  WallTime expires_at = {};
  std::map<std::string, File, std::less<>> files = {};  // by their names
};

// Thread-safe; calls that write wait for the disk. An id that is another tenant's or another
// adapter's is as one that does not exist.
class AdapterDrafts {
 public:
  // Reads what `store` has and removes what a crash left in `folder`. `store` outlives this;
  // `write` as in TenantFiles::open(). Errors: kIo, kCorrupt.
  static Result<std::unique_ptr<AdapterDrafts>> open(Store& store,
                                                     const std::filesystem::path& folder,
                                                     WallTime now, AuditedWrite write = {});

  // Ends the drafts whose time has come.
  void sweep(WallTime now);

  // Errors: kRequestExceedsLimit if the tenant has kMaxDraftsOfTenant; those of Store.
  Result<AdapterDraft> create(const FileActor& actor, std::string_view adapter, WallTime now);

  // Errors: kNotFound.
  Result<AdapterDraft> get(const TenantId& tenant, std::string_view adapter, std::string_view id,
                           WallTime now);
  // Keeps `bytes` as the file of that name; returns the draft as it is then. `max_bytes` is what
  // all of the tenant's drafts together may hold. Errors: kNotFound, kStorageQuotaExceeded,
  // kStorageFull, kIo, those of Store; the draft is as it was then.
  Result<AdapterDraft> put(const FileActor& actor, std::string_view adapter, std::string_view id,
                           std::string_view file, const AdapterDraft::File& bytes,
                           std::uint64_t max_bytes, WallTime now);
  // The draft is gone then; whoever has its files may read on. Errors: kNotFound, those of Store.
  Result<AdapterDraft> take(const FileActor& actor, std::string_view adapter, std::string_view id,
                            WallTime now);

  // That the tenant's drafts hold.
  std::uint64_t bytes_of(const TenantId& tenant) const;

 private:
  using Key = std::pair<TenantId, std::string>;
  struct Kept {
    AdapterDraft draft;
    std::map<std::string, std::string, std::less<>> names = {};  // on the disk, by the files' names
  };

  AdapterDrafts(Store& store, std::filesystem::path folder, AuditedWrite write)
      : store_(store), folder_(std::move(folder)), write_(std::move(write)) {}

  Result<void> read_records() TESSERA_REQUIRES(mutex_);
  Result<Kept> read_record(std::string_view text) const;
  Result<void> remove_strays() const TESSERA_REQUIRES(mutex_);

  Kept* find(const TenantId& tenant, std::string_view adapter, std::string_view id, WallTime now)
      TESSERA_REQUIRES(mutex_);
  Result<void> write_kept(const Kept& kept, const AuditRecord& audit) TESSERA_REQUIRES(mutex_);
  Result<void> erase(const Kept& kept, std::string_view event, const KeyId& key, WallTime now)
      TESSERA_REQUIRES(mutex_);
  Result<AdapterDraft> add_file(const FileActor& actor, Kept& kept, std::string_view file,
                                const AdapterDraft::File& bytes, const std::string& name,
                                WallTime now) TESSERA_REQUIRES(mutex_);
  Result<void> check_room(const Kept& kept, std::string_view file, std::uint64_t bytes,
                          std::uint64_t max_bytes) const TESSERA_REQUIRES(mutex_);
  std::uint64_t held_by(const TenantId& tenant) const TESSERA_REQUIRES(mutex_);
  void remove_name(const std::string& name) const;

  Store& store_;
  const std::filesystem::path folder_;
  const AuditedWrite write_;  // called with mutex_ held
  mutable Mutex mutex_;
  std::map<Key, Kept> drafts_ TESSERA_GUARDED_BY(mutex_);
};

}  // namespace tessera
