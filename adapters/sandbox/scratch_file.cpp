#include "adapters/sandbox/scratch_file.hpp"

#include <cerrno>
#include <cstring>
#include <string>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

namespace tessera {
namespace {

Error failed(const std::string& what) {
  return {Code::kIo, what + ": " + std::strerror(errno) + "."};
}

int make_and_unlink(const std::filesystem::path& folder) {
  std::string path = (folder / "extracted-XXXXXX").string();
  const int descriptor = ::mkostemp(path.data(), O_CLOEXEC);
  if (descriptor >= 0) ::unlink(path.c_str());
  return descriptor;
}

}  // namespace

Result<ScratchFile> ScratchFile::in_folder(const std::filesystem::path& folder) {
  int descriptor = ::open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (descriptor < 0) descriptor = make_and_unlink(folder);
  if (descriptor < 0) return failed("A file for an archive's content cannot be made");
  return ScratchFile(descriptor);
}

Result<ScratchFile> ScratchFile::in_memory(std::span<const std::byte> bytes) {
  ScratchFile file(::memfd_create("package", MFD_CLOEXEC));
  if (file.descriptor() < 0) return failed("A file in memory cannot be made");
  while (!bytes.empty()) {
    const ssize_t written = ::write(file.descriptor(), bytes.data(), bytes.size());
    if (written < 0) return failed("A file in memory cannot be written");
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
  return file;
}

ScratchFile::~ScratchFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

}  // namespace tessera
