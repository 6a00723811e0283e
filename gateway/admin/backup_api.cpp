// backup_api.cpp — /admin/v1/backups: copies of everything, made while the server runs.
#include <nlohmann/json.hpp>

#include "gateway/admin/backup.hpp"
#include "gateway/api/api_json.hpp"
#include "gateway/handlers.hpp"

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

}  // namespace

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
