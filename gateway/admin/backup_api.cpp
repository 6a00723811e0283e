// backup_api.cpp — /admin/v1/backups: copies of everything, made while the server runs.
#include <algorithm>
#include <memory>
#include <utility>

#include <nlohmann/json.hpp>

#include "gateway/admin/backup.hpp"
#include "gateway/api/api_json.hpp"
#include "gateway/api/fields.hpp"
#include "gateway/handlers.hpp"
#include "storage/json.hpp"

namespace tessera {
namespace {

using nlohmann::ordered_json;

ordered_json backup_json(const Platform& platform, const BackupInfo& info) {
  ordered_json json;
  json["id"] = info.id;
  json["object"] = "backup";
  json["created_at"] = unix_seconds(info.created_at);
  json["path"] = (platform.config.data / "backups" / info.id).string();
  json["usage_head"] = info.usage_head;
  json["audit_head"] = info.audit_head;
  return json;
}

// Reads every byte of the backup; what keeps it from being read is a reason not to trust it.
Reply verified(const Platform& platform, const std::string& id) {
  const auto report = verify_backup(platform.config.data / "backups" / id);
  ordered_json json;
  json["object"] = "backup.verification";
  json["id"] = id;
  json["ok"] = report.has_value();
  json["reason"] = report ? ordered_json(nullptr) : ordered_json(report.error().message);
  json["usage_links"] = report ? report->usage_links : 0;
  json["audit_links"] = report ? report->audit_links : 0;
  json["packages"] = report ? report->packages : 0;
  json["package_bytes"] = report ? report->package_bytes : 0;
  return json_reply(json);
}

// The one that the body names, if it is there.
Result<std::string> read_backup_id(const Platform& platform, const Call& call) {
  const auto body = parse_json(call.request.body);
  if (!body) return body.error();
  std::string id;
  Fields fields(*body);
  fields.required("backup", id);
  if (auto read = fields.finish(); !read) return read.error();
  const auto backups = list_backups(platform.config.data);
  if (!backups) return backups.error();
  if (std::ranges::find(*backups, id, &BackupInfo::id) != backups->end()) return id;
  return Error{Code::kNotFound, "There is no such backup."};
}

}  // namespace

Result<Reply> verify_backup(Platform& platform, Call& call) {
  auto id = read_backup_id(platform, call);
  if (!id) return id.error();
  return Reply(std::make_unique<Deferred>(
      Deferred{*platform.upload_workers, [&platform, id = *std::move(id)]() -> Result<Reply> {
                 const MutexLock not_deleted(platform.backup_mutex);
                 return verified(platform, id);
               }}));
}

Result<Reply> create_backup(Platform& platform, Call& call) {
  const MutexLock one_at_a_time(platform.backup_mutex);
  const auto made = make_backup(platform.config.data, *platform.store, call.received_wall);
  if (!made) return made.error();
  return json_reply(backup_json(platform, *made), 201);
}

Result<Reply> list_backups(Platform& platform, Call& call) {
  const auto backups = list_backups(platform.config.data);
  if (!backups) return backups.error();
  std::vector<ordered_json> objects;
  for (const BackupInfo& info : *backups) objects.push_back(backup_json(platform, info));
  return list_reply(call.target, std::move(objects));
}

Result<Reply> delete_backup(Platform& platform, Call& call) {
  const MutexLock one_at_a_time(platform.backup_mutex);
  const std::string& id = call.arguments.at(0);
  if (auto deleted = delete_backup(platform.config.data, id); !deleted) return deleted.error();
  ordered_json json;
  json["id"] = id;
  json["object"] = "backup";
  json["deleted"] = true;
  return json_reply(json);
}

}  // namespace tessera
