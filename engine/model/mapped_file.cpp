#include "engine/model/mapped_file.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <string>
#include <system_error>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace tessera {
namespace {

constexpr std::size_t kPrefaultBytes = std::size_t{32} << 20;  // between two reports
#ifndef MADV_POPULATE_READ
constexpr int kPopulateRead = 22;  // Linux 5.14; an older kernel answers EINVAL
#else
constexpr int kPopulateRead = MADV_POPULATE_READ;
#endif

// One byte of each page, for kernels that cannot be told to read.
void touch(const std::byte* bytes, std::size_t num_bytes) {
  constexpr std::size_t kPage = 4096;
  for (std::size_t at = 0; at < num_bytes; at += kPage) {
    static_cast<void>(*static_cast<const volatile std::byte*>(bytes + at));
  }
}

Error open_error(int number, const std::filesystem::path& path) {
  return {number == ENOENT ? Code::kNotFound : Code::kIo,
          "cannot read " + path.string() + ": " + std::generic_category().message(number)};
}

}  // namespace

void MappedFile::Unmap::operator()(const std::byte* bytes) const {
  ::munmap(const_cast<std::byte*>(bytes), num_bytes);  // NOLINT: munmap's signature
}

Result<MappedFile> MappedFile::open(const std::filesystem::path& path) {
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
  void* mapping = ::mmap(nullptr, num_bytes, PROT_READ, MAP_PRIVATE, descriptor, 0);
  const int error = errno;
  ::close(descriptor);
  if (mapping == MAP_FAILED) return open_error(error, path);
  return MappedFile(static_cast<const std::byte*>(mapping), num_bytes);
}

void MappedFile::prefault(const ReadProgress& progress) const {
  const std::size_t total = bytes().size();
  for (std::size_t at = 0; at < total; at += kPrefaultBytes) {
    const std::size_t length = std::min(kPrefaultBytes, total - at);
    auto* const from = const_cast<std::byte*>(bytes_.get()) + at;  // NOLINT: madvise's signature
    if (::madvise(from, length, kPopulateRead) != 0) touch(from, length);
    if (progress) progress(at + length, total);
  }
}

void MappedFile::release(std::span<const std::byte> part) const {
  const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto begin = reinterpret_cast<std::uintptr_t>(part.data());
  const std::uintptr_t first = (begin + page - 1) / page * page;
  const std::uintptr_t last = (begin + part.size()) / page * page;
  if (first >= last) return;
  ::madvise(reinterpret_cast<void*>(first), last - first, MADV_DONTNEED);  // NOLINT: whole pages
}

}  // namespace tessera
