#include "storage/staged_file.hpp"

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <map>
#include <optional>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "storage/mutex.hpp"

namespace tessera {
namespace {

constexpr std::uint64_t kDiskCheckBytes = std::uint64_t{8} << 20;  // written between two looks
constexpr std::size_t kCopyBytes = std::size_t{1} << 20;
constexpr mode_t kMode = 0600;

Error error_from_errno(int number, const std::string& what) {
  const bool full = number == ENOSPC || number == EDQUOT;
  const Code code = full ? Code::kStorageFull : number == ENOENT ? Code::kNotFound : Code::kIo;
  return {code, what + ": " + std::generic_category().message(number)};
}

// What a client may read: no path.
Error full_error() {
  return {Code::kStorageFull, "There is no room for this upload now; try again later."};
}

// An open file that has no name of its own, or one that goes with it.
class OpenFile {
 public:
  OpenFile(int descriptor, std::filesystem::path name)
      : descriptor_(descriptor), name_(std::move(name)) {}
  ~OpenFile() {
    ::close(descriptor_);
    if (!name_.empty()) ::unlink(name_.c_str());
  }
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;

  int descriptor() const { return descriptor_; }

  // Gives it one more name.
  int link(const std::filesystem::path& path) const {
    if (!name_.empty()) return ::link(name_.c_str(), path.c_str());
    const std::string self = "/proc/self/fd/" + std::to_string(descriptor_);
    return ::linkat(AT_FDCWD, self.c_str(), AT_FDCWD, path.c_str(), AT_SYMLINK_FOLLOW);
  }

 private:
  const int descriptor_;
  const std::filesystem::path name_;  // empty: it has none, or is not ours to remove
};

using FilePointer = std::shared_ptr<const OpenFile>;

// Unnamed where the file system has such files.
Result<FilePointer> make_file(const std::filesystem::path& folder) {
  const int unnamed = ::open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, kMode);
  if (unnamed >= 0) return std::make_shared<const OpenFile>(unnamed, "");
  if (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL) {
    return error_from_errno(errno, "cannot stage a file");
  }
  std::string name = (folder / "XXXXXX").string();
  const int named = ::mkostemp(name.data(), O_CLOEXEC);
  if (named < 0) return error_from_errno(errno, "cannot stage a file");
  return std::make_shared<const OpenFile>(named, name);
}

// A second descriptor of the same file that cannot write.
Result<FilePointer> reopen_read_only(const FilePointer& file) {
  const std::string self = "/proc/self/fd/" + std::to_string(file->descriptor());
  const int descriptor = ::open(self.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return error_from_errno(errno, "cannot open a staged file");
  return std::make_shared<const OpenFile>(descriptor, "");
}

Result<void> sync_folder(const std::filesystem::path& folder) {
  const int descriptor = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return error_from_errno(errno, "cannot open a folder");
  const int synced = ::fsync(descriptor);
  const int number = errno;
  ::close(descriptor);
  if (synced != 0) return error_from_errno(number, "cannot sync a folder");
  return {};
}

// How many bytes there are, and whose.
class Tally {
 public:
  explicit Tally(const StagingLimits& limits) : limits_(limits) {}

  bool add(const std::string& owner, std::uint64_t bytes) {
    const MutexLock lock(mutex_);
    const auto found = by_owner_.find(owner);
    const std::uint64_t of_owner = found == by_owner_.end() ? 0 : found->second;
    if (bytes > limits_.max_bytes - total_) return false;
    if (bytes > limits_.max_bytes_of_owner - of_owner) return false;
    if (bytes == 0) return true;
    by_owner_[owner] = of_owner + bytes;
    total_ += bytes;
    return true;
  }
  void remove(const std::string& owner, std::uint64_t bytes) {
    if (bytes == 0) return;
    const MutexLock lock(mutex_);
    total_ -= bytes;
    const auto found = by_owner_.find(owner);
    found->second -= bytes;
    if (found->second == 0) by_owner_.erase(found);
  }
  std::uint64_t bytes() const {
    const MutexLock lock(mutex_);
    return total_;
  }
  std::uint64_t bytes_of(std::string_view owner) const {
    const MutexLock lock(mutex_);
    const auto found = by_owner_.find(owner);
    return found == by_owner_.end() ? 0 : found->second;
  }
  std::uint64_t reserve_bytes() const { return limits_.reserve_bytes; }

 private:
  const StagingLimits limits_;
  mutable Mutex mutex_;
  std::uint64_t total_ TESSERA_GUARDED_BY(mutex_) = 0;
  std::map<std::string, std::uint64_t, std::less<>> by_owner_ TESSERA_GUARDED_BY(mutex_);
};

// What one file has in the tally, for as long as it lives.
class Share {
 public:
  Share(std::shared_ptr<Tally> tally, std::string owner)
      : tally_(std::move(tally)), owner_(std::move(owner)) {}
  ~Share() { tally_->remove(owner_, bytes_); }
  Share(const Share&) = delete;
  Share& operator=(const Share&) = delete;

  bool add(std::uint64_t bytes) {
    if (!tally_->add(owner_, bytes)) return false;
    bytes_ += bytes;
    return true;
  }
  const Tally& tally() const { return *tally_; }

 private:
  const std::shared_ptr<Tally> tally_;
  const std::string owner_;
  std::uint64_t bytes_ = 0;
};

class DiskFile final : public StagedFile {
 public:
  DiskFile(FilePointer file, FilePointer readable, std::uint64_t size, const ContentDigest& sha256,
           std::unique_ptr<Share> share)
      : share_(std::move(share)),
        file_(std::move(file)),
        readable_(std::move(readable)),
        size_(size),
        sha256_(sha256) {}
  ~DiskFile() override {
    if (mapped_) ::munmap(mapped_, size_);
  }

  std::uint64_t size() const override { return size_; }
  const ContentDigest& sha256() const override { return sha256_; }
  int descriptor() const override { return readable_->descriptor(); }

  Result<std::string> read(std::uint64_t offset, std::size_t bytes) const override {
    const std::uint64_t there = offset < size_ ? size_ - offset : 0;
    std::string text(static_cast<std::size_t>(std::min<std::uint64_t>(bytes, there)), '\0');
    std::size_t done = 0;
    while (done < text.size()) {
      const ssize_t got = ::pread(descriptor(), text.data() + done, text.size() - done,
                                  static_cast<off_t>(offset + done));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return error_from_errno(errno, "cannot read a staged file");
      if (got == 0) return Error{Code::kCorrupt, "A staged file is shorter than it was."};
      done += static_cast<std::size_t>(got);
    }
    return text;
  }

  Result<std::span<const std::byte>> map() const override {
    if (size_ == 0) return std::span<const std::byte>();
    const MutexLock lock(mutex_);
    if (!mapped_) {
      void* const mapped = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, descriptor(), 0);
      if (mapped == MAP_FAILED) return error_from_errno(errno, "cannot map a staged file");
      mapped_ = mapped;
    }
    return std::span(static_cast<const std::byte*>(mapped_), size_);
  }

  Result<void> keep(const std::filesystem::path& path) const override {
    if (!file_) return Error{Code::kIo, "A kept file has its name already."};
    if (::fsync(file_->descriptor()) != 0) return error_from_errno(errno, "cannot sync a file");
    if (file_->link(path) != 0) return error_from_errno(errno, "cannot keep a file");
    auto synced = sync_folder(path.parent_path());
    if (!synced) ::unlink(path.c_str());
    return synced;
  }

 private:
  const std::unique_ptr<Share> share_;  // null: a kept file
  const FilePointer file_;              // null: a kept file
  const FilePointer readable_;
  const std::uint64_t size_;
  const ContentDigest sha256_;
  mutable Mutex mutex_;
  mutable void* mapped_ = nullptr;  // guarded by mutex_ until it is set
};

class DiskWriter final : public StagedWriter {
 public:
  DiskWriter(FilePointer file, std::unique_ptr<Share> share, std::uint64_t max_bytes)
      : file_(std::move(file)), share_(std::move(share)), max_bytes_(max_bytes) {}

  Result<void> append(std::string_view bytes) override {
    assert(!failed_);
    auto appended = try_append(bytes);
    if (!appended) failed_ = true;
    return appended;
  }
  std::uint64_t size() const override { return size_; }

  Result<std::shared_ptr<const StagedFile>> finish() override {
    assert(!failed_ && share_);
    auto readable = reopen_read_only(file_);
    if (!readable) return readable.error();
    return std::make_shared<const DiskFile>(std::move(file_), *std::move(readable), size_,
                                            ContentDigest{hash_.finish()}, std::move(share_));
  }

 private:
  Result<void> try_append(std::string_view bytes) {
    if (bytes.size() > max_bytes_ - size_) {
      return Error{Code::kPayloadTooLarge,
                   "The file is longer than " + std::to_string(max_bytes_) + " bytes."};
    }
    if (!share_->add(bytes.size())) return full_error();
    if (auto room = check_disk(bytes.size()); !room) return room;
    hash_.update(bytes);
    return write_all(bytes);
  }

  // Asks the disk before the first byte and then every kDiskCheckBytes, or whatever is about to be
  // written if that is more.
  Result<void> check_disk(std::uint64_t bytes) {
    if (share_->tally().reserve_bytes() == 0) return {};
    if (size_ + bytes <= room_until_) return {};
    const std::uint64_t ahead = std::max(bytes, kDiskCheckBytes);
    struct statvfs disk {};
    if (::fstatvfs(file_->descriptor(), &disk) != 0) {
      return error_from_errno(errno, "cannot ask for the disk's free bytes");
    }
    const std::uint64_t free = std::uint64_t{disk.f_bavail} * disk.f_frsize;
    if (free < share_->tally().reserve_bytes() + bytes) return full_error();
    room_until_ = size_ + ahead;
    return {};
  }

  Result<void> write_all(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t written = ::write(file_->descriptor(), bytes.data(), bytes.size());
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) {
        const Error error = error_from_errno(errno, "cannot write a staged file");
        return error.code == Code::kStorageFull ? full_error() : error;
      }
      bytes.remove_prefix(static_cast<std::size_t>(written));
      size_ += static_cast<std::uint64_t>(written);
    }
    return {};
  }

  FilePointer file_;
  std::unique_ptr<Share> share_;
  const std::uint64_t max_bytes_;
  std::uint64_t size_ = 0;
  std::uint64_t room_until_ = 0;  // the disk has had room for a file of this size
  Sha256 hash_;
  bool failed_ = false;
};

class DiskFolder final : public StagingFolder {
 public:
  DiskFolder(std::filesystem::path path, const StagingLimits& limits)
      : path_(std::move(path)), tally_(std::make_shared<Tally>(limits)) {}

  Result<std::unique_ptr<StagedWriter>> create(std::uint64_t max_bytes,
                                               std::string_view owner) override {
    auto file = make_file(path_);
    if (!file) return file.error();
    auto share = std::make_unique<Share>(tally_, std::string(owner));
    return std::unique_ptr<StagedWriter>(
        std::make_unique<DiskWriter>(*std::move(file), std::move(share), max_bytes));
  }

  Result<std::shared_ptr<const StagedFile>> join(
      std::span<const std::shared_ptr<const StagedFile>> parts, std::string_view owner) override {
    std::uint64_t total = 0;
    for (const auto& part : parts) total += part->size();
    auto writer = create(total, owner);
    if (!writer) return writer.error();
    for (const auto& part : parts) {
      for (std::uint64_t at = 0; at < part->size(); at += kCopyBytes) {
        const auto piece = part->read(at, kCopyBytes);
        if (!piece) return piece.error();
        if (auto appended = (*writer)->append(*piece); !appended) return appended.error();
      }
    }
    return (*writer)->finish();
  }

  std::uint64_t bytes() const override { return tally_->bytes(); }
  std::uint64_t bytes_of(std::string_view owner) const override { return tally_->bytes_of(owner); }

 private:
  const std::filesystem::path path_;
  const std::shared_ptr<Tally> tally_;  // outlives this as long as a file counts in it
};

}  // namespace

Result<std::unique_ptr<StagingFolder>> StagingFolder::open(const std::filesystem::path& path,
                                                           const StagingLimits& limits) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (!error) std::filesystem::permissions(path, std::filesystem::perms::owner_all, error);
  if (!error) {
    for (std::filesystem::directory_iterator it(path, error), end; !error && it != end;) {
      const std::filesystem::path left = it->path();
      it.increment(error);
      if (!error) std::filesystem::remove_all(left, error);
    }
  }
  if (!error) return std::make_unique<DiskFolder>(path, limits);
  return Error{Code::kIo, "Cannot use the folder " + path.string() + ": " + error.message() + "."};
}

Result<std::shared_ptr<const StagedFile>> open_kept_file(const std::filesystem::path& path,
                                                         const ContentDigest& sha256) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return error_from_errno(errno, "cannot open a kept file");
  auto file = std::make_shared<const OpenFile>(descriptor, "");
  struct stat status {};
  if (::fstat(descriptor, &status) != 0) {
    return error_from_errno(errno, "cannot ask for a kept file's size");
  }
  return std::make_shared<const DiskFile>(
      nullptr, std::move(file), static_cast<std::uint64_t>(status.st_size), sha256, nullptr);
}

}  // namespace tessera
