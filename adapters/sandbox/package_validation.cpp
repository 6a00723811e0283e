#include "adapters/sandbox/package_validation.hpp"

#include <cerrno>
#include <cstring>
#include <span>
#include <string_view>
#include <utility>

#include <sys/mman.h>
#include <unistd.h>

#include "adapters/archive/package_archive.hpp"
#include "adapters/packed_file.hpp"
#include "adapters/validator.hpp"

namespace tessera {
namespace {

Error io_error(const std::string& what) {
  return {Code::kIo, "A file of the package cannot be " + what + ": " + std::strerror(errno) + "."};
}

// A whole file, mapped for reading while this lives.
class Mapping {
 public:
  static Result<Mapping> of(int descriptor) {
    const off_t size = ::lseek(descriptor, 0, SEEK_END);
    if (size < 0) return io_error("read");
    if (size == 0) return Mapping(nullptr, 0);
    const auto bytes = static_cast<std::size_t>(size);
    void* const address = ::mmap(nullptr, bytes, PROT_READ, MAP_SHARED, descriptor, 0);
    if (address == MAP_FAILED) return io_error("mapped");
    return Mapping(address, bytes);
  }
  ~Mapping() {
    if (address_ != nullptr) ::munmap(address_, size_);
  }
  Mapping(Mapping&& other) noexcept
      : address_(std::exchange(other.address_, nullptr)), size_(other.size_) {}
  Mapping& operator=(Mapping&& other) noexcept {
    std::swap(address_, other.address_);
    std::swap(size_, other.size_);
    return *this;
  }

  std::span<const std::byte> bytes() const {
    return {static_cast<const std::byte*>(address_), size_};
  }
  std::string_view text() const { return {static_cast<const char*>(address_), size_}; }

 private:
  Mapping(void* address, std::size_t size) : address_(address), size_(size) {}

  void* address_;
  std::size_t size_;
};

bool write_all(int descriptor, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(descriptor, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
  return true;
}

PackageVerdict refused(Finding finding) {
  PackageVerdict verdict;
  verdict.report.findings.push_back(std::move(finding));
  return verdict;
}

// A tokenizer's files, wherever they came from.
struct Tokenizer {
  std::vector<Mapping> mappings = {};   // of files that were uploaded as such
  std::vector<CarriedFile> files = {};  // views into those, or into an ExtractedPackage
};

Result<Tokenizer> map_tokenizer(const PackageDescriptors& files) {
  Tokenizer tokenizer;
  for (const auto& file : files.tokenizer) {
    auto mapping = Mapping::of(file.descriptor);
    if (!mapping) return mapping.error();
    tokenizer.mappings.push_back(*std::move(mapping));
    tokenizer.files.push_back({file.name, tokenizer.mappings.back().text()});
  }
  return tokenizer;
}

std::optional<Finding> check_template(const ExtractedPackage& package, std::string_view base) {
  if (package.chat_template.empty() || package.chat_template == base) return std::nullopt;
  return Finding{.code = FindingCode::kFileNotAccepted,
                 .subject = "chat_template.jinja",
                 .message =
                     "The template is not the base's, and an adapter cannot bring its own; "
                     "leave the file out if the adapter works with the base's."};
}

// Keeps what validation is told of the package until its verdict is made.
class PackageValidation {
 public:
  PackageValidation(const PackageDescriptors& files, const PackageContext& context,
                    const PackageLimits& limits)
      : files_(files), context_(context), limits_(limits) {}

  Result<PackageVerdict> run() {
    ExtractedPackage extracted;
    if (files_.archive >= 0) {
      auto found = extract();
      if (!found) return found.error();
      if (!*found) return refused(found->error());
      extracted = **std::move(found);
      if (auto fault = check_template(extracted, context_.chat_template)) return refused(*fault);
    }
    auto tokenizer = map_tokenizer(files_);
    if (!tokenizer) return tokenizer.error();
    for (const auto& file : extracted.tokenizer) {
      tokenizer->files.push_back({file.name, file.content});
    }
    return validate(tokenizer->files, extracted.warnings);
  }

 private:
  Result<Checked<ExtractedPackage>> extract() const {
    const auto archive = Mapping::of(files_.archive);
    if (!archive) return archive.error();
    ArchiveLimits limits;
    limits.max_tensors_bytes = limits_.max_tensors_bytes;
    limits.max_tokenizer_bytes = limits_.max_tokenizer_bytes;
    const auto sink_of = [](int descriptor) {
      return [descriptor](std::string_view bytes) { return write_all(descriptor, bytes); };
    };
    return extract_package(archive->bytes(), sink_of(files_.config), sink_of(files_.tensors),
                           limits);
  }

  Result<PackageVerdict> validate(const std::vector<CarriedFile>& tokenizer,
                                  const Findings& warnings) const {
    const auto config = Mapping::of(files_.config);
    if (!config) return config.error();
    const auto tensors = Mapping::of(files_.tensors);
    if (!tensors) return tensors.error();
    Validation validation = validate_adapter(config->text(), tensors->bytes(), context_.base, {},
                                             PairReading::kWhenNeeded);
    check_tokenizer_files(tokenizer, context_.tokenizer, validation);
    auto& findings = validation.report.findings;
    findings.insert(findings.end(), warnings.begin(), warnings.end());
    PackageVerdict verdict{.report = std::move(validation.report)};
    if (!validation.adapter) return verdict;
    if (auto packed = pack(*validation.adapter, verdict); !packed) return packed.error();
    return verdict;
  }

  Result<void> pack(const Adapter& adapter, PackageVerdict& verdict) const {
    PagePacker packer(adapter, context_.page_type);
    const std::size_t bytes = packer.layout().bytes;
    verdict.facts =
        facts_of(adapter, context_.base.digest, verdict.report.coverage.tensors_total, bytes);
    verdict.too_large = bytes > limits_.max_packed_bytes;
    if (verdict.too_large) return {};
    auto written = write_packed_file(
        files_.packed, packer, {.digest = verdict.facts->digest, .base = context_.base.digest});
    const bool is_int8 = context_.page_type == PageType::kInt8;
    if (is_int8) verdict.report.page_error = packer.error().relative();
    return written;
  }

  const PackageDescriptors& files_;
  const PackageContext& context_;
  const PackageLimits& limits_;
};

}  // namespace

Result<PackageVerdict> validate_package(const PackageDescriptors& files,
                                        const PackageContext& context,
                                        const PackageLimits& limits) {
  return PackageValidation(files, context, limits).run();
}

}  // namespace tessera
