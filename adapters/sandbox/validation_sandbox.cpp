#include "adapters/sandbox/validation_sandbox.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "adapters/archive/package_archive.hpp"
#include "adapters/host_cache.hpp"
#include "adapters/sandbox/scratch_file.hpp"
#include "adapters/sandbox/validation_child.hpp"
#include "storage/log.hpp"

namespace tessera {
namespace {

Error failed(const std::string& what) {
  return {Code::kIo, what + ": " + std::strerror(errno) + "."};
}

PackageVerdict validation_failed(std::string why) {
  PackageVerdict verdict;
  verdict.report.findings.push_back(
      {.code = FindingCode::kValidationFailed,
       .message = "The package could not be validated: " + std::move(why) + "."});
  return verdict;
}

// Gives the child's numbers to the files that it is handed.
class Handover {
 public:
  int give(int descriptor) {
    if (descriptor < 0) return -1;
    descriptors_.push_back(descriptor);
    return kChildFirstDescriptor + static_cast<int>(descriptors_.size()) - 1;
  }
  PackageDescriptors give(const PackageDescriptors& files) {
    PackageDescriptors given{.config = give(files.config),
                             .tensors = give(files.tensors),
                             .archive = give(files.archive),
                             .packed = give(files.packed)};
    for (const auto& file : files.tokenizer) {
      given.tokenizer.push_back({file.name, give(file.descriptor)});
    }
    return given;
  }
  const std::vector<int>& descriptors() const { return descriptors_; }

 private:
  std::vector<int> descriptors_;
};

}  // namespace

ValidationSandbox::ValidationSandbox(Config config, int model)
    : config_(std::move(config)), model_(model) {
  struct stat status {};
  if (model_ >= 0 && ::fstat(model_, &status) == 0) {
    model_bytes_ = static_cast<std::uint64_t>(status.st_size);
  }
}

ValidationSandbox::~ValidationSandbox() {
  if (model_ >= 0) ::close(model_);
}

Result<std::unique_ptr<ValidationSandbox>> ValidationSandbox::open(Config config) {
  int model = -1;
  if (!config.program.empty()) {
    model = ::open(config.model.c_str(), O_RDONLY | O_CLOEXEC);
    if (model < 0) return failed("The model cannot be opened for validation");
  }
  std::unique_ptr<ValidationSandbox> sandbox(new ValidationSandbox(std::move(config), model));
  if (!sandbox->is_separate()) return sandbox;
  if (auto tried = sandbox->try_confinement(); !tried) return tried.error();
  return sandbox;
}

// Whether a child comes as far as giving up its rights, which some containers do not allow.
Result<void> ValidationSandbox::try_confinement() const {
  ValidationJob job{.parent_pid = ::getpid(), .only_confine = true};
  job.confinement.address_space_bytes = std::uint64_t{1} << 30;
  const auto end = run_child({.program = config_.program,
                              .arguments = {std::string(kValidationChildArgument), to_text(job)},
                              .descriptors = {},
                              .deadline = std::chrono::seconds(30),
                              .max_answer_bytes = kMaxVerdictBytes});
  if (!end) return end.error();
  const auto verdict = parse_verdict(end->answer);
  const bool answered = end->how == ChildEnd::How::kExited && end->status == 0 && verdict &&
                        verdict->report.findings.size() == 1;
  if (!answered) {
    return Error{Code::kIo,
                 "A process for validation did not come to its end: " + describe(*end) + "."};
  }
  const std::string& fault = verdict->report.findings.front().message;
  if (!fault.empty()) return Error{Code::kIo, fault};
  return {};
}

// What the child may map, by what it may have to read.
std::uint64_t ValidationSandbox::address_space(std::uint64_t tensors,
                                               std::uint64_t tokenizer) const {
  constexpr std::uint64_t kProgram = std::uint64_t{512} << 20;
  constexpr std::uint64_t kTimesTensors = 8;     // mapped, twice in fp32 from 16 bits, and packed
  constexpr std::uint64_t kTimesTokenizer = 40;  // a JSON tree of many small values, twice
  return kProgram + 2 * model_bytes_ + kTimesTensors * tensors + kTimesTokenizer * tokenizer;
}

std::uint64_t ValidationSandbox::address_space(const StagedPackage& package) const {
  const ArchiveLimits archive;
  const std::uint64_t tensors =
      package.archive
          ? std::min(config_.limits.max_tensors_bytes,
                     package.archive->size() * archive.max_ratio + archive.ratio_floor_bytes)
          : package.tensors->size();
  std::uint64_t tokenizer = package.archive ? config_.limits.max_tokenizer_bytes : 0;
  for (const auto& file : package.tokenizer) tokenizer += file.file->size();
  return address_space(tensors, tokenizer);
}

Result<PackageVerdict> ValidationSandbox::judge_in_child(const PackageDescriptors& files,
                                                         std::uint64_t address_space) const {
  Handover handover;
  ValidationJob job{.parent_pid = ::getpid(),
                    .base_digest = to_hex(config_.context.base.digest),
                    .base_aliases = config_.base_aliases,
                    .files = handover.give(files),
                    .model = handover.give(model_),
                    .page_type = config_.context.page_type,
                    .limits = config_.limits,
                    .misbehaviour = config_.misbehaviour};
  job.confinement = {
      .cpu_seconds = config_.cpu_seconds,
      .address_space_bytes = address_space,
      .file_bytes = std::max(config_.limits.max_tensors_bytes, config_.limits.max_packed_bytes) +
                    (std::uint64_t{1} << 20)};
  const auto end = run_child({.program = config_.program,
                              .arguments = {std::string(kValidationChildArgument), to_text(job)},
                              .descriptors = handover.descriptors(),
                              .deadline = config_.deadline,
                              .max_answer_bytes = kMaxVerdictBytes});
  if (!end) return end.error();
  if (end->how != ChildEnd::How::kExited || end->status != 0) {
    log_error("validation_failed", {{"reason", describe(*end)}});
    return validation_failed(describe(*end));
  }
  auto verdict = parse_verdict(end->answer);
  if (verdict) return verdict;
  log_error("validation_failed", {{"reason", verdict.error().message}});
  return validation_failed("its answer cannot be read");
}

Result<PackageVerdict> ValidationSandbox::judge(const PackageDescriptors& files,
                                                std::uint64_t address_space) const {
  if (is_separate()) return judge_in_child(files, address_space);
  return validate_package(files, config_.context, config_.limits);
}

// What a child has written, as a file that is counted, hashed and its owner's like any other.
Result<StagedPackage::File> ValidationSandbox::stage(int descriptor, std::uint64_t max_bytes,
                                                     std::string_view owner) const {
  constexpr std::size_t kPiece = std::size_t{1} << 20;
  auto writer = config_.staging->create(max_bytes, owner);
  if (!writer) return writer.error();
  std::string piece(kPiece, '\0');
  for (std::uint64_t offset = 0;;) {
    const ssize_t size = ::pread(descriptor, piece.data(), kPiece, static_cast<off_t>(offset));
    if (size < 0) return failed("An archive's content cannot be read");
    if (size == 0) break;
    offset += static_cast<std::uint64_t>(size);
    const std::string_view bytes(piece.data(), static_cast<std::size_t>(size));
    if (auto appended = (*writer)->append(bytes); !appended) return appended.error();
  }
  return (*writer)->finish();
}

Result<ValidatedPackage> ValidationSandbox::validate(const StagedPackage& package, int packed,
                                                     std::string_view owner) const {
  std::optional<ScratchFile> config;
  std::optional<ScratchFile> tensors;
  PackageDescriptors files{.packed = packed};
  if (package.archive) {
    for (std::optional<ScratchFile>* const scratch : {&config, &tensors}) {
      auto made = ScratchFile::in_folder(config_.scratch);
      if (!made) return made.error();
      scratch->emplace(*std::move(made));
    }
    files.archive = package.archive->descriptor();
    files.config = config->descriptor();
    files.tensors = tensors->descriptor();
  } else {
    files.config = package.config->descriptor();
    files.tensors = package.tensors->descriptor();
  }
  for (const auto& file : package.tokenizer) {
    files.tokenizer.push_back({file.name, file.file->descriptor()});
  }
  auto verdict = judge(files, address_space(package));
  if (!verdict) return verdict.error();
  if (verdict->too_large) return HostCache::too_large();
  ValidatedPackage validated{.report = std::move(verdict->report),
                             .facts = std::move(verdict->facts)};
  if (!validated.facts) return validated;
  validated.config = package.config;
  validated.tensors = package.tensors;
  if (!package.archive) return validated;
  constexpr std::uint64_t kMaxConfigBytes = ArchiveLimits{}.max_config_bytes;
  auto staged_config = stage(config->descriptor(), kMaxConfigBytes, owner);
  if (!staged_config) return staged_config.error();
  auto staged_tensors = stage(tensors->descriptor(), config_.limits.max_tensors_bytes, owner);
  if (!staged_tensors) return staged_tensors.error();
  validated.config = *std::move(staged_config);
  validated.tensors = *std::move(staged_tensors);
  return validated;
}

Result<std::shared_ptr<const PackedAdapter>> ValidationSandbox::repack(
    const AdapterFiles& package, const AdapterDigest& digest, const PackedFormat& format) const {
  auto config = ScratchFile::in_memory(std::as_bytes(std::span(package.config)));
  if (!config) return config.error();
  auto tensors = ScratchFile::in_memory(package.tensors);
  if (!tensors) return tensors.error();
  auto packed = ScratchFile::in_memory();
  if (!packed) return packed.error();
  const auto verdict = judge({.config = config->descriptor(),
                              .tensors = tensors->descriptor(),
                              .packed = packed->descriptor()},
                             address_space(package.tensors.size(), 0));
  if (!verdict) return verdict.error();
  if (verdict->too_large) return HostCache::too_large();
  if (!verdict->facts || verdict->facts->digest != digest) {
    const Findings& findings = verdict->report.findings;
    return Error{Code::kCorrupt, "the stored files are not the adapter " + to_hex(digest) +
                                     (findings.empty() ? "" : ": " + findings.front().message)};
  }
  return read_packed_file(packed->descriptor(), digest, format);
}

}  // namespace tessera
