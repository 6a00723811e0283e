#include "engine/model/mapped_file.hpp"

#include <cerrno>
#include <string>
#include <system_error>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace tessera {
namespace {

Error open_error(int number, const std::filesystem::path& path) {
  return {number == ENOENT ? Code::kNotFound : Code::kIo,
          "cannot read " + path.string() + ": " + std::generic_category().message(number)};
}

}  // namespace

void MappedFile::Unmap::operator()(const std::byte* bytes) const {
  ::munmap(const_cast<std::byte*>(bytes), num_bytes);  // NOLINT: munmap's signature
}

Result<MappedFile> MappedFile::open(const std::filesystem::path& path, bool prefault) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return open_error(errno, path);
  struct stat status {};
  if (::fstat(descriptor, &status) != 0 || !S_ISREG(status.st_mode)) {
    ::close(descriptor);
    return Error{Code::kIo, path.string() + " is not a regular file"};
  }
  const auto num_bytes = static_cast<std::size_t>(status.st_size);
  if (num_bytes == 0) {
    ::close(descriptor);
    return MappedFile(nullptr, 0);
  }
  const int flags = MAP_PRIVATE | (prefault ? MAP_POPULATE : 0);
  void* mapping = ::mmap(nullptr, num_bytes, PROT_READ, flags, descriptor, 0);
  const int error = errno;
  ::close(descriptor);
  if (mapping == MAP_FAILED) return open_error(error, path);
  return MappedFile(static_cast<const std::byte*>(mapping), num_bytes);
}

}  // namespace tessera
