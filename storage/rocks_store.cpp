// rocks_store.cpp — Store over RocksDB.
//
// Order of events in write(): under one mutex the expectations are checked and the batch is
// appended to the log, so no other batch comes between; the wait for the disk is outside, so
// writers share their syncs. A reader may see a batch that is not yet synced, but nobody was told
// of it, and whoever builds upon it syncs a log that holds both.
//
// What can wait does not delay a start, which reads everything: tables are merged from a while
// after the opening on, and what a log holds becomes a table at the end of a store that is closed
// in good order, not at the next opening.
//
// Large values do not go through the log, a memtable and its flush: ingest() writes them once, as a
// table that RocksDB takes over by a link. A crash before leaves a file that the next open removes.

#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdarg>
#include <cstdio>
#include <optional>
#include <stop_token>
#include <thread>
#include <utility>

#include <rocksdb/cache.h>
#include <rocksdb/convenience.h>
#include <rocksdb/db.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/listener.h>
#include <rocksdb/slice_transform.h>
#include <rocksdb/sst_file_writer.h>
#include <rocksdb/table.h>
#include <rocksdb/utilities/checkpoint.h>
#include <rocksdb/write_batch.h>

#include "storage/background.hpp"
#include "storage/keys.hpp"
#include "storage/last_moved.hpp"
#include "storage/log.hpp"
#include "storage/mutex.hpp"
#include "storage/store.hpp"

namespace tessera {
namespace {

constexpr std::array<std::string_view, kNumFamilies> kFamilyNames{"meta", "chunks", "ledger",
                                                                  "audit"};

constexpr std::size_t kTableBytes = std::size_t{16} << 20;  // that are worth a table of their own
constexpr std::string_view kIngestedFile = "ingest-";       // then a number: on its way in

constexpr std::size_t kCacheBytes = std::size_t{64} << 20;      // of uncompressed blocks
constexpr std::size_t kMetaBlockBytes = std::size_t{16} << 10;  // before compression
constexpr double kFilterBitsPerKey = 10.0;                      // a false alarm in a hundred
constexpr double kFilterShare = 0.02;                           // of a memtable, for its filter
constexpr std::size_t kMaxLogBytes = std::size_t{256} << 20;    // bounds the time of a restart
constexpr std::size_t kLogBytesLeft = std::size_t{1} << 20;  // that a closed store may still have
constexpr std::chrono::seconds kRestBeforeMerges{10};        // from the opening on

rocksdb::Slice slice(std::string_view bytes) {
  return {bytes.data(), bytes.size()};
}
std::string_view view(const rocksdb::Slice& bytes) {
  return {bytes.data(), bytes.size()};
}

Error error_from(const rocksdb::Status& status, std::string_view doing) {
  const std::string message = std::string(doing) + ": " + status.ToString();
  if (status.IsNoSpace()) return {Code::kStorageFull, message};
  if (status.IsCorruption()) return {Code::kCorrupt, message};
  return {Code::kIo, message};
}

// RocksDB's own words, warnings and worse, as lines of our log. Its usual log file lies beside the
// data, and Debian's build of RocksDB aborts when that file cannot be written: on a full disk.
class ForwardingLogger final : public rocksdb::Logger {
 public:
  ForwardingLogger() : Logger(rocksdb::WARN_LEVEL) {}

  using Logger::Logv;
  void Logv(const char*, va_list) override {}  // lines without a level say nothing of interest
  void Logv(rocksdb::InfoLogLevel level, const char* format, va_list arguments) override {
    if (level < GetInfoLogLevel() || level >= rocksdb::HEADER_LEVEL) return;
    char text[1000];
    std::vsnprintf(text, sizeof text, format, arguments);
    log(level == rocksdb::WARN_LEVEL ? LogLevel::kWarn : LogLevel::kError, "rocksdb",
        {{"message", text}});
  }
};

// Recovery from a full disk is ours: the next write tries again. RocksDB's own waits until there is
// room for a whole memtable, and while it waits nobody else may try.
//
// To write a memtable to a table, or to merge tables, is half a second of computing: the threads
// that do it, RocksDB's own, step back.
class Background final : public rocksdb::EventListener {
 public:
  void OnFlushBegin(rocksdb::DB*, const rocksdb::FlushJobInfo&) override { step_back(); }
  void OnCompactionBegin(rocksdb::DB*, const rocksdb::CompactionJobInfo&) override { step_back(); }

  void OnErrorRecoveryBegin(rocksdb::BackgroundErrorReason, rocksdb::Status,
                            bool* auto_recovery) override {
    *auto_recovery = false;
  }
};

rocksdb::DBOptions database_options() {
  rocksdb::DBOptions options;
  options.create_if_missing = true;
  options.create_missing_column_families = true;
  options.max_total_wal_size = kMaxLogBytes;
  options.max_open_files = 256;
  options.max_background_jobs = 2;
  options.info_log = std::make_shared<ForwardingLogger>();
  options.listeners.push_back(std::make_shared<Background>());
  // A torn tail is what a crash leaves; damage before it is lost data and must not pass in silence.
  options.wal_recovery_mode = rocksdb::WALRecoveryMode::kTolerateCorruptedTailRecords;
  return options;
}

rocksdb::ColumnFamilyOptions family_options(Family family,
                                            const std::shared_ptr<rocksdb::Cache>& cache) {
  rocksdb::BlockBasedTableOptions table;
  table.block_cache = cache;
  // The ledger asks of each request whether it is there already, and it never is.
  table.filter_policy.reset(rocksdb::NewBloomFilterPolicy(kFilterBitsPerKey));
  rocksdb::ColumnFamilyOptions options;
  options.disable_auto_compactions = true;  // until LateMerges
  // A start reads all of it, with a fixed cost for each block; who serves seldom reads any.
  if (family == Family::kMeta) table.block_size = kMetaBlockBytes;
  if (family == Family::kChunks) {
    // Weights do not compress, and the page cache holds them well enough.
    options.compression = rocksdb::kNoCompression;
    table.no_block_cache = true;
    table.block_cache = nullptr;
  }
  if (family == Family::kLedger) {
    // Keys of most kinds grow: each is looked for beside the last of its kind, not from the top.
    options.memtable_insert_with_hint_prefix_extractor.reset(rocksdb::NewFixedPrefixTransform(1));
    // Nor does that question go through the keys that were written lately.
    options.memtable_whole_key_filtering = true;
    options.memtable_prefix_bloom_size_ratio = kFilterShare;
    // What is merged again soon is not worth compressing.
    options.compression_per_level.assign(static_cast<std::size_t>(options.num_levels),
                                         options.compression);
    options.compression_per_level[0] = options.compression_per_level[1] = rocksdb::kNoCompression;
  }
  options.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  return options;
}

// The smallest string above every string that starts with `prefix`; empty if there is none.
std::string end_of(std::string_view prefix) {
  std::string end(prefix);
  while (!end.empty() && end.back() == '\xFF') end.pop_back();
  if (!end.empty()) end.back() = static_cast<char>(end.back() + 1);
  return end;
}

using Families = std::vector<rocksdb::ColumnFamilyHandle*>;  // RocksDB's default one comes first

// Has RocksDB merge tables when the store has been open for a while, if it still is.
class LateMerges {
 public:
  LateMerges(rocksdb::DB& database, const Families& families)
      : thread_([this, &database, &families](const std::stop_token& stop) {
          while (rest(stop) && !begin(database, families)) continue;
        }) {}

 private:
  // False if the store is closed.
  bool rest(const std::stop_token& stop) {
    const MutexLock lock(mutex_);
    changed_.wait_for(mutex_, stop, kRestBeforeMerges, [] { return false; });
    return !stop.stop_requested();
  }

  static bool begin(rocksdb::DB& database, const Families& families) {
    const auto status = database.EnableAutoCompaction(families);
    if (!status.ok()) log_warn("tables_not_merged", {{"reason", status.ToString()}});
    return status.ok();
  }

  Mutex mutex_;
  std::condition_variable_any changed_;
  std::jthread thread_;
};

class RocksStore final : public Store {
 public:
  RocksStore(std::unique_ptr<rocksdb::DB> database, Families families)
      : database_(std::move(database)), families_(std::move(families)) {}

  ~RocksStore() override {
    if (late_merges_) flush_large_logs();
    late_merges_.reset();
    for (auto* family : families_) database_->DestroyColumnFamilyHandle(family);
    database_->Close();
  }

  // For a store that is written to.
  void merge_later() { late_merges_.emplace(*database_, families_); }

  Result<std::optional<std::string>> get(Family family, std::string_view key) const override {
    std::string value;
    const auto status = database_->Get({}, handle(family), slice(key), &value);
    if (status.IsNotFound()) return std::optional<std::string>();
    if (!status.ok()) return error_from(status, "cannot read the store");
    return std::optional(std::move(value));
  }

  Result<void> scan(
      Family family, std::string_view prefix, std::string_view start,
      const std::function<bool(std::string_view, std::string_view)>& visit) const override {
    const std::string end = end_of(prefix);
    const rocksdb::Slice upper_bound = slice(end);
    rocksdb::ReadOptions options;
    options.fill_cache = prefix.size() > 1;  // all records of a kind are read once, at a start
    if (!end.empty()) options.iterate_upper_bound = &upper_bound;
    const std::unique_ptr<rocksdb::Iterator> at(database_->NewIterator(options, handle(family)));
    for (at->Seek(slice(std::max(prefix, start))); at->Valid(); at->Next()) {
      if (!visit(view(at->key()), view(at->value()))) break;
    }
    if (!at->status().ok()) return error_from(at->status(), "cannot scan the store");
    return {};
  }

  Result<void> write(const Batch& batch, Durability durability) override {
    if (auto appended = append(batch); !appended) return appended.error();
    return durability == Durability::kBuffered ? Result<void>() : sync();
  }

  Result<bool> write_at_once(const Batch& batch) override {
    rocksdb::WriteBatch changes = changes_of(batch);
    rocksdb::WriteOptions options;
    options.no_slowdown = true;
    if (!writer_.try_lock()) return false;
    const MutexLock lock(writer_, std::adopt_lock);
    return append(batch, changes, options);
  }

  Result<void> sync() override {
    const auto status = database_->SyncWAL();
    if (!status.ok()) return error_from(status, "cannot sync the store");
    return {};
  }

  Result<void> ingest(Family family, std::span<const Entry> entries) override {
    std::size_t bytes = 0;
    for (const Entry& entry : entries) bytes += entry.value.size();
    if (bytes < kTableBytes) return Store::ingest(family, entries);
    if (auto synced = sync(); !synced) return synced;
    const std::string path = (std::filesystem::path(database_->GetName()) /
                              (std::string(kIngestedFile) + std::to_string(next_ingested_++)))
                                 .string();
    auto status = write_table(path, family, entries);
    rocksdb::IngestExternalFileOptions options;
    options.move_files = true;
    if (status.ok()) status = database_->IngestExternalFile(handle(family), {path}, options);
    std::error_code ignored;
    std::filesystem::remove(path, ignored);  // RocksDB has a name of its own for it by now
    if (!status.ok()) return error_from(status, "cannot write to the store");
    return {};
  }

  void reclaim(Family family, std::string_view prefix) override {
    const std::string end = end_of(prefix);
    const rocksdb::Slice from = slice(prefix), to = slice(end);
    // Tables that hold nothing else; what fails here is left to compaction.
    rocksdb::DeleteFilesInRange(database_.get(), handle(family), &from, &to, false)
        .PermitUncheckedError();
  }

  Result<void> checkpoint(const std::filesystem::path& directory) override {
    rocksdb::Checkpoint* made = nullptr;
    auto status = rocksdb::Checkpoint::Create(database_.get(), &made);
    const std::unique_ptr<rocksdb::Checkpoint> owned(made);
    if (status.ok()) status = owned->CreateCheckpoint(directory.string());
    if (!status.ok()) return error_from(status, "cannot copy the store");
    return {};
  }

  // Marks a store that is new or of an older version with ours, unless it is only read; refuses one
  // of any other version.
  Result<void> check_format(bool may_write) {
    const std::string ours = std::to_string(keys::kFormatVersion);
    auto found = get(Family::kMeta, keys::format_version());
    if (!found) return found.error();
    if (*found == ours) return {};
    if (!*found || **found == std::to_string(keys::kOldestFormatVersion)) {
      if (!may_write && *found) return {};
      return write(Batch().put(Family::kMeta, keys::format_version(), ours), Durability::kSynced);
    }
    return Error{Code::kCorrupt,
                 "the store has format " + **found + ", this program reads " + ours};
  }

 private:
  // The next opening has to read what is left in the log again, and writes it to a table then. What
  // fails here is left to it.
  void flush_large_logs() {
    std::uint64_t bytes = 0;
    for (auto* family : families_) {
      std::uint64_t of_family = 0;
      database_->GetIntProperty(family, rocksdb::DB::Properties::kCurSizeAllMemTables, &of_family);
      bytes += of_family;
    }
    if (bytes <= kLogBytesLeft) return;
    rocksdb::FlushOptions options;
    options.allow_write_stall = true;  // nobody writes any more
    database_->Flush(options, families_).PermitUncheckedError();
  }

  rocksdb::ColumnFamilyHandle* handle(Family family) const {
    return families_[static_cast<std::size_t>(family) + 1];
  }

  rocksdb::Status write_table(const std::string& path, Family family,
                              std::span<const Entry> entries) const {
    rocksdb::SstFileWriter table(rocksdb::EnvOptions(), database_->GetOptions(handle(family)),
                                 handle(family));
    auto status = table.Open(path);
    for (const Entry& entry : entries) {
      if (!status.ok()) break;
      status = table.Put(slice(entry.key), slice(entry.value));
    }
    return status.ok() ? table.Finish() : status;
  }

  // About as many as the batch takes in the log, so that it is not copied as it grows.
  static std::size_t bytes_of(const Batch& batch) {
    constexpr std::size_t kOfEach = 16;
    std::size_t bytes = kOfEach;
    for (const auto& put : batch.puts) bytes += put.key.size() + put.value.size() + kOfEach;
    for (const auto& erase : batch.erases) bytes += erase.key.size() + kOfEach;
    return bytes;
  }

  rocksdb::WriteBatch changes_of(const Batch& batch) const {
    rocksdb::WriteBatch changes(bytes_of(batch));
    for (const auto& put : batch.puts) {
      changes.Put(handle(put.family), slice(put.key), slice(put.value));
    }
    for (const auto& erase : batch.erases) changes.Delete(handle(erase.family), slice(erase.key));
    return changes;
  }

  Result<bool> append(const Batch& batch) TESSERA_EXCLUDES(writer_) {
    rocksdb::WriteBatch changes = changes_of(batch);
    const MutexLock lock(writer_);
    return append(batch, changes, {});
  }

  // False if it would have to wait and the options say not to.
  Result<bool> append(const Batch& batch, rocksdb::WriteBatch& changes,
                      const rocksdb::WriteOptions& options) TESSERA_REQUIRES(writer_) {
    for (const auto& expected : batch.expectations) {
      if (auto held = check(expected); !held) return held.error();
    }
    auto status = database_->Write(options, &changes);
    if (options.no_slowdown && status.IsIncomplete()) return false;
    // After a failure, now or at any time before, RocksDB refuses writes until it is told to
    // resume.
    if (!status.ok() && database_->Resume().ok()) status = database_->Write({}, &changes);
    if (!status.ok()) {
      moved_.forget();
      return error_from(status, "cannot write to the store");
    }
    moved_.note_applied(batch);
    return true;
  }

  Result<void> check(const Batch::Expect& expected) const TESSERA_REQUIRES(writer_) {
    bool holds = false;
    if (const std::string* value = moved_.find(expected)) {
      holds = *value == expected.value;
    } else {
      const auto found = get(expected.family, expected.key);
      if (!found) return found.error();
      holds = *found == expected.value;
    }
    if (holds) return {};
    return Error{Code::kPreconditionFailed, "it was changed by someone else meanwhile"};
  }

  const std::unique_ptr<rocksdb::DB> database_;
  const Families families_;
  Mutex writer_;
  LastMoved moved_ TESSERA_GUARDED_BY(writer_);
  std::atomic<std::uint64_t> next_ingested_ = 0;
  std::optional<LateMerges> late_merges_;  // none: it is only read
};

// What a crash left on its way in.
void remove_unfinished_tables(const std::filesystem::path& directory) {
  std::error_code ignored;
  for (const auto& file : std::filesystem::directory_iterator(directory, ignored)) {
    if (file.path().filename().string().starts_with(kIngestedFile)) {
      std::filesystem::remove(file.path(), ignored);
    }
  }
}

std::vector<rocksdb::ColumnFamilyDescriptor> wanted_families() {
  const auto cache = rocksdb::NewLRUCache(kCacheBytes);
  std::vector<rocksdb::ColumnFamilyDescriptor> wanted{{rocksdb::kDefaultColumnFamilyName, {}}};
  for (std::size_t i = 0; i < kFamilyNames.size(); ++i) {
    wanted.emplace_back(std::string(kFamilyNames[i]),
                        family_options(static_cast<Family>(i), cache));
  }
  return wanted;
}

Error error_from_open(const rocksdb::Status& status, const std::filesystem::path& directory) {
  const std::string doing = "cannot open the store " + directory.string();
  const bool locked = status.IsIOError() && status.ToString().find("lock") != std::string::npos;
  return locked ? Error{Code::kIo, doing + ": another process has it open"}
                : error_from(status, doing);
}

}  // namespace

Result<std::unique_ptr<Store>> open_rocks_store(const std::filesystem::path& directory) {
  std::error_code made;
  std::filesystem::create_directories(directory, made);
  if (made) return Error{Code::kIo, "cannot make " + directory.string() + ": " + made.message()};

  rocksdb::DB* opened = nullptr;
  Families families;
  const auto status = rocksdb::DB::Open(database_options(), directory.string(), wanted_families(),
                                        &families, &opened);
  if (!status.ok()) return error_from_open(status, directory);

  remove_unfinished_tables(directory);
  auto store = std::make_unique<RocksStore>(std::unique_ptr<rocksdb::DB>(opened), families);
  store->merge_later();
  if (auto format = store->check_format(/*may_write=*/true); !format) return format.error();
  return store;
}

Result<std::unique_ptr<Store>> open_rocks_store_read_only(const std::filesystem::path& directory) {
  rocksdb::DBOptions options = database_options();
  options.create_if_missing = false;
  options.create_missing_column_families = false;
  options.max_open_files = -1;  // all at once: the other process may remove files later
  rocksdb::DB* opened = nullptr;
  Families families;
  const auto status = rocksdb::DB::OpenForReadOnly(options, directory.string(), wanted_families(),
                                                   &families, &opened);
  if (!status.ok()) return error_from_open(status, directory);

  auto store = std::make_unique<RocksStore>(std::unique_ptr<rocksdb::DB>(opened), families);
  if (auto format = store->check_format(/*may_write=*/false); !format) return format.error();
  return store;
}

}  // namespace tessera
