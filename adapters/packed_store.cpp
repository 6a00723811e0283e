#include "adapters/packed_store.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>
#include <string_view>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace tessera {
namespace {

constexpr std::string_view kDraftSuffix = ".new";

std::string_view suffix_of(PageType type) {
  return type == PageType::kF32 ? ".f32" : type == PageType::kBf16 ? ".bf16" : ".int8";
}

Error io_error(int number, const std::filesystem::path& path) {
  const bool full = number == ENOSPC || number == EDQUOT;
  const Code code = full ? Code::kStorageFull : number == ENOENT ? Code::kNotFound : Code::kIo;
  return {code, path.string() + ": " + std::generic_category().message(number)};
}

std::optional<AdapterDigest> digest_of(const std::filesystem::path& path) {
  const auto bytes = digest_from_hex(path.stem().string());
  if (!bytes) return std::nullopt;
  return AdapterDigest{*bytes};
}

class Descriptor {
 public:
  explicit Descriptor(int number) : number_(number) {}
  ~Descriptor() {
    if (number_ >= 0) ::close(number_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int number() const { return number_; }

 private:
  int number_;
};

bool equal_pages(const PackedAdapter& a, const PackedAdapter& b) {
  return a.bytes() == b.bytes() && std::memcmp(a.data().data(), b.data().data(), a.bytes()) == 0;
}

}  // namespace

PackedStore::Draft::Draft(Draft&& other) noexcept
    : descriptor_(std::exchange(other.descriptor_, -1)), path_(std::move(other.path_)) {}

PackedStore::Draft::~Draft() {
  if (descriptor_ < 0) return;
  ::close(descriptor_);
  if (!path_.empty()) ::unlink(path_.c_str());
}

PackedStore::PackedStore(Config config, PackedFormat format)
    : config_(std::move(config)),
      format_(std::move(format)),
      pool_(std::make_shared<PagePool>(config_.spare_bytes, config_.arena)) {}

Result<std::unique_ptr<PackedStore>> PackedStore::open(const Config& config, const BaseModel& base,
                                                       PageType type) {
  std::error_code error;
  std::filesystem::create_directories(config.folder, error);
  if (error) return io_error(error.value(), config.folder);
  std::unique_ptr<PackedStore> store(new PackedStore(config, PackedFormat(base, type)));
  if (auto scanned = store->scan(); !scanned) return scanned.error();
  return store;
}

// Files of another page type and strangers' files stay and are not counted.
Result<void> PackedStore::scan() {
  struct Found {
    AdapterDigest digest;
    std::uint64_t bytes;
    std::filesystem::file_time_type used;
  };
  std::vector<Found> found;
  std::error_code error;
  std::filesystem::directory_iterator entry(config_.folder, error);
  for (; !error && entry != std::filesystem::directory_iterator(); entry.increment(error)) {
    const std::filesystem::path& path = entry->path();
    if (path.extension() == kDraftSuffix) ::unlink(path.c_str());
    const auto digest = digest_of(path);
    if (!digest || path.extension() != suffix_of(format_.type)) continue;
    std::error_code gone;  // of a file that somebody else is deleting
    const auto bytes = entry->file_size(gone);
    const auto used = entry->last_write_time(gone);
    if (!gone) found.push_back({*digest, bytes, used});
  }
  if (error) return io_error(error.value(), config_.folder);
  std::ranges::sort(found, {}, &Found::used);
  MutexLock lock(mutex_);
  for (const Found& file : found) add(file.digest, file.bytes);
  return {};
}

std::filesystem::path PackedStore::path_of(const AdapterDigest& digest) const {
  return config_.folder / (to_hex(digest) + std::string(suffix_of(format_.type)));
}

Result<std::shared_ptr<const PackedAdapter>> PackedStore::read(const AdapterDigest& digest) {
  const auto path = path_of(digest);
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.number() < 0) return io_error(errno, path);
  auto adapter = read_packed_file(file.number(), digest, format_, pool_);
  if (adapter) {
    touch(digest);
  } else if (adapter.error().code == Code::kCorrupt) {
    remove(digest);
    MutexLock lock(mutex_);
    ++stats_.rebuilds;
  }
  return adapter;
}

void PackedStore::touch(const AdapterDigest& digest) {
  ::utimensat(AT_FDCWD, path_of(digest).c_str(), nullptr, 0);  // a hint: may fail
  MutexLock lock(mutex_);
  const auto file = files_.find(digest);
  if (file != files_.end()) by_use_.splice(by_use_.end(), by_use_, file->second.place);
}

Result<PackedStore::Draft> PackedStore::draft() {
  std::filesystem::path path;
  {
    MutexLock lock(mutex_);
    path = config_.folder / (std::to_string(next_draft_++) + std::string(kDraftSuffix));
  }
  const int descriptor = ::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (descriptor < 0) return io_error(errno, path);
  return Draft(descriptor, std::move(path));
}

Result<void> PackedStore::write(const AdapterDigest& digest, const PackedAdapter& adapter) {
  auto draft = this->draft();
  if (!draft) return draft.error();
  const PackedIdentity identity{.digest = digest, .base = format_.base};
  auto written = write_packed_file(draft->descriptor(), adapter, identity);
  if (!written) return written;
  auto put = put_in_place(*draft, digest, packed_file_bytes(adapter));
  if (!put && put.error().code == Code::kConflict) return {};  // another loader was faster
  return put;
}

Result<std::shared_ptr<const PackedAdapter>> PackedStore::publish(Draft draft,
                                                                  const AdapterDigest& digest) {
  auto adapter = read_packed_file(draft.descriptor(), digest, format_, pool_);
  if (!adapter) return adapter;
  auto put = put_in_place(draft, digest, packed_file_bytes(**adapter));
  if (!put && put.error().code == Code::kConflict) {
    const auto present = read(digest);
    if (present && equal_pages(**present, **adapter)) return present;
    if (present) return put.error();
    put = put_in_place(draft, digest, packed_file_bytes(**adapter));  // that was not good, and went
  }
  if (!put) return put.error();
  return adapter;
}

// By a link, which never replaces a file that is there; the draft's own name goes with the draft.
Result<void> PackedStore::put_in_place(Draft& draft, const AdapterDigest& digest,
                                       std::uint64_t bytes) {
  const auto path = path_of(digest);
  const Error taken{Code::kConflict, "the adapter " + to_hex(digest) + " has packed pages already"};
  MutexLock lock(mutex_);
  if (files_.contains(digest)) return taken;
  if (bytes > config_.max_bytes) return {};  // it would push out all others and itself
  while (!by_use_.empty() && stats_.bytes + bytes > config_.max_bytes) {
    const AdapterDigest oldest = by_use_.front();
    ::unlink(path_of(oldest).c_str());
    drop(oldest);
    ++stats_.evictions;
  }
  if (::link(draft.path_.c_str(), path.c_str()) != 0) {
    return errno == EEXIST ? taken : io_error(errno, path);
  }
  add(digest, bytes);
  return {};
}

void PackedStore::remove(const AdapterDigest& digest) {
  MutexLock lock(mutex_);
  ::unlink(path_of(digest).c_str());
  drop(digest);
}

void PackedStore::add(const AdapterDigest& digest, std::uint64_t bytes) {
  files_.emplace(digest, File{bytes, by_use_.insert(by_use_.end(), digest)});
  stats_.bytes += bytes;
  ++stats_.files;
}

void PackedStore::drop(const AdapterDigest& digest) {
  const auto file = files_.find(digest);
  if (file == files_.end()) return;
  stats_.bytes -= file->second.bytes;
  --stats_.files;
  by_use_.erase(file->second.place);
  files_.erase(file);
}

PackedStore::Stats PackedStore::stats() const {
  MutexLock lock(mutex_);
  return stats_;
}

}  // namespace tessera
