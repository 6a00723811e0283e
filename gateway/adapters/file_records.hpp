// file_records.hpp — what the store keeps of tenants' files, uploads and their parts.
//
// The bytes lie in a folder beside the store, one file each, named by the record's id, which is the
// server's own. JSON, as the other records are.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "storage/clock.hpp"
#include "storage/digest.hpp"
#include "storage/ids.hpp"
#include "storage/result.hpp"
#include "storage/store.hpp"
#include "tenancy/audit_log.hpp"

namespace tessera {

// A whole file (OpenAI's File).
struct FileRecord {
  std::string id = {};  // "file-" + ULID
  TenantId tenant = {};
  std::string filename = {};  // shown, never used as a path
  std::string purpose = {};
  std::uint64_t bytes = 0;
  ContentDigest sha256 = {};
  WallTime created_at = {};
  std::optional<WallTime> expires_at = {};

  bool operator==(const FileRecord&) const = default;
};

enum class UploadStatus : std::uint8_t { kPending, kCompleted, kCancelled, kExpired };

std::string_view to_string(UploadStatus status);

// A file that comes in parts (OpenAI's Upload).
struct UploadRecord {
  std::string id = {};  // "upload_" + ULID
  TenantId tenant = {};
  std::string filename = {};
  std::string purpose = {};
  std::string mime_type = {};
  std::uint64_t bytes = 0;  // that all parts together must have
  WallTime created_at = {};
  WallTime expires_at = {};
  std::optional<std::int64_t> file_seconds = {};  // that the file is to live; nullopt: for ever
  UploadStatus status = UploadStatus::kPending;
  std::string file = {};  // its id, once completed

  bool operator==(const UploadRecord&) const = default;
};

struct UploadPart {
  std::string id = {};  // "part_" + ULID
  TenantId tenant = {};
  std::string upload = {};
  std::uint64_t bytes = 0;
  ContentDigest sha256 = {};
  WallTime created_at = {};

  bool operator==(const UploadPart&) const = default;
};

// What an upload is at `now`: one that is pending may have expired.
UploadStatus status_at(const UploadRecord& upload, WallTime now);

std::string encode_record(const FileRecord& record);
std::string encode_record(const UploadRecord& record);
std::string encode_record(const UploadPart& record);

// Errors: kCorrupt.
Result<FileRecord> decode_file_record(std::string_view text);
Result<UploadRecord> decode_upload_record(std::string_view text);
Result<UploadPart> decode_upload_part(std::string_view text);

// Who changes a tenant's files: one of its keys, or (empty) the server itself.
struct FileActor {
  TenantId tenant;
  KeyId key = {};
};

// Writes a change together with the audit records of it: both are there afterwards, or neither.
using AuditedWrite = std::function<Result<void>(Batch batch, std::span<const AuditRecord> records)>;
// Without audit records, which are dropped. `store` outlives it.
AuditedWrite unaudited(Store& store);

// Adds to `batch` that the record is in the store, or is not.
void put_record(Batch& batch, const FileRecord& record);
void put_record(Batch& batch, const UploadRecord& record);
void put_record(Batch& batch, const UploadPart& record);
void erase_record(Batch& batch, const FileRecord& record);
void erase_record(Batch& batch, const UploadRecord& record);
void erase_record(Batch& batch, const UploadPart& record);

}  // namespace tessera
