// tenant_uploads.cpp — the uploads of TenantFiles: files that arrive in parts.
#include <algorithm>
#include <limits>
#include <set>
#include <utility>

#include "gateway/adapters/tenant_files.hpp"
#include "gateway/config.hpp"

namespace tessera {
namespace {

constexpr std::size_t kJoinBytes = std::size_t{1} << 20;
constexpr std::uint64_t kAnyBytes = std::numeric_limits<std::uint64_t>::max();

Error no_such_upload() {
  return {Code::kNotFound, "There is no such upload."};
}

// Constant if the shelves are; null if there is none.
template <class Shelves>
auto* upload_in(Shelves& shelves, const TenantId& tenant, std::string_view id) {
  const auto shelf = shelves.find(tenant);
  using Found = decltype(&shelf->second.uploads.find(id)->second);
  if (shelf == shelves.end()) return Found{nullptr};
  const auto found = shelf->second.uploads.find(id);
  return found == shelf->second.uploads.end() ? nullptr : &found->second;
}

// The parts that a client names, in its order.
template <class Parts>
Result<std::vector<UploadPart>> chosen(const Parts& parts, std::span<const std::string> ids) {
  std::vector<UploadPart> found;
  std::set<std::string_view> seen;
  for (const std::string& id : ids) {
    const auto part = parts.find(id);
    if (part == parts.end()) {
      return Error{Code::kInvalidValue, "The upload has no such part.", "part_ids"};
    }
    if (!seen.insert(id).second) {
      return Error{Code::kInvalidValue, "A part is named twice.", "part_ids"};
    }
    found.push_back(part->second);
  }
  return found;
}

Result<void> check_total(const std::vector<UploadPart>& parts, const UploadRecord& upload) {
  std::uint64_t total = 0;
  for (const UploadPart& part : parts) total += part.bytes;
  if (total == upload.bytes) return {};
  return Error{Code::kInvalidValue,
               "The parts have " + std::to_string(total) + " bytes; the upload was said to have " +
                   std::to_string(upload.bytes) + ".",
               "part_ids"};
}

Result<void> check_md5(const StagedFile& file, std::string_view expected) {
  if (expected.empty()) return {};
  Md5 md5;
  for (std::uint64_t at = 0; at < file.size(); at += kJoinBytes) {
    const auto piece = file.read(at, kJoinBytes);
    if (!piece) return piece.error();
    md5.update(*piece);
  }
  if (to_hex(md5.finish()) == expected) return {};
  return Error{Code::kInvalidValue, "The bytes that arrived have another MD5.", "md5"};
}

}  // namespace

Result<UploadRecord> TenantFiles::create_upload(const FileActor& actor, const NewUpload& upload,
                                                WallTime now) {
  const TenantId& tenant = actor.tenant;
  sweep(now);
  UploadRecord record{.id = "upload_" + new_ulid(now),
                      .tenant = tenant,
                      .filename = upload.filename,
                      .purpose = upload.purpose,
                      .mime_type = upload.mime_type,
                      .bytes = upload.bytes,
                      .created_at = now,
                      .expires_at = now + kUploadLifetime};
  if (upload.file_lifetime) record.file_seconds = upload.file_lifetime->count();
  const MutexLock lock(mutex_);
  auto& uploads = shelves_[tenant].uploads;
  const auto pending = std::ranges::count_if(uploads, [&](const auto& entry) {
    return status_at(entry.second.record, now) == UploadStatus::kPending;
  });
  if (static_cast<std::size_t>(pending) >= kMaxPendingUploadsOfTenant ||
      uploads.size() >= kMaxFilesOfTenant) {
    return Error{Code::kRequestExceedsLimit, "There can be " +
                                                 std::to_string(kMaxPendingUploadsOfTenant) +
                                                 " pending uploads; complete or cancel one."};
  }
  Batch batch;
  put_record(batch, record);
  const AuditRecord audit = new_audit_record("upload.created", actor.key, tenant, record.id, now);
  if (auto written = write_(std::move(batch), std::span(&audit, 1)); !written) {
    return written.error();
  }
  uploads[record.id].record = record;
  return record;
}

Result<TenantFiles::UploadView> TenantFiles::get_upload(const TenantId& tenant, std::string_view id,
                                                        WallTime now) const {
  const MutexLock lock(mutex_);
  const Upload* const upload = find_upload(tenant, id);
  if (!upload) return no_such_upload();
  return view_of(*upload, now);
}

Result<UploadPart> TenantFiles::add_part(const FileActor& actor, std::string_view id,
                                         const Bytes& bytes, std::uint64_t max_bytes,
                                         WallTime now) {
  const TenantId& tenant = actor.tenant;
  sweep(now);
  const UploadPart part{.id = "part_" + new_ulid(now),
                        .tenant = tenant,
                        .upload = std::string(id),
                        .bytes = bytes->size(),
                        .sha256 = bytes->sha256(),
                        .created_at = now};
  {
    const MutexLock lock(mutex_);
    const auto upload = pending_upload(tenant, id, now);
    if (!upload) return upload.error();
    // Parts that are sent again after a lost answer must have room beside the first ones.
    if ((*upload)->num_parts >= kMaxPartsOfUpload ||
        (*upload)->part_bytes + part.bytes > 2 * (*upload)->record.bytes) {
      return Error{Code::kRequestExceedsLimit, "The upload has more parts than its bytes need."};
    }
    if (auto held = hold(tenant, part.bytes, 0, max_bytes); !held) return held.error();
    (*upload)->part_bytes += part.bytes;
    ++(*upload)->num_parts;
  }
  auto kept = bytes->keep(path_of(part.id));

  const MutexLock lock(mutex_);
  const auto upload = pending_upload(tenant, id, now);
  Result<void> done = kept;
  if (done && !upload) done = upload.error();  // it ended meanwhile
  if (done) {
    Batch batch;
    put_record(batch, part);
    const AuditRecord audit =
        new_audit_record("upload.part.created", actor.key, tenant, part.id, now);
    done = write_(std::move(batch), std::span(&audit, 1));
  }
  if (done) {
    (*upload)->parts.emplace(part.id, part);
    return part;
  }
  if (kept) remove_names({part.id});
  let_go(tenant, part.bytes, 0);
  if (Upload* const there = find_upload(tenant, id)) {
    there->part_bytes -= part.bytes;
    --there->num_parts;
  }
  return done.error();
}

Result<TenantFiles::UploadView> TenantFiles::complete_upload(const FileActor& actor,
                                                             std::string_view id,
                                                             std::span<const std::string> part_ids,
                                                             std::string_view md5, WallTime now) {
  auto completion = begin_completion(actor.tenant, id, part_ids, now);
  if (!completion) return completion.error();
  FileRecord& file = completion->file;
  const auto bytes = joined(completion->parts, md5);
  Result<void> kept;
  if (bytes) {
    file.sha256 = (*bytes)->sha256();
    kept = (*bytes)->keep(path_of(file.id));
  } else {
    kept = bytes.error();
  }
  Names names;
  auto view = end_completion(actor, id, file, kept, names, now);
  remove_names(names);
  return view;
}

// From here to end_completion() parts, cancelling and expiry wait.
Result<TenantFiles::Completion> TenantFiles::begin_completion(const TenantId& tenant,
                                                              std::string_view id,
                                                              std::span<const std::string> part_ids,
                                                              WallTime now) {
  const MutexLock lock(mutex_);
  const auto upload = pending_upload(tenant, id, now);
  if (!upload) return upload.error();
  const UploadRecord& record = (*upload)->record;
  auto parts = chosen((*upload)->parts, part_ids);
  if (!parts) return parts.error();
  if (auto checked = check_total(*parts, record); !checked) return checked.error();
  if (auto held = hold(tenant, 0, 1, kAnyBytes); !held) return held.error();
  (*upload)->completing = true;
  Completion completion{.parts = *std::move(parts),
                        .file = {.id = "file-" + new_ulid(now),
                                 .tenant = tenant,
                                 .filename = record.filename,
                                 .purpose = record.purpose,
                                 .bytes = record.bytes,
                                 .created_at = now}};
  if (record.file_seconds) {
    completion.file.expires_at = now + std::chrono::seconds(*record.file_seconds);
  }
  return completion;
}

// `kept`: whether the file is on disk. It is not to be there if this fails.
Result<TenantFiles::UploadView> TenantFiles::end_completion(const FileActor& actor,
                                                            std::string_view id,
                                                            const FileRecord& file,
                                                            Result<void> kept, Names& names,
                                                            WallTime now) {
  const MutexLock lock(mutex_);
  Upload& upload = *find_upload(file.tenant, id);
  upload.completing = false;
  UploadRecord completed = upload.record;
  completed.status = UploadStatus::kCompleted;
  completed.file = file.id;
  if (kept) {
    Batch batch;
    put_record(batch, file);
    put_record(batch, completed);
    for (const auto& [part_id, part] : upload.parts) erase_record(batch, part);
    const AuditRecord audit[] = {
        new_audit_record("upload.completed", actor.key, actor.tenant, upload.record.id, now),
        new_audit_record("file.created", actor.key, actor.tenant, file.id, now)};
    kept = write_(std::move(batch), audit);
    if (!kept) names.push_back(file.id);
  }
  if (!kept) {
    let_go(file.tenant, 0, 1);
    return kept.error();
  }
  upload.record = std::move(completed);
  forget_parts(upload, names);
  Shelf& shelf = shelves_[file.tenant];
  shelf.bytes += file.bytes;
  shelf.files.emplace(file.id, file);
  return view_of(upload, now);
}

Result<TenantFiles::UploadView> TenantFiles::cancel_upload(const FileActor& actor,
                                                           std::string_view id, WallTime now) {
  const TenantId& tenant = actor.tenant;
  Names names;
  std::optional<UploadView> view;
  {
    const MutexLock lock(mutex_);
    const auto upload = pending_upload(tenant, id, now);
    if (!upload) return upload.error();
    const AuditRecord audit =
        new_audit_record("upload.cancelled", actor.key, tenant, (*upload)->record.id, now);
    if (auto ended = end_upload(**upload, UploadStatus::kCancelled, audit, names); !ended) {
      return ended.error();
    }
    view = view_of(**upload, now);
  }
  remove_names(names);
  return *view;
}

// --- under the lock

const TenantFiles::Upload* TenantFiles::find_upload(const TenantId& tenant,
                                                    std::string_view id) const {
  return upload_in(shelves_, tenant, id);
}

TenantFiles::Upload* TenantFiles::find_upload(const TenantId& tenant, std::string_view id) {
  return upload_in(shelves_, tenant, id);
}

Result<TenantFiles::Upload*> TenantFiles::pending_upload(const TenantId& tenant,
                                                         std::string_view id, WallTime now) {
  Upload* const upload = find_upload(tenant, id);
  if (!upload) return no_such_upload();
  const UploadStatus status = status_at(upload->record, now);
  if (upload->completing) return Error{Code::kConflict, "The upload is being completed."};
  if (status == UploadStatus::kPending) return upload;
  return Error{Code::kConflict, "The upload is " + std::string(to_string(status)) + "."};
}

TenantFiles::UploadView TenantFiles::view_of(const Upload& upload, WallTime now) const {
  UploadView view{.upload = upload.record};
  view.upload.status = status_at(upload.record, now);
  for (const auto& [id, part] : upload.parts) view.parts.push_back(part);
  const FileRecord* const file = find_file(upload.record.tenant, upload.record.file, now);
  if (file) view.file = *file;
  return view;
}

Result<TenantFiles::Bytes> TenantFiles::joined(const std::vector<UploadPart>& parts,
                                               std::string_view md5) const {
  std::vector<Bytes> files;
  std::string owner;
  for (const UploadPart& part : parts) {
    auto file = open_kept_file(path_of(part.id), part.sha256);
    if (!file) return Error{Code::kIo, "the bytes of " + part.id + ": " + file.error().message};
    files.push_back(*std::move(file));
    owner = part.tenant.str();
  }
  auto whole = staging_.join(files, owner);
  if (!whole) return whole;
  if (auto checked = check_md5(**whole, md5); !checked) return checked.error();
  return whole;
}

Result<void> TenantFiles::end_upload(Upload& upload, UploadStatus status, const AuditRecord& audit,
                                     Names& names) {
  UploadRecord ended = upload.record;
  ended.status = status;
  Batch batch;
  put_record(batch, ended);
  for (const auto& [id, part] : upload.parts) erase_record(batch, part);
  if (auto written = write_(std::move(batch), std::span(&audit, 1)); !written) return written;
  upload.record = std::move(ended);
  forget_parts(upload, names);
  return {};
}

// Those that are written at this moment find out by themselves.
void TenantFiles::forget_parts(Upload& upload, Names& names) {
  for (const auto& [id, part] : upload.parts) {
    names.push_back(id);
    let_go(upload.record.tenant, part.bytes, 0);
    upload.part_bytes -= part.bytes;
    --upload.num_parts;
  }
  upload.parts.clear();
}

}  // namespace tessera
