#include "engine/model/packed_writer.hpp"

#include <algorithm>
#include <array>
#include <cassert>
#include <cerrno>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <unistd.h>

namespace tessera::packed {
namespace {

constexpr std::size_t kWriteMax = std::size_t{1} << 30;  // of one system call

bool sync_directory(const std::filesystem::path& file) {
  const auto parent = file.parent_path();
  const int descriptor =
      ::open(parent.empty() ? "." : parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return false;
  const bool synced = ::fsync(descriptor) == 0;
  ::close(descriptor);
  return synced;
}

}  // namespace

Writer::Writer(std::filesystem::path destination, const ModelSpec& spec)
    : destination_(std::move(destination)),
      temporary_(destination_.string() + ".writing." + std::to_string(::getpid())),
      spec_(spec),
      expected_(sections_of(spec)) {}

Result<std::unique_ptr<Writer>> Writer::create(const std::filesystem::path& destination,
                                               const ModelSpec& spec) {
  std::unique_ptr<Writer> writer(new Writer(destination, spec));
  writer->descriptor_ =
      ::open(writer->temporary_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (writer->descriptor_ < 0) return writer->write_error();
  // The prologue's place; it is filled in last, so a file without one is not a packed model.
  const std::array<std::byte, sizeof(Prologue)> zeros{};
  if (auto written = writer->write(zeros); !written) return written.error();
  return writer;
}

Writer::~Writer() {
  if (descriptor_ < 0) return;
  ::close(descriptor_);
  ::unlink(temporary_.c_str());
}

Error Writer::write_error() const {
  const int number = errno;
  const bool full = number == ENOSPC || number == EDQUOT;
  return {full ? Code::kStorageFull : Code::kIo,
          "cannot write " + temporary_.string() + ": " + std::generic_category().message(number)};
}

Result<void> Writer::write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(descriptor_, bytes.data(), std::min(bytes.size(), kWriteMax));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return write_error();
    bytes = bytes.subspan(static_cast<std::size_t>(written));
    position_ += static_cast<std::size_t>(written);
  }
  return {};
}

Result<void> Writer::pad() {
  const std::array<std::byte, kAlignment> zeros{};
  const std::size_t rest = position_ % kAlignment;
  return write(std::span(zeros).first(rest == 0 ? 0 : kAlignment - rest));
}

Result<void> Writer::add(std::string_view name, std::span<const std::byte> bytes) {
  assert(placed_.size() < expected_.size());
  assert(name == expected_[placed_.size()].name);
  assert(bytes.size() == expected_[placed_.size()].bytes);
  if (auto padded = pad(); !padded) return padded;
  placed_.push_back({.name = std::string(name),
                     .bytes = bytes.size(),
                     .offset = position_,
                     .sha256 = sha256(bytes)});
  return write(bytes);
}

Result<void> Writer::add_matrix(const std::string& name, const Nf4Buffers& matrix) {
  auto added = add(name + ".codes", std::span<const std::uint8_t>(matrix.codes));
  if (added)
    added = add(name + ".absmax_codes", std::span<const std::uint8_t>(matrix.absmax_codes));
  if (added) added = add(name + ".absmax_scales", std::span<const float>(matrix.absmax_scales));
  if (added) added = add(name + ".absmax_offset", std::span<const float>(&matrix.offset, 1));
  return added;
}

Result<BaseDigest> Writer::finish(const ModelInfo& info) {
  assert(placed_.size() == expected_.size());
  if (auto padded = pad(); !padded) return padded.error();
  const BaseDigest digest = base_digest(spec_, placed_);
  const std::string header =
      header_text({.spec = spec_, .info = info, .digest = digest, .sections = placed_});
  Prologue prologue;
  prologue.header_offset = position_;
  prologue.header_bytes = header.size();
  prologue.file_bytes = position_ + header.size();
  prologue.header_sha256 = sha256(std::as_bytes(std::span(header)));

  if (auto written = write(std::as_bytes(std::span(header))); !written) return written.error();
  const bool whole = ::pwrite(descriptor_, &prologue, sizeof prologue, 0) == sizeof prologue &&
                     ::fsync(descriptor_) == 0 &&
                     ::rename(temporary_.c_str(), destination_.c_str()) == 0 &&
                     sync_directory(destination_);
  if (!whole) return write_error();
  ::close(std::exchange(descriptor_, -1));
  return digest;
}

}  // namespace tessera::packed
