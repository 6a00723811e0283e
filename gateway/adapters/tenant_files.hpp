// tenant_files.hpp — files that tenants keep on the platform, and those that arrive in parts.
//
// What OpenAI calls Files and Uploads: bytes that are put aside under an id, whole or in parts, and
// used later, here as an adapter's archive. A file's bytes are on disk, synced, before its record
// is written, and go after the record has gone: a crash in between leaves a file without a record,
// which open() removes, and never a record without its file. So a part that was acknowledged is
// there after a restart, and an upload goes on where it was.
//
// Isolation: an id that is another tenant's and an id that does not exist are answered alike. Ids
// from outside are looked up among the caller's records; no path is made of them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "gateway/adapters/file_records.hpp"
#include "storage/clock.hpp"
#include "storage/ids.hpp"
#include "storage/mutex.hpp"
#include "storage/result.hpp"
#include "storage/staged_file.hpp"
#include "storage/store.hpp"

namespace tessera {

// Thread-safe. Calls that write wait for the disk.
class TenantFiles {
 public:
  using Bytes = std::shared_ptr<const StagedFile>;

  // How long a file is to live from now on; nullopt: until it is deleted.
  using Lifetime = std::optional<std::chrono::seconds>;

  struct NewFile {
    std::string filename;
    std::string purpose;
    Lifetime lifetime = {};
  };
  struct NewUpload {
    std::string filename;
    std::string purpose;
    std::string mime_type;
    std::uint64_t bytes = 0;
    Lifetime file_lifetime = {};
  };
  // An upload and the parts that it has, oldest first.
  struct UploadView {
    UploadRecord upload;
    std::vector<UploadPart> parts = {};
    std::optional<FileRecord> file = {};  // once completed, while it is there
  };

  // Reads what `store` has, and removes what a crash left in `folder`. `store` and `staging`, on
  // whose file system `folder` is, outlive this. Changes go to the store by way of `write`, with
  // audit records of what was created, deleted, completed, cancelled or expired; empty: without.
  // Errors: kIo, kCorrupt.
  static Result<std::unique_ptr<TenantFiles>> open(Store& store, StagingFolder& staging,
                                                   const std::filesystem::path& folder,
                                                   WallTime now, AuditedWrite write = {});

  // --- files. `max_bytes` is what the tenant may keep in all, parts too.

  // Keeps `bytes`. Errors: kStorageQuotaExceeded, kStorageFull, kIo, those of Store.
  Result<FileRecord> add(const FileActor& actor, const NewFile& file, const Bytes& bytes,
                         std::uint64_t max_bytes, WallTime now);
  // In the order in which they were made.
  std::vector<FileRecord> list(const TenantId& tenant, WallTime now) const;
  // Errors: kNotFound.
  Result<FileRecord> get(const TenantId& tenant, std::string_view id, WallTime now) const;
  // Its bytes; whoever has them may read on after the file was deleted. Errors: kNotFound, kIo.
  Result<Bytes> read(const TenantId& tenant, std::string_view id, WallTime now) const;
  // Errors: kNotFound, those of Store.
  Result<void> remove(const FileActor& actor, std::string_view id, WallTime now);

  // --- uploads

  // Errors: kRequestExceedsLimit if there are too many pending; those of Store.
  Result<UploadRecord> create_upload(const FileActor& actor, const NewUpload& upload, WallTime now);
  // Errors: kNotFound.
  Result<UploadView> get_upload(const TenantId& tenant, std::string_view id, WallTime now) const;
  // Errors: kNotFound; kConflict unless the upload is pending; kRequestExceedsLimit for more parts
  // or bytes than the upload may have; those of add().
  Result<UploadPart> add_part(const FileActor& actor, std::string_view id, const Bytes& bytes,
                              std::uint64_t max_bytes, WallTime now);
  // Makes a file of the parts that are named, in that order; others are dropped. Errors: kNotFound;
  // kConflict unless the upload is pending; kInvalidValue if a part is not there, comes twice, or
  // the bytes or their MD5 (lower-case hex; empty: any) are not what was told; those of joining and
  // keeping. After an error the upload is pending as before.
  Result<UploadView> complete_upload(const FileActor& actor, std::string_view id,
                                     std::span<const std::string> part_ids, std::string_view md5,
                                     WallTime now);
  // Errors: kNotFound; kConflict unless the upload is pending; those of Store.
  Result<UploadView> cancel_upload(const FileActor& actor, std::string_view id, WallTime now);

  // Bytes that the tenant keeps, in files and in parts.
  std::uint64_t bytes_of(const TenantId& tenant) const;

  // Ends uploads and files whose time has come, of all tenants.
  void sweep(WallTime now);

 private:
  struct Upload {
    UploadRecord record;
    std::map<std::string, UploadPart, std::less<>> parts;
    std::uint64_t part_bytes = 0;  // of parts, those being written too
    std::size_t num_parts = 0;     // likewise
    bool completing = false;
  };
  // What a tenant keeps.
  struct Shelf {
    std::map<std::string, FileRecord, std::less<>> files;
    std::map<std::string, Upload, std::less<>> uploads;
    std::uint64_t bytes = 0;    // of files and parts, those being written too
    std::size_t num_files = 0;  // likewise
  };
  using Shelves = std::map<TenantId, Shelf>;
  // Names of files to be removed once no record has them.
  using Names = std::vector<std::string>;

  TenantFiles(Store& store, StagingFolder& staging, std::filesystem::path folder,
              AuditedWrite write)
      : store_(store), staging_(staging), folder_(std::move(folder)), write_(std::move(write)) {}

  static Result<void> read_records(const Store& store, Shelves& shelves);
  Result<void> remove_strays() const TESSERA_REQUIRES(mutex_);

  const FileRecord* find_file(const TenantId& tenant, std::string_view id, WallTime now) const
      TESSERA_REQUIRES(mutex_);
  Upload* find_upload(const TenantId& tenant, std::string_view id) TESSERA_REQUIRES(mutex_);
  const Upload* find_upload(const TenantId& tenant, std::string_view id) const
      TESSERA_REQUIRES(mutex_);
  Result<Upload*> pending_upload(const TenantId& tenant, std::string_view id, WallTime now)
      TESSERA_REQUIRES(mutex_);
  UploadView view_of(const Upload& upload, WallTime now) const TESSERA_REQUIRES(mutex_);

  Result<void> hold(const TenantId& tenant, std::uint64_t bytes, std::size_t files,
                    std::uint64_t max_bytes) TESSERA_REQUIRES(mutex_);
  void let_go(const TenantId& tenant, std::uint64_t bytes, std::size_t files)
      TESSERA_REQUIRES(mutex_);
  // What completes an upload: its parts, in order, and the file that they are to be.
  struct Completion {
    std::vector<UploadPart> parts;
    FileRecord file;
  };
  Result<Completion> begin_completion(const TenantId& tenant, std::string_view id,
                                      std::span<const std::string> part_ids, WallTime now);
  Result<UploadView> end_completion(const FileActor& actor, std::string_view id,
                                    const FileRecord& file, Result<void> kept, Names& names,
                                    WallTime now);
  Result<Bytes> joined(const std::vector<UploadPart>& parts, std::string_view md5) const;
  Result<void> end_upload(Upload& upload, UploadStatus status, const AuditRecord& audit,
                          Names& names) TESSERA_REQUIRES(mutex_);
  void forget_parts(Upload& upload, Names& names) TESSERA_REQUIRES(mutex_);
  void sweep_shelf(Shelf& shelf, WallTime now, Names& names) TESSERA_REQUIRES(mutex_);

  std::filesystem::path path_of(const std::string& id) const { return folder_ / id; }
  void remove_names(const Names& names) const;

  Store& store_;
  StagingFolder& staging_;
  const std::filesystem::path folder_;
  const AuditedWrite write_;  // called with mutex_ held
  mutable Mutex mutex_;
  Shelves shelves_ TESSERA_GUARDED_BY(mutex_);
  WallTime swept_at_ TESSERA_GUARDED_BY(mutex_);
};

}  // namespace tessera
