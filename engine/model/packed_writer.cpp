#include "engine/model/packed_writer.hpp"

#include <algorithm>
#include <array>
#include <cassert>
#include <cerrno>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <sys/file.h>
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

// Two runs may continue the same file, and must not at the same time; without a key, no one can.
std::string temporary_name(const std::filesystem::path& destination, const std::string& key) {
  return destination.string() +
         (key.empty() ? ".writing." + std::to_string(::getpid()) : std::string(".partial"));
}

std::span<const std::byte> bytes_at(const void* data, std::size_t size) {
  return {static_cast<const std::byte*>(data), size};
}

}  // namespace

Writer::Writer(std::filesystem::path destination, const ModelSpec& spec,
               const WriterOptions& options)
    : destination_(std::move(destination)),
      temporary_(temporary_name(destination_, options.key)),
      key_(options.key),
      journal_(temporary_.string() + ".journal"),
      parts_(planned_sections(spec)) {
  header_.spec = spec;
}

Result<std::unique_ptr<Writer>> Writer::create(const std::filesystem::path& destination,
                                               const ModelSpec& spec,
                                               const WriterOptions& options) {
  std::unique_ptr<Writer> writer(new Writer(destination, spec, options));
  if (auto opened = writer->open(options.restart); !opened) return opened.error();
  return writer;
}

Result<void> Writer::open(bool restart) {
  descriptor_ = ::open(temporary_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (descriptor_ < 0) return write_error();
  if (::flock(descriptor_, LOCK_EX | LOCK_NB) != 0) {
    ::close(std::exchange(descriptor_, -1));  // it is another's: neither cut nor remove it
    return Error{Code::kConflict, temporary_.string() + " is being written by another process"};
  }
  if (!key_.empty() && !restart) {
    if (auto resumed = resume(); !resumed) return resumed;
  }
  if (::ftruncate(descriptor_, static_cast<off_t>(position_)) != 0) return write_error();
  if (::lseek(descriptor_, static_cast<off_t>(position_), SEEK_SET) < 0) return write_error();
  if (position_ == 0) {
    // The prologue's place; it is filled in last, so a file without one is not a packed model.
    const std::array<std::byte, sizeof(Prologue)> zeros{};
    if (auto written = write(zeros); !written) return written;
    if (!key_.empty()) return journal_.start(key_, {});
  }
  return {};
}

// Takes over the parts that the journal tells of, up to the first that is not in the file as told.
Result<void> Writer::resume() {
  const std::vector<JournalEntry> entries = journal_.read(key_);
  if (entries.empty()) return {};
  auto file = MappedFile::open(temporary_);
  if (!file) return {};
  std::vector<JournalEntry> whole;
  for (const JournalEntry& entry : entries) {
    if (parts_done_ >= parts_.size() || !is_whole(entry, file->bytes())) break;
    for (const PlacedSection& section : entry.sections) {
      header_.sections.push_back(section);
      position_ = section.offset + section.bytes;
    }
    if (is_matrix(parts_[parts_done_])) header_.formats.push_back(entry.format);
    ++parts_done_;
    whole.push_back(entry);
  }
  if (whole.empty()) return {};
  return journal_.start(key_, whole);
}

bool Writer::is_whole(const JournalEntry& entry, std::span<const std::byte> file) const {
  const PlannedTensor& part = parts_[parts_done_];
  if (entry.part != part.section) return false;
  if (is_matrix(part) && !check_format(entry.format, part)) return false;
  const std::vector<Section> expected = sections_of(part, entry.format);
  if (entry.sections.size() != expected.size()) return false;
  std::size_t end = std::max(position_, sizeof(Prologue));
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const PlacedSection& section = entry.sections[i];
    const std::size_t begin = (end + kAlignment - 1) / kAlignment * kAlignment;
    if (section.name != expected[i].name || section.bytes != expected[i].bytes ||
        section.offset != begin || begin > file.size() || section.bytes > file.size() - begin) {
      return false;
    }
    if (sha256(file.subspan(begin, section.bytes)) != section.sha256) return false;
    end = begin + section.bytes;
  }
  return true;
}

Writer::~Writer() {
  if (descriptor_ < 0) return;
  ::close(descriptor_);
  if (keep_) return;
  ::unlink(temporary_.c_str());
  if (!key_.empty()) journal_.remove();
}

// The disk's trouble may pass, so what can be continued is kept.
Error Writer::write_error() {
  const int number = errno;
  const bool full = number == ENOSPC || number == EDQUOT;
  keep_ = !key_.empty() && parts_done_ > 0;
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

Result<void> Writer::add(const Section& section, std::span<const std::byte> bytes) {
  assert(bytes.size() == section.bytes);
  if (auto padded = pad(); !padded) return padded;
  header_.sections.push_back(
      {.name = section.name, .bytes = bytes.size(), .offset = position_, .sha256 = sha256(bytes)});
  return write(bytes);
}

Result<void> Writer::add_values(std::string_view name, std::span<const float> values) {
  assert(parts_done_ < parts_.size());
  const PlannedTensor& part = parts_[parts_done_];
  assert(part.section == name && !is_matrix(part));
  static_cast<void>(name);
  const std::size_t first = header_.sections.size();
  auto added = add(sections_of(part, {}).front(), std::as_bytes(values));
  if (added) added = finish_part({}, first);
  return added;
}

Result<void> Writer::add_matrix(std::string_view name, const WeightMatrix& matrix) {
  assert(parts_done_ < parts_.size());
  const PlannedTensor& part = parts_[parts_done_];
  assert(part.section == name && is_matrix(part));
  assert(part.rows == matrix.rows && part.cols == matrix.cols);
  static_cast<void>(name);
  const MatrixFormat format = format_of(matrix);
  assert(check_format(format, part));
  const std::size_t first = header_.sections.size();
  if (auto added = add_matrix_sections(sections_of(part, format), matrix); !added) return added;
  header_.formats.push_back(format);
  return finish_part(format, first);
}

Result<void> Writer::add_matrix_sections(const std::vector<Section>& sections,
                                         const WeightMatrix& matrix) {
  const std::array<std::pair<std::string_view, const void*>, 8> contents = {{
      {".codes", matrix.codes},
      {".scales", matrix.scales},
      {".absmax_codes", matrix.absmax_codes},
      {".absmax_scales", matrix.absmax_scales},
      {".absmax_offset", &matrix.absmax_offset},
      {".offsets", matrix.offsets},
      {".order", matrix.order},
      {"", matrix.bf16},  // whatever its name
  }};
  for (const Section& section : sections) {
    const auto* const found = std::ranges::find_if(
        contents, [&](const auto& content) { return section.name.ends_with(content.first); });
    if (auto added = add(section, bytes_at(found->second, section.bytes)); !added) return added;
  }
  return {};
}

Result<void> Writer::finish_part(const MatrixFormat& format, std::size_t first_section) {
  const std::string& name = parts_[parts_done_++].section;
  if (key_.empty()) return {};
  const auto first = header_.sections.begin() + static_cast<std::ptrdiff_t>(first_section);
  auto noted = journal_.append(
      {.part = name, .format = format, .sections = {first, header_.sections.end()}});
  if (!noted) keep_ = true;
  return noted;
}

Result<BaseDigest> Writer::finish(ModelInfo info) {
  assert(parts_done_ == parts_.size());
  if (auto padded = pad(); !padded) return padded.error();
  info.quantization = quantization_text(parts_, header_.formats);
  header_.info = std::move(info);
  header_.digest = base_digest(header_);
  const std::string header = header_text(header_);
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
  if (!key_.empty()) journal_.remove();
  return header_.digest;
}

}  // namespace tessera::packed
