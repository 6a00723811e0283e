#include "gateway/admin/backup.hpp"

#include <algorithm>

#include <fcntl.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "adapters/package_chunks.hpp"
#include "adapters/registry_records.hpp"
#include "storage/digest.hpp"
#include "storage/durable_file.hpp"
#include "storage/ids.hpp"
#include "storage/json.hpp"
#include "storage/keys.hpp"
#include "tenancy/hash_chain.hpp"

namespace tessera {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr std::string_view kIdPrefix = "backup_";
constexpr std::string_view kPartial = ".partial";
constexpr std::size_t kMaxManifestBytes = 64 * 1024;
constexpr std::size_t kMaxPepperBytes = 1024 * 1024;
constexpr int kFormat = 1;

fs::path folder_of_backups(const fs::path& data) {
  return data / "backups";
}

Error io_error(const std::string& doing, const std::error_code& error) {
  const bool full = error == std::errc::no_space_on_device;
  return {full ? Code::kStorageFull : Code::kIo, "cannot " + doing + ": " + error.message()};
}

enum class Copying { kLinks, kBytes };

// Every file of `from` in `to`; what is there stays. Links need the same disk, and are bytes where
// it is another. Files that go meanwhile are left out: nothing in the store says that they are
// there.
Result<void> copy_tree(const fs::path& from, const fs::path& to, Copying how) {
  std::error_code error;
  if (!fs::exists(from, error)) return {};
  for (auto at = fs::recursive_directory_iterator(from, error);
       !error && at != fs::recursive_directory_iterator(); at.increment(error)) {
    const fs::path place = to / fs::relative(at->path(), from);
    std::error_code failed;
    if (at->is_directory(failed)) {
      fs::create_directories(place, failed);
    } else {
      fs::create_directories(place.parent_path(), failed);
      if (how == Copying::kLinks) fs::create_hard_link(at->path(), place, failed);
      const bool needs_bytes = how == Copying::kBytes || failed == std::errc::cross_device_link ||
                               failed == std::errc::operation_not_permitted;
      if (needs_bytes) fs::copy_file(at->path(), place, failed);
    }
    const bool harmless = !failed || failed == std::errc::file_exists ||
                          failed == std::errc::no_such_file_or_directory;
    if (!harmless) return io_error("copy " + at->path().string(), failed);
  }
  if (error && error != std::errc::no_such_file_or_directory) {
    return io_error("read " + from.string(), error);
  }
  return {};
}

// Makes a whole folder survive power loss.
Result<void> sync_tree(const fs::path& folder) {
  std::error_code error;
  std::vector<fs::path> paths{folder};
  for (const auto& entry : fs::recursive_directory_iterator(folder, error)) {
    paths.push_back(entry.path());
  }
  for (const fs::path& path : paths) {
    const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    const bool synced = descriptor >= 0 && ::fsync(descriptor) == 0;
    const int reason = errno;
    if (descriptor >= 0) ::close(descriptor);
    if (!synced) return io_error("sync " + path.string(), {reason, std::generic_category()});
  }
  return {};
}

Result<std::string> head_of(const Store& store, Chain chain) {
  const auto head = chain_head(store, chain);
  if (!head) return head.error();
  return to_hex(*head);
}

std::string manifest_of(const BackupInfo& info) {
  return to_text({{"format", kFormat},
                  {"id", info.id},
                  {"created_at", info.created_at.time_since_epoch().count()},
                  {"usage_head", info.usage_head},
                  {"audit_head", info.audit_head}}) +
         "\n";
}

Result<BackupInfo> read_manifest(const fs::path& backup) {
  const auto text = read_file(backup / "manifest.json", kMaxManifestBytes);
  if (!text) return text.error();
  const Error corrupt{Code::kCorrupt, (backup / "manifest.json").string() + " cannot be read"};
  const auto json = parse_json(*text);
  if (!json || !json->is_object()) return corrupt;
  try {
    if (json->at("format") != kFormat) {
      return Error{Code::kCorrupt, "the backup has another format than this program's"};
    }
    return BackupInfo{.id = json->at("id"),
                      .created_at = WallTime(
                          std::chrono::microseconds(json->at("created_at").get<std::int64_t>())),
                      .usage_head = json->at("usage_head"),
                      .audit_head = json->at("audit_head")};
  } catch (const Json::exception&) {
    return corrupt;
  }
}

Result<void> make_room(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) return io_error("make " + folder.string(), error);
  std::size_t count = 0;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    if (entry.path().string().ends_with(kPartial)) {
      fs::remove_all(entry.path(), error);
    } else {
      ++count;
    }
  }
  if (count < kMaxBackups) return {};
  return Error{Code::kStorageQuotaExceeded,
               "There are " + std::to_string(count) + " backups; delete one first."};
}

// All parts but the manifest.
Result<void> copy_parts(const fs::path& data, Store& store, const fs::path& backup) {
  std::error_code error;
  fs::create_directories(backup / "files", error);
  if (error) return io_error("make " + backup.string(), error);
  // Before and after the store's instant, so that whatever it names is among them.
  if (auto copied = copy_tree(data / "files", backup / "files", Copying::kLinks); !copied)
    return copied;
  if (auto made = store.checkpoint(backup / "store"); !made) return made;
  if (auto copied = copy_tree(data / "files", backup / "files", Copying::kLinks); !copied)
    return copied;
  const auto peppers = read_file(data / "peppers", kMaxPepperBytes);
  if (!peppers) return peppers.error();
  return write_file_durably(backup / "peppers", *peppers, 0600);
}

Result<void> finish(const fs::path& partial, const fs::path& whole, BackupInfo& info) {
  {
    const auto store = open_rocks_store_read_only(partial / "store");
    if (!store) return store.error();
    const auto usage = head_of(**store, Chain::kUsage);
    if (!usage) return usage.error();
    const auto audit = head_of(**store, Chain::kAudit);
    if (!audit) return audit.error();
    info.usage_head = *usage;
    info.audit_head = *audit;
  }
  if (auto synced = sync_tree(partial); !synced) return synced;
  auto written = write_file_durably(partial / "manifest.json", manifest_of(info), 0600);
  if (!written) return written;
  std::error_code error;
  fs::rename(partial, whole, error);
  if (error) return io_error("name " + whole.string(), error);
  return sync_tree(whole.parent_path() / whole.filename());
}

Result<void> verify_chain_to(const Store& store, Chain chain, const std::string& head,
                             std::uint64_t& links) {
  const auto report = verify_chain(store, chain);
  if (!report) return report.error();
  links = report->num_links;
  const std::string name(to_string(chain));
  if (!report->holds()) return Error{Code::kCorrupt, "the chain of " + name + " records is broken"};
  if (to_hex(report->head) == head) return {};
  return Error{Code::kCorrupt, "the chain of " + name + " records ends elsewhere than it did"};
}

Result<void> verify_packages(const Store& store, BackupReport& report) {
  std::vector<PackageRef> packages;
  std::optional<Error> corrupt;
  auto scanned = store.scan(Family::kMeta, keys::all_versions(), "",
                            [&](std::string_view, std::string_view value) {
                              const auto version = parse_version_record(value);
                              if (!version) corrupt = version.error();
                              if (version && version->status == VersionStatus::kReady) {
                                packages.push_back(version->package);
                              }
                              return !corrupt;
                            });
  if (!scanned) return scanned;
  if (corrupt) return *corrupt;
  for (const PackageRef& package : packages) {
    const auto files = read_package(store, package);
    if (!files) return files.error();
    ++report.packages;
    report.package_bytes += package.config_bytes + package.tensors_bytes;
  }
  return {};
}

}  // namespace

Result<BackupInfo> make_backup(const fs::path& data, Store& store, WallTime now) {
  const fs::path folder = folder_of_backups(data);
  if (auto room = make_room(folder); !room) return room.error();
  BackupInfo info{.id = std::string(kIdPrefix) + new_ulid(now), .created_at = now};
  const fs::path whole = folder / info.id;
  const fs::path partial = whole.string() + std::string(kPartial);
  auto made = copy_parts(data, store, partial);
  if (made) made = finish(partial, whole, info);
  if (made) return info;
  std::error_code ignored;
  fs::remove_all(partial, ignored);
  return made.error();
}

Result<std::vector<BackupInfo>> list_backups(const fs::path& data) {
  std::vector<BackupInfo> backups;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder_of_backups(data), error)) {
    if (entry.path().string().ends_with(kPartial)) continue;
    auto info = read_manifest(entry.path());
    if (!info) return info.error();
    backups.push_back(*std::move(info));
  }
  std::ranges::sort(backups, {}, &BackupInfo::id);
  return backups;
}

Result<void> delete_backup(const fs::path& data, const std::string& id) {
  const auto backups = list_backups(data);
  if (!backups) return backups.error();
  // Only what is listed: an id from outside never becomes a path.
  if (std::ranges::find(*backups, id, &BackupInfo::id) == backups->end()) {
    return Error{Code::kNotFound, "There is no such backup."};
  }
  std::error_code error;
  fs::remove_all(folder_of_backups(data) / id, error);
  if (error) return io_error("delete " + id, error);
  return {};
}

Result<BackupReport> verify_backup(const fs::path& backup) {
  const auto info = read_manifest(backup);
  if (!info) return info.error();
  const auto store = open_rocks_store_read_only(backup / "store");
  if (!store) return store.error();
  BackupReport report;
  auto holds = verify_chain_to(**store, Chain::kUsage, info->usage_head, report.usage_links);
  if (holds) holds = verify_chain_to(**store, Chain::kAudit, info->audit_head, report.audit_links);
  if (holds) holds = verify_packages(**store, report);
  if (!holds) return holds.error();
  return report;
}

Result<void> restore_backup(const fs::path& backup, const fs::path& data) {
  std::error_code error;
  if (fs::exists(data, error) && !fs::is_empty(data, error)) {
    return Error{Code::kConflict, data.string() + " is not empty; name a new directory"};
  }
  for (const char* part : {"store", "files"}) {
    if (auto copied = copy_tree(backup / part, data / part, Copying::kBytes); !copied)
      return copied;
  }
  const auto peppers = read_file(backup / "peppers", kMaxPepperBytes);
  if (!peppers) return peppers.error();
  if (auto written = write_file_durably(data / "peppers", *peppers, 0600); !written) return written;
  return sync_tree(data);
}

}  // namespace tessera
