#include "gateway/adapters/file_records.hpp"

#include <algorithm>
#include <array>

#include <nlohmann/json.hpp>

#include "gateway/api/stored_json.hpp"
#include "storage/json.hpp"
#include "storage/keys.hpp"

namespace tessera {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view kWhat = "a record of a tenant's file";
constexpr std::array kStatuses{UploadStatus::kPending, UploadStatus::kCompleted,
                               UploadStatus::kCancelled, UploadStatus::kExpired};

// These throw on a wrong type or value; read_stored() turns that into kCorrupt.
ContentDigest digest_at(const Json& json, const char* name) {
  const auto bytes = digest_from_hex(json.at(name).get_ref<const std::string&>());
  if (!bytes) throw BadStoredValue();
  return ContentDigest{*bytes};
}

UploadStatus status_of(const Json& json, const char* name) {
  const auto found = std::ranges::find(kStatuses, json.at(name).get_ref<const std::string&>(),
                                       [](UploadStatus status) { return to_string(status); });
  if (found == kStatuses.end()) throw BadStoredValue();
  return *found;
}

FileRecord file_of(const Json& json) {
  FileRecord record{.id = json.at("id"),
                    .tenant = TenantId(json.at("tenant")),
                    .filename = json.at("filename"),
                    .purpose = json.at("purpose"),
                    .bytes = json.at("bytes"),
                    .sha256 = digest_at(json, "sha256"),
                    .created_at = stored_time_at(json, "created_at")};
  if (json.contains("expires_at")) record.expires_at = stored_time_at(json, "expires_at");
  return record;
}

UploadRecord upload_of(const Json& json) {
  UploadRecord record{.id = json.at("id"),
                      .tenant = TenantId(json.at("tenant")),
                      .filename = json.at("filename"),
                      .purpose = json.at("purpose"),
                      .mime_type = json.at("mime_type"),
                      .bytes = json.at("bytes"),
                      .created_at = stored_time_at(json, "created_at"),
                      .expires_at = stored_time_at(json, "expires_at"),
                      .status = status_of(json, "status"),
                      .file = json.at("file")};
  if (json.contains("file_seconds")) record.file_seconds = json.at("file_seconds");
  return record;
}

UploadPart part_of(const Json& json) {
  return {.id = json.at("id"),
          .tenant = TenantId(json.at("tenant")),
          .upload = json.at("upload"),
          .bytes = json.at("bytes"),
          .sha256 = digest_at(json, "sha256"),
          .created_at = stored_time_at(json, "created_at")};
}

std::string key_of(const FileRecord& record) {
  return keys::file(record.tenant.str(), record.id);
}
std::string key_of(const UploadRecord& record) {
  return keys::upload(record.tenant.str(), record.id);
}
std::string key_of(const UploadPart& record) {
  return keys::upload_part(record.tenant.str(), record.upload, record.id);
}

template <class Record>
void put(Batch& batch, const Record& record) {
  batch.put(Family::kMeta, key_of(record), encode_record(record));
}
template <class Record>
void erase(Batch& batch, const Record& record) {
  batch.erase(Family::kMeta, key_of(record));
}

}  // namespace

std::string_view to_string(UploadStatus status) {
  switch (status) {
    case UploadStatus::kPending:
      return "pending";
    case UploadStatus::kCompleted:
      return "completed";
    case UploadStatus::kCancelled:
      return "cancelled";
    case UploadStatus::kExpired:
      return "expired";
  }
  return {};
}

UploadStatus status_at(const UploadRecord& upload, WallTime now) {
  const bool expired = upload.status == UploadStatus::kPending && upload.expires_at <= now;
  return expired ? UploadStatus::kExpired : upload.status;
}

std::string encode_record(const FileRecord& record) {
  Json json = {{"id", record.id},
               {"tenant", record.tenant.str()},
               {"filename", record.filename},
               {"purpose", record.purpose},
               {"bytes", record.bytes},
               {"sha256", to_hex(record.sha256)},
               {"created_at", stored_time(record.created_at)}};
  if (record.expires_at) json["expires_at"] = stored_time(*record.expires_at);
  return to_text(json);
}

std::string encode_record(const UploadRecord& record) {
  Json json = {{"id", record.id},
               {"tenant", record.tenant.str()},
               {"filename", record.filename},
               {"purpose", record.purpose},
               {"mime_type", record.mime_type},
               {"bytes", record.bytes},
               {"created_at", stored_time(record.created_at)},
               {"expires_at", stored_time(record.expires_at)},
               {"status", to_string(record.status)},
               {"file", record.file}};
  if (record.file_seconds) json["file_seconds"] = *record.file_seconds;
  return to_text(json);
}

std::string encode_record(const UploadPart& record) {
  return to_text(Json{{"id", record.id},
                      {"tenant", record.tenant.str()},
                      {"upload", record.upload},
                      {"bytes", record.bytes},
                      {"sha256", to_hex(record.sha256)},
                      {"created_at", stored_time(record.created_at)}});
}

Result<FileRecord> decode_file_record(std::string_view text) {
  return read_stored(text, kWhat, file_of);
}
Result<UploadRecord> decode_upload_record(std::string_view text) {
  return read_stored(text, kWhat, upload_of);
}
Result<UploadPart> decode_upload_part(std::string_view text) {
  return read_stored(text, kWhat, part_of);
}

AuditedWrite unaudited(Store& store) {
  return [&store](Batch batch, std::span<const AuditRecord>) { return store.write(batch); };
}

void put_record(Batch& batch, const FileRecord& record) {
  put(batch, record);
}
void put_record(Batch& batch, const UploadRecord& record) {
  put(batch, record);
}
void put_record(Batch& batch, const UploadPart& record) {
  put(batch, record);
}
void erase_record(Batch& batch, const FileRecord& record) {
  erase(batch, record);
}
void erase_record(Batch& batch, const UploadRecord& record) {
  erase(batch, record);
}
void erase_record(Batch& batch, const UploadPart& record) {
  erase(batch, record);
}

}  // namespace tessera
