#include "adapters/archive/package_archive.hpp"

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

#include <archive.h>
#include <archive_entry.h>

#include "adapters/archive/archive_names.hpp"
#include "adapters/archive/tar_stream.hpp"
#include "adapters/archive/zip_directory.hpp"

namespace tessera {
namespace {

using enum FindingCode;

Finding fault(FindingCode code, std::string_view path, std::string message) {
  return {.code = code, .subject = printable_name(path), .message = std::move(message)};
}

std::string_view text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

enum class Form : std::uint8_t { kZip, kTar, kPickle, kUnknown };

Form form_of(std::string_view archive) {
  using namespace std::string_view_literals;
  constexpr std::size_t kTarMagicAt = 257;
  if (archive.starts_with("PK\x03\x04"sv) || archive.starts_with("PK\x05\x06"sv)) return Form::kZip;
  if (is_pickle_magic(archive)) return Form::kPickle;
  if (archive.starts_with("\x1F\x8B"sv) || archive.starts_with("\x28\xB5\x2F\xFD"sv)) {
    return Form::kTar;
  }
  const bool is_tar = archive.size() >= 512 && archive.substr(kTarMagicAt, 5) == "ustar";
  return is_tar ? Form::kTar : Form::kUnknown;
}

// Takes the entries of an opened archive, one by one.
class Extraction {
 public:
  Extraction(archive* reader, std::uint64_t archive_bytes, const ArchiveSink& config,
             const ArchiveSink& tensors, const ArchiveLimits& limits)
      : reader_(reader),
        archive_bytes_(archive_bytes),
        config_(config),
        tensors_(tensors),
        limits_(limits) {}

  Checked<ExtractedPackage> run() {
    archive_entry* entry = nullptr;
    for (int count = 1;; ++count) {
      const int status = archive_read_next_header(reader_, &entry);
      if (status == ARCHIVE_EOF) break;
      if (status < ARCHIVE_WARN) return unreadable();
      if (count > limits_.max_entries) {
        return fault(
            kArchiveTooManyEntries, "",
            "The archive has more than " + std::to_string(limits_.max_entries) + " entries.");
      }
      if (auto found = take(entry)) return *found;
    }
    if (!has_config_ || !has_tensors_) {
      return fault(kArchiveMissingFile,
                   has_config_ ? "adapter_model.safetensors" : "adapter_config.json",
                   "The archive does not have this file.");
    }
    judge_vocabulary();
    if (bad_vocabulary_) return *bad_vocabulary_;
    return std::move(package_);
  }

 private:
  Finding unreadable() const {
    return fault(kArchiveUnreadable, "", "The archive is damaged, or of a kind that is not read.");
  }

  static std::optional<Finding> check_kind(archive_entry* entry, std::string_view path) {
    if (archive_entry_is_encrypted(entry) != 0) {
      return fault(kArchiveEncrypted, path, "Encrypted archives are not accepted.");
    }
    const auto type = archive_entry_filetype(entry);
    const bool is_link =
        archive_entry_hardlink(entry) != nullptr || archive_entry_symlink(entry) != nullptr;
    if (is_link || (type != AE_IFREG && type != AE_IFDIR)) {
      return fault(kArchiveBadEntry, path, "Only files and folders are accepted in an archive.");
    }
    if (archive_entry_sparse_count(entry) > 0) {
      return fault(kArchiveBadEntry, path, "Sparse files are not accepted in an archive.");
    }
    return std::nullopt;
  }

  std::optional<Finding> take(archive_entry* entry) {
    const char* const pathname = archive_entry_pathname(entry);
    if (pathname == nullptr) {
      return fault(kArchiveBadEntry, "", "An entry of the archive has no readable name.");
    }
    const std::string path = pathname;
    if (auto found = check_kind(entry, path)) return found;
    const auto named = names_.add(path, archive_entry_filetype(entry) == AE_IFDIR);
    if (!named) return named.error();
    switch (named->file) {
      case ArchiveFile::kFolder:
        return std::nullopt;
      case ArchiveFile::kConfig:
        has_config_ = true;
        return copy(path, limits_.max_config_bytes, config_);
      case ArchiveFile::kTensors:
        has_tensors_ = true;
        return copy(path, limits_.max_tensors_bytes, tensors_);
      case ArchiveFile::kTokenizer:
        return keep_tokenizer(named->name, path);
      case ArchiveFile::kChatTemplate:
        return keep(path, limits_.max_template_bytes, package_.chat_template);
      case ArchiveFile::kVocabulary:
        vocabulary_.push_back(named->name);
        return pass_over(named->name, path);
      case ArchiveFile::kIgnored:
        break;
    }
    return pass_over(named->name, path);
  }

  std::optional<Finding> keep(const std::string& path, std::uint64_t max_bytes,
                              std::string& content) {
    return copy(path, max_bytes, [&content](std::string_view bytes) {
      content.append(bytes);
      return true;
    });
  }

  std::optional<Finding> keep_tokenizer(const std::string& name, const std::string& path) {
    auto& file = package_.tokenizer.emplace_back();
    file.name = name;
    return keep(path, limits_.max_tokenizer_bytes, file.content);
  }

  std::optional<Finding> pass_over(const std::string& name, const std::string& path) {
    std::string first;
    const std::uint64_t left = limits_.max_ignored_bytes - ignored_bytes_;
    auto found = copy(path, left, [&](std::string_view bytes) {
      ignored_bytes_ += bytes.size();
      if (first.size() < 4) first += bytes.substr(0, 4 - first.size());
      return true;
    });
    if (found) return found;
    if (is_pickle_magic(first)) {
      return fault(kPickleNotAccepted, path,
                   "The file is a pickle, which can run code when it is read; leave it out.");
    }
    package_.warnings.push_back({.code = kIgnoredFile,
                                 .severity = Severity::kWarning,
                                 .subject = printable_name(name),
                                 .message = "The file is not used."});
    return std::nullopt;
  }

  // Hands the entry's bytes to `sink`, as they come.
  std::optional<Finding> copy(const std::string& path, std::uint64_t max_bytes,
                              const ArchiveSink& sink) {
    std::uint64_t taken = 0;
    while (true) {
      const void* block = nullptr;
      std::size_t size = 0;
      la_int64_t offset = 0;
      const int status = archive_read_data_block(reader_, &block, &size, &offset);
      if (status != ARCHIVE_EOF && status != ARCHIVE_OK) return unreadable();  // a checksum, too
      const bool at_end = status == ARCHIVE_EOF;
      const auto place = static_cast<std::uint64_t>(offset);
      if (offset < 0 || (at_end ? place > taken : place != taken)) {  // a hole, or one at the end
        return fault(kArchiveBadEntry, path, "Sparse files are not accepted in an archive.");
      }
      if (at_end) return std::nullopt;
      taken += size;
      written_ += size;
      if (taken > max_bytes) {
        return fault(kArchiveTooLarge, path,
                     "The file is longer than " + std::to_string(max_bytes) + " bytes.");
      }
      if (auto found = check_ratio(path)) return found;
      if (size > 0 && !sink({static_cast<const char*>(block), size})) {
        return fault(kValidationFailed, path, "The file could not be written.");
      }
    }
  }

  std::optional<Finding> check_ratio(const std::string& path) const {
    const bool is_small = written_ <= limits_.ratio_floor_bytes;
    if (is_small || written_ / limits_.max_ratio <= archive_bytes_) return std::nullopt;
    return fault(kArchiveRatioTooHigh, path,
                 "The archive expands to more than " + std::to_string(limits_.max_ratio) +
                     " times its size.");
  }

  // A vocabulary by itself is no file that can be compared: with tokenizer.json it may be left
  // aside, without it nobody knows whose tokens the adapter was trained with.
  void judge_vocabulary() {
    const bool has_tokenizer = std::ranges::any_of(
        package_.tokenizer, [](const auto& file) { return file.name == "tokenizer.json"; });
    if (vocabulary_.empty() || has_tokenizer) return;
    bad_vocabulary_ = fault(kFileNotAccepted, vocabulary_.front(),
                            "The vocabulary cannot be compared with the base's without a "
                            "tokenizer.json; add that, or leave the file out.");
  }

  archive* reader_;
  const std::uint64_t archive_bytes_;
  const ArchiveSink& config_;
  const ArchiveSink& tensors_;
  const ArchiveLimits& limits_;

  ArchiveNames names_;
  ExtractedPackage package_;
  std::vector<std::string> vocabulary_;
  std::optional<Finding> bad_vocabulary_;
  std::uint64_t written_ = 0;
  std::uint64_t ignored_bytes_ = 0;
  bool has_config_ = false;
  bool has_tensors_ = false;
};

using Reader = std::unique_ptr<archive, int (*)(archive*)>;

Reader new_reader() {
  return {archive_read_new(), archive_read_free};
}

Checked<ExtractedPackage> extract_zip(std::span<const std::byte> bytes, const ArchiveSink& config,
                                      const ArchiveSink& tensors, const ArchiveLimits& limits) {
  if (auto found = check_zip_directory(bytes, limits.max_entries)) return *found;
  const Reader reader = new_reader();
  archive_read_support_format_zip_seekable(reader.get());
  if (archive_read_open_memory(reader.get(), bytes.data(), bytes.size()) != ARCHIVE_OK) {
    return fault(kArchiveUnreadable, "", "The zip cannot be read.");
  }
  return Extraction(reader.get(), bytes.size(), config, tensors, limits).run();
}

Checked<ExtractedPackage> extract_tar(std::span<const std::byte> bytes, const ArchiveSink& config,
                                      const ArchiveSink& tensors, const ArchiveLimits& limits) {
  TarStream stream(bytes, limits);
  const Reader reader = new_reader();
  archive_read_support_format_tar(reader.get());
  auto package = [&]() -> Checked<ExtractedPackage> {
    if (!stream.open() || !stream.feed(reader.get())) {
      return fault(kArchiveUnreadable, "", "The archive is neither a tar nor a zip.");
    }
    return Extraction(reader.get(), bytes.size(), config, tensors, limits).run();
  }();
  if (stream.fault()) return *stream.fault();  // the reason why libarchive got no further
  if (!package) return package;
  const auto consumed = static_cast<std::uint64_t>(archive_filter_bytes(reader.get(), 0));
  if (auto found = stream.check_rest(consumed)) return *found;
  return package;
}

}  // namespace

Checked<ExtractedPackage> extract_package(std::span<const std::byte> bytes,
                                          const ArchiveSink& config, const ArchiveSink& tensors,
                                          const ArchiveLimits& limits) {
  switch (form_of(text_of(bytes))) {
    case Form::kZip:
      return extract_zip(bytes, config, tensors, limits);
    case Form::kTar:
      return extract_tar(bytes, config, tensors, limits);
    case Form::kPickle:
      return fault(kPickleNotAccepted, "",
                   "The file is a pickle, which can run code when it is read; save the adapter as "
                   "safetensors.");
    case Form::kUnknown:
      break;
  }
  return fault(kArchiveUnreadable, "", "The archive is no tar, tar.gz, tar.zst or zip.");
}

}  // namespace tessera
