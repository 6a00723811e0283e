#include "gateway/adapters/file_json.hpp"

#include <algorithm>
#include <array>

#include <nlohmann/json.hpp>

#include "gateway/api/api_json.hpp"
#include "gateway/config.hpp"

namespace tessera {
namespace {

using nlohmann::ordered_json;

// What is done with files here: an adapter is made of one.
constexpr std::array<std::string_view, 2> kPurposes = {"fine-tune", "user_data"};

constexpr std::int64_t kMinLifetimeSeconds = 3600;
constexpr std::int64_t kMaxLifetimeSeconds = 2'592'000;  // OpenAI's 30 days

}  // namespace

ordered_json file_json(const FileRecord& file) {
  ordered_json json;
  json["id"] = file.id;
  json["object"] = "file";
  json["bytes"] = file.bytes;
  json["created_at"] = unix_seconds(file.created_at);
  json["expires_at"] = nullptr;
  if (file.expires_at) json["expires_at"] = unix_seconds(*file.expires_at);
  json["filename"] = file.filename;
  json["purpose"] = file.purpose;
  json["status"] = "processed";
  json["status_details"] = nullptr;
  json["sha256"] = to_hex(file.sha256);
  return json;
}

ordered_json part_json(const UploadPart& part) {
  ordered_json json;
  json["id"] = part.id;
  json["object"] = "upload.part";
  json["created_at"] = unix_seconds(part.created_at);
  json["upload_id"] = part.upload;
  json["bytes"] = part.bytes;
  json["sha256"] = to_hex(part.sha256);
  return json;
}

ordered_json upload_json(const TenantFiles::UploadView& view) {
  const UploadRecord& upload = view.upload;
  ordered_json json;
  json["id"] = upload.id;
  json["object"] = "upload";
  json["bytes"] = upload.bytes;
  json["created_at"] = unix_seconds(upload.created_at);
  json["expires_at"] = unix_seconds(upload.expires_at);
  json["filename"] = upload.filename;
  json["mime_type"] = upload.mime_type;
  json["purpose"] = upload.purpose;
  json["status"] = to_string(upload.status);
  json["file"] = nullptr;
  if (view.file) json["file"] = file_json(*view.file);
  json["parts"] = ordered_json::array();
  for (const UploadPart& part : view.parts) json["parts"].push_back(part_json(part));
  return json;
}

Result<void> check_file_name(std::string_view filename) {
  const bool plain =
      std::ranges::none_of(filename, [](char c) { return static_cast<unsigned char>(c) < 0x20; });
  if (plain && !filename.empty() && filename.size() <= kMaxFileNameBytes) return {};
  return Error{Code::kInvalidValue,
               "'filename' must have 1 to " + std::to_string(kMaxFileNameBytes) +
                   " bytes and no control characters.",
               "filename"};
}

Result<void> check_purpose(std::string_view purpose) {
  if (std::ranges::find(kPurposes, purpose) != kPurposes.end()) return {};
  return Error{Code::kInvalidValue, "'purpose' must be fine-tune or user_data.", "purpose"};
}

Result<TenantFiles::Lifetime> parse_lifetime(std::string_view anchor, std::int64_t seconds) {
  if (anchor != "created_at") {
    return Error{Code::kInvalidValue, "'expires_after.anchor' must be created_at.",
                 "expires_after.anchor"};
  }
  if (kMinLifetimeSeconds <= seconds && seconds <= kMaxLifetimeSeconds) {
    return TenantFiles::Lifetime(std::chrono::seconds(seconds));
  }
  return Error{Code::kInvalidValue,
               "'expires_after.seconds' must be from " + std::to_string(kMinLifetimeSeconds) +
                   " to " + std::to_string(kMaxLifetimeSeconds) + ".",
               "expires_after.seconds"};
}

}  // namespace tessera
