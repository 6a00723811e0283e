// backup.hpp — a copy of everything that is kept, made while the server runs, and its way back.
//
//   DATA/backups/<id>/manifest.json   written last: without it there is no backup
//                     store/          a RocksDB checkpoint: the store at one instant
//                     files/          tenants' files, as links to the same bytes
//                     peppers         without which no key opens anything; mode 0600
//
// The store's checkpoint is one instant of all of it: tenants, keys, adapters, ledger. Bytes on
// disk are linked, not copied, so a backup on the same disk costs little until what it holds is
// deleted; copy the folder elsewhere to survive the disk. What is a cache (packed pages) is left
// out.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "storage/clock.hpp"
#include "storage/result.hpp"
#include "storage/store.hpp"

namespace tessera {

inline constexpr std::size_t kMaxBackups = 32;  // kept in one data directory

struct BackupInfo {
  std::string id = {};  // "backup_" + ULID
  WallTime created_at = {};
  std::string usage_head = {};  // heads of the hash chains, in hex
  std::string audit_head = {};
};

// Makes a backup of `data`, whose open store is `store`. A crash leaves at most a folder that the
// next backup removes. Errors: kStorageQuotaExceeded if there are kMaxBackups; kStorageFull, kIo.
Result<BackupInfo> make_backup(const std::filesystem::path& data, Store& store, WallTime now);

// Oldest first. Errors: kIo, kCorrupt.
Result<std::vector<BackupInfo>> list_backups(const std::filesystem::path& data);
// Errors: kNotFound; kIo.
Result<void> delete_backup(const std::filesystem::path& data, const std::string& id);

struct BackupReport {
  std::uint64_t usage_links = 0;
  std::uint64_t audit_links = 0;
  std::uint64_t packages = 0;  // adapters' files, each read and compared with its digest
  std::uint64_t package_bytes = 0;
};

// Reads all of a backup: both chains hold and end where the manifest says, every adapter's bytes
// are those of their digest. Errors: kCorrupt, saying what is wrong; kIo.
Result<BackupReport> verify_backup(const std::filesystem::path& backup);

// Makes `data`, which must not be there or be empty, of a backup that verify_backup() has passed.
// All of it is on disk when this returns. Errors: kConflict, kStorageFull, kIo.
Result<void> restore_backup(const std::filesystem::path& backup, const std::filesystem::path& data);

}  // namespace tessera
