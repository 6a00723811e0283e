// backup_command.cpp — `tessera backup` and `tessera restore`.
#include <cstdio>
#include <filesystem>

#include <nlohmann/json.hpp>

#include "gateway/admin/backup.hpp"
#include "gateway/cli/commands.hpp"
#include "gateway/cli/options.hpp"
#include "gateway/cli/remote.hpp"
#include "storage/json.hpp"

namespace tessera {
namespace {

using Json = nlohmann::ordered_json;
using Arguments = std::vector<std::string>;

constexpr const char* kBackups = "/admin/v1/backups";

constexpr char kRestoreHelp[] = R"(Makes a data directory of a backup, after reading all of it.

Usage: tessera restore --from BACKUP --data DIR [OPTIONS]
       tessera restore --from BACKUP --verify

BACKUP is a folder that `tessera backup create` made, here or copied from elsewhere. It is verified
first: both hash chains hold and end where they did, every adapter's bytes are those of its digest.
DIR must be new or empty. The backup stays as it is. Exits with 1 if anything is wrong.

Options:
)";

void print_backups(const Remote& remote, const Json& backups) {
  print_objects(remote, backups, {"ID", "CREATED", "PATH"}, [](const Json& backup) {
    return Arguments{cell_text(backup["id"]), time_text(backup["created_at"]),
                     cell_text(backup["path"])};
  });
}

Result<void> print_answer(const Remote& remote, const Result<Json>& answer) {
  if (!answer) return answer.error();
  print_backups(remote, *answer);
  return {};
}

struct RestoreOptions {
  std::string from;
  std::string data;
  bool verify = false;
  bool json = false;
};

void print_report(const BackupReport& report, bool json) {
  if (json) {
    std::printf("%s\n", to_text({{"usage_links", report.usage_links},
                                 {"audit_links", report.audit_links},
                                 {"packages", report.packages},
                                 {"package_bytes", report.package_bytes}})
                            .c_str());
    return;
  }
  std::printf("verified: %llu usage records, %llu audit records, %llu adapters (%s)\n",
              static_cast<unsigned long long>(report.usage_links),
              static_cast<unsigned long long>(report.audit_links),
              static_cast<unsigned long long>(report.packages),
              human_bytes(static_cast<double>(report.package_bytes)).c_str());
}

int restore(const RestoreOptions& options) {
  const auto report = verify_backup(options.from);
  if (!report) return failure("This backup cannot be used: " + report.error().message + ".");
  print_report(*report, options.json);
  if (options.verify) return kExitDone;
  if (auto restored = restore_backup(options.from, options.data); !restored) {
    return failure(restored.error().message);
  }
  if (!options.json) {
    std::printf("restored to %s; its admin keys are those of the backup\n", options.data.c_str());
  }
  return kExitDone;
}

}  // namespace

int backup_command(std::span<const std::string> arguments) {
  const RemoteCommand command = {
      .name = "backup",
      .summary = "Makes, lists and deletes backups of a running server, in its data directory.",
      .actions = {{"create", "", "make one", 0, 0,
                   [](const Remote& remote, const Arguments&) {
                     return print_answer(remote, remote.post(kBackups, Json::object()));
                   }},
                  {"list", "", "every backup", 0, 0,
                   [](const Remote& remote, const Arguments&) {
                     return print_answer(remote, remote.list(kBackups));
                   }},
                  {"delete", "BACKUP", "remove one", 1, 1,
                   [](const Remote& remote, const Arguments& names) -> Result<void> {
                     const auto deleted =
                         remote.remove(std::string(kBackups) + "/" + percent_encoded(names[0]));
                     if (!deleted) return deleted.error();
                     std::printf("deleted %s\n", names[0].c_str());
                     return {};
                   }}},
      .notes =
          "A backup is a folder in DATA/backups: copy it to another disk, and read\n"
          "`tessera restore --help` for its way back.\n"};
  return run_remote_command(command, arguments);
}

int restore_command(std::span<const std::string> arguments) {
  RestoreOptions options;
  bool help = false;
  const std::vector<Option> known = {
      text_option("--from", "BACKUP", "the backup's folder", options.from),
      text_option("--data", "DIR", "the data directory to make", options.data),
      switch_option("--verify", "only read and verify the backup", options.verify),
      switch_option("--json", "what was verified, as one JSON object", options.json),
      switch_option("--help", "show this", help)};
  const auto rest = parse_options(arguments, known);
  if (!rest) return usage_error("restore", rest.error().message);
  if (help) {
    std::printf("%s%s", kRestoreHelp, describe_options(known).c_str());
    return kExitDone;
  }
  if (!rest->empty()) return usage_error("restore", "Not an option: " + rest->front() + ".");
  if (options.from.empty()) return usage_error("restore", "--from BACKUP is needed.");
  if (options.data.empty() != options.verify) {
    return usage_error("restore", "Give --data DIR, or --verify.");
  }
  return restore(options);
}

}  // namespace tessera
