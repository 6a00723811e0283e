#include "storage/durable_file.hpp"

#include <cerrno>
#include <system_error>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace tessera {
namespace {

Error error_from_errno(int number, const std::string& what, const std::filesystem::path& path) {
  const bool full = number == ENOSPC || number == EDQUOT;
  const Code code = full ? Code::kStorageFull : number == ENOENT ? Code::kNotFound : Code::kIo;
  return {code, what + " " + path.string() + ": " + std::generic_category().message(number)};
}

// A file descriptor that closes itself.
class File {
 public:
  File(const std::filesystem::path& path, int flags, mode_t mode = 0)
      : descriptor_(::open(path.c_str(), flags | O_CLOEXEC, mode)) {}
  ~File() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  bool is_open() const { return descriptor_ >= 0; }
  int descriptor() const { return descriptor_; }

 private:
  int descriptor_;
};

bool write_all(int descriptor, std::string_view content) {
  while (!content.empty()) {
    const ssize_t written = ::write(descriptor, content.data(), content.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return false;
    content.remove_prefix(static_cast<std::size_t>(written));
  }
  return true;
}

// Writes and syncs `content` under a name of its own. The mode is set at once and again, because
// the umask may have taken bits away.
Result<void> write_whole(const std::filesystem::path& path, std::string_view content, mode_t mode) {
  const File file(path, O_WRONLY | O_CREAT | O_TRUNC, mode);
  if (!file.is_open()) return error_from_errno(errno, "cannot create", path);
  if (::fchmod(file.descriptor(), mode) != 0 || !write_all(file.descriptor(), content) ||
      ::fsync(file.descriptor()) != 0) {
    return error_from_errno(errno, "cannot write", path);
  }
  return {};
}

Result<void> sync_directory(const std::filesystem::path& directory) {
  const File file(directory, O_RDONLY | O_DIRECTORY);
  if (!file.is_open() || ::fsync(file.descriptor()) != 0) {
    return error_from_errno(errno, "cannot sync", directory);
  }
  return {};
}

}  // namespace

Result<void> write_file_durably(const std::filesystem::path& path, std::string_view content,
                                mode_t mode) {
  const std::filesystem::path temporary = path.string() + ".new";
  auto written = write_whole(temporary, content, mode);
  if (written && ::rename(temporary.c_str(), path.c_str()) != 0) {
    written = error_from_errno(errno, "cannot rename to", path);
  }
  if (!written) {
    ::unlink(temporary.c_str());
    return written;
  }
  const auto directory = path.parent_path();
  return sync_directory(directory.empty() ? "." : directory);
}

Result<std::string> read_file(const std::filesystem::path& path, std::size_t max_bytes) {
  const File file(path, O_RDONLY);
  if (!file.is_open()) return error_from_errno(errno, "cannot open", path);
  std::string content;
  for (char buffer[4096];;) {
    const ssize_t got = ::read(file.descriptor(), buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return error_from_errno(errno, "cannot read", path);
    if (got == 0) return content;
    content.append(buffer, static_cast<std::size_t>(got));
    if (content.size() > max_bytes) {
      return Error{Code::kPayloadTooLarge,
                   path.string() + " is longer than " + std::to_string(max_bytes) + " bytes"};
    }
  }
}

}  // namespace tessera
