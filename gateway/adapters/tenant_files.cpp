#include "gateway/adapters/tenant_files.hpp"

#include <algorithm>
#include <set>
#include <system_error>
#include <utility>

#include "gateway/config.hpp"
#include "storage/keys.hpp"
#include "storage/log.hpp"

namespace tessera {
namespace {

Error no_such_file() {
  return {Code::kNotFound, "There is no such file."};
}
bool is_over(const std::optional<WallTime>& end, WallTime now) {
  return end && *end <= now;
}

// Calls `take` with each record under `prefix`.
template <class Record>
Result<void> read_all(const Store& store, const std::string& prefix,
                      Result<Record> (*decode)(std::string_view),
                      const std::function<void(Record)>& take) {
  std::optional<Error> broken;
  auto scanned =
      store.scan(Family::kMeta, prefix, prefix, [&](std::string_view, std::string_view value) {
        auto record = decode(value);
        if (record) {
          take(*std::move(record));
        } else {
          broken = record.error();
        }
        return !broken;
      });
  if (broken) return *broken;
  return scanned;
}

}  // namespace

// --- opening

Result<std::unique_ptr<TenantFiles>> TenantFiles::open(Store& store, StagingFolder& staging,
                                                       const std::filesystem::path& folder,
                                                       WallTime now, AuditedWrite write) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (!error) std::filesystem::permissions(folder, std::filesystem::perms::owner_all, error);
  if (error) {
    return Error{Code::kIo,
                 "Cannot use the folder " + folder.string() + ": " + error.message() + "."};
  }
  if (!write) write = unaudited(store);
  std::unique_ptr<TenantFiles> files(new TenantFiles(store, staging, folder, std::move(write)));
  {
    const MutexLock lock(files->mutex_);
    if (auto read = read_records(store, files->shelves_); !read) return read.error();
    if (auto removed = files->remove_strays(); !removed) return removed.error();
  }
  files->sweep(now);
  return files;
}

Result<void> TenantFiles::read_records(const Store& store, Shelves& shelves) {
  auto read = read_all<FileRecord>(store, keys::all_files(), decode_file_record,
                                   [&shelves](FileRecord record) {
                                     Shelf& shelf = shelves[record.tenant];
                                     shelf.bytes += record.bytes;
                                     ++shelf.num_files;
                                     shelf.files.emplace(record.id, std::move(record));
                                   });
  if (!read) return read;
  read = read_all<UploadRecord>(
      store, keys::all_uploads(), decode_upload_record, [&shelves](UploadRecord record) {
        shelves[record.tenant].uploads[record.id].record = std::move(record);
      });
  if (!read) return read;
  return read_all<UploadPart>(store, keys::all_upload_parts(), decode_upload_part,
                              [&shelves](UploadPart part) {
                                Shelf& shelf = shelves[part.tenant];
                                Upload& upload = shelf.uploads[part.upload];
                                shelf.bytes += part.bytes;
                                upload.part_bytes += part.bytes;
                                ++upload.num_parts;
                                upload.parts.emplace(part.id, std::move(part));
                              });
}

Result<void> TenantFiles::remove_strays() const {
  std::set<std::string, std::less<>> known;
  for (const auto& [tenant, shelf] : shelves_) {
    for (const auto& [id, file] : shelf.files) known.insert(id);
    for (const auto& [id, upload] : shelf.uploads) {
      for (const auto& [part_id, part] : upload.parts) known.insert(part_id);
    }
  }
  std::error_code error;
  Names strays;
  for (std::filesystem::directory_iterator it(folder_, error), end; !error && it != end;
       it.increment(error)) {
    std::string name = it->path().filename().string();
    if (!known.contains(name)) strays.push_back(std::move(name));
  }
  if (error) return Error{Code::kIo, "cannot list the tenants' files: " + error.message()};
  remove_names(strays);
  return {};
}

// --- files

Result<FileRecord> TenantFiles::add(const FileActor& actor, const NewFile& file, const Bytes& bytes,
                                    std::uint64_t max_bytes, WallTime now) {
  const TenantId& tenant = actor.tenant;
  sweep(now);
  {
    const MutexLock lock(mutex_);
    if (auto held = hold(tenant, bytes->size(), 1, max_bytes); !held) return held.error();
  }
  FileRecord record{.id = "file-" + new_ulid(now),
                    .tenant = tenant,
                    .filename = file.filename,
                    .purpose = file.purpose,
                    .bytes = bytes->size(),
                    .sha256 = bytes->sha256(),
                    .created_at = now};
  if (file.lifetime) record.expires_at = now + *file.lifetime;
  auto done = bytes->keep(path_of(record.id));
  const MutexLock lock(mutex_);
  if (done) {
    Batch batch;
    put_record(batch, record);
    const AuditRecord audit = new_audit_record("file.created", actor.key, tenant, record.id, now);
    done = write_(std::move(batch), std::span(&audit, 1));
    if (!done) remove_names({record.id});
  }
  if (!done) {
    let_go(tenant, record.bytes, 1);
    return done.error();
  }
  shelves_[tenant].files.emplace(record.id, record);
  return record;
}

std::vector<FileRecord> TenantFiles::list(const TenantId& tenant, WallTime now) const {
  const MutexLock lock(mutex_);
  std::vector<FileRecord> records;
  const auto shelf = shelves_.find(tenant);
  if (shelf == shelves_.end()) return records;
  for (const auto& [id, record] : shelf->second.files) {
    if (!is_over(record.expires_at, now)) records.push_back(record);
  }
  return records;
}

Result<FileRecord> TenantFiles::get(const TenantId& tenant, std::string_view id,
                                    WallTime now) const {
  const MutexLock lock(mutex_);
  const FileRecord* const record = find_file(tenant, id, now);
  if (!record) return no_such_file();
  return *record;
}

Result<TenantFiles::Bytes> TenantFiles::read(const TenantId& tenant, std::string_view id,
                                             WallTime now) const {
  const MutexLock lock(mutex_);  // or it might go between the look and the opening
  const FileRecord* const record = find_file(tenant, id, now);
  if (!record) return no_such_file();
  auto bytes = open_kept_file(path_of(record->id), record->sha256);
  if (!bytes) return Error{Code::kIo, "the bytes of " + record->id + ": " + bytes.error().message};
  return bytes;
}

Result<void> TenantFiles::remove(const FileActor& actor, std::string_view id, WallTime now) {
  const TenantId& tenant = actor.tenant;
  const MutexLock lock(mutex_);
  const FileRecord* const record = find_file(tenant, id, now);
  if (!record) return no_such_file();
  Batch batch;
  erase_record(batch, *record);
  const AuditRecord audit = new_audit_record("file.deleted", actor.key, tenant, record->id, now);
  if (auto written = write_(std::move(batch), std::span(&audit, 1)); !written) return written;
  remove_names({record->id});
  let_go(tenant, record->bytes, 1);
  Shelf& shelf = shelves_[tenant];
  shelf.files.erase(shelf.files.find(id));
  return {};
}

std::uint64_t TenantFiles::bytes_of(const TenantId& tenant) const {
  const MutexLock lock(mutex_);
  const auto shelf = shelves_.find(tenant);
  return shelf == shelves_.end() ? 0 : shelf->second.bytes;
}

void TenantFiles::sweep(WallTime now) {
  Names names;
  {
    const MutexLock lock(mutex_);
    if (now - swept_at_ < kFilesSweepPeriod) return;
    swept_at_ = now;
    for (auto& [tenant, shelf] : shelves_) sweep_shelf(shelf, now, names);
  }
  remove_names(names);
}

// --- under the lock

const FileRecord* TenantFiles::find_file(const TenantId& tenant, std::string_view id,
                                         WallTime now) const {
  const auto shelf = shelves_.find(tenant);
  if (shelf == shelves_.end()) return nullptr;
  const auto found = shelf->second.files.find(id);
  const bool there = found != shelf->second.files.end() && !is_over(found->second.expires_at, now);
  return there ? &found->second : nullptr;
}

Result<void> TenantFiles::hold(const TenantId& tenant, std::uint64_t bytes, std::size_t files,
                               std::uint64_t max_bytes) {
  Shelf& shelf = shelves_[tenant];
  if (shelf.num_files + files > kMaxFilesOfTenant) {
    return Error{Code::kStorageQuotaExceeded,
                 "There can be " + std::to_string(kMaxFilesOfTenant) + " files; delete some."};
  }
  if (bytes > max_bytes - std::min(max_bytes, shelf.bytes)) {
    return Error{Code::kStorageQuotaExceeded, "Files and parts of uploads may have " +
                                                  std::to_string(max_bytes) +
                                                  " bytes in all; delete some."};
  }
  shelf.bytes += bytes;
  shelf.num_files += files;
  return {};
}

void TenantFiles::let_go(const TenantId& tenant, std::uint64_t bytes, std::size_t files) {
  Shelf& shelf = shelves_[tenant];
  shelf.bytes -= bytes;
  shelf.num_files -= files;
}

// What cannot be written now is tried again the next time.
void TenantFiles::sweep_shelf(Shelf& shelf, WallTime now, Names& names) {
  std::erase_if(shelf.files, [&](const auto& entry) {
    const FileRecord& record = entry.second;
    if (!is_over(record.expires_at, now)) return false;
    Batch batch;
    erase_record(batch, record);
    const AuditRecord audit = new_audit_record("file.expired", {}, record.tenant, record.id, now);
    if (!write_(std::move(batch), std::span(&audit, 1))) return false;
    names.push_back(record.id);
    shelf.bytes -= record.bytes;
    --shelf.num_files;
    return true;
  });
  for (auto& [id, upload] : shelf.uploads) {
    const bool expired = upload.record.status == UploadStatus::kPending &&
                         status_at(upload.record, now) == UploadStatus::kExpired;
    if (!expired || upload.completing) continue;
    const AuditRecord audit = new_audit_record("upload.expired", {}, upload.record.tenant, id, now);
    if (auto ended = end_upload(upload, UploadStatus::kExpired, audit, names); !ended) {
      log_warn("upload_not_ended", {{"id", id}, {"reason", ended.error().message}});
    }
  }
  std::erase_if(shelf.uploads, [&](const auto& entry) {
    const UploadRecord& record = entry.second.record;
    const bool old = record.expires_at + kEndedUploadKept <= now;
    if (record.status == UploadStatus::kPending || !old) return false;
    Batch batch;
    erase_record(batch, record);
    return write_(std::move(batch), {}).has_value();  // its end was told when it came
  });
}

void TenantFiles::remove_names(const Names& names) const {
  for (const std::string& name : names) {
    std::error_code ignored;  // open() looks again
    std::filesystem::remove(path_of(name), ignored);
  }
}

}  // namespace tessera
