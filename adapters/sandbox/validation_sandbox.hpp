// validation_sandbox.hpp — packages validated where a bug in a parser costs one upload.
//
// Each package gets a process of its own (child_process.hpp) that gives up all rights before it
// looks at the bytes (confinement.hpp). The server reads two things from it, both as a stranger's:
// a short verdict (validation_wire.hpp) and the packed pages (packed_file.hpp). A child that
// crashes, hangs or answers nonsense is one finding, `validation_failed`, in that upload's report.
//
// What a child that was taken over can still do is to lie about its own package: to accept it, or
// to claim another adapter's digest for it. Pages that differ from those that a digest has already
// are refused (PackedStore::publish), and pages that have to be made anew are made of the stored
// bytes, in a child again.
//
// Without a program to run, packages are validated in the calling process, by the same code.
#pragma once

#include <chrono>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "adapters/package_chunks.hpp"
#include "adapters/packed_file.hpp"
#include "adapters/sandbox/child_process.hpp"
#include "adapters/sandbox/validation_wire.hpp"
#include "storage/result.hpp"
#include "storage/staged_file.hpp"

namespace tessera {

// What a tenant sent: the files by themselves, or one archive that holds them.
struct StagedPackage {
  using File = std::shared_ptr<const StagedFile>;
  struct Named {
    std::string name;  // "tokenizer.json"
    File file;
  };

  File config = {};                   // adapter_config.json
  File tensors = {};                  // adapter_model.safetensors
  std::vector<Named> tokenizer = {};  // files of the tokenizer it was trained with
  File archive = {};                  // tar, tar.gz, tar.zst or zip; then the others are empty

  bool is_empty() const { return !config && !tensors && !archive && tokenizer.empty(); }
};

struct ValidatedPackage {
  Report report;
  std::optional<AdapterFacts> facts = {};  // present exactly if the report is ok
  // The two files, as sent or as they came out of the archive; there if the report is ok.
  StagedPackage::File config = {};
  StagedPackage::File tensors = {};
};

// Thread-safe. What its config refers to outlives it.
class ValidationSandbox {
 public:
  struct Config {
    std::filesystem::path program = {};  // "/proc/self/exe"; empty: validate in this process
    std::filesystem::path model = {};    // the packed model's file
    PackageContext context;              // of this process
    std::vector<std::string> base_aliases = {};  // for the child to make the same context
    PackageLimits limits = {};
    std::chrono::milliseconds deadline{120'000};
    std::uint64_t cpu_seconds = 100;
    StagingFolder* staging = nullptr;                 // where what comes out of archives is kept
    std::filesystem::path scratch = {};               // a folder for files without a name
    Misbehaviour misbehaviour = Misbehaviour::kNone;  // for tests
  };

  // Errors: kIo if a process cannot be confined on this system; the message says why.
  static Result<std::unique_ptr<ValidationSandbox>> open(Config config);
  ~ValidationSandbox();

  bool is_separate() const { return !config_.program.empty(); }

  // Validates a package of `owner` and writes its pages to the descriptor `packed`, which is empty
  // and open for writing. Errors: kStorageQuotaExceeded if it is larger than any adapter may be in
  // memory; kStorageFull, kIo. What is wrong with the package is in its report.
  Result<ValidatedPackage> validate(const StagedPackage& package, int packed,
                                    std::string_view owner) const;

  // Makes the pages of a package anew, of its stored files, as validate() does; the disk is not
  // touched. Errors: kCorrupt if the files are not, or no longer, the adapter `digest`;
  // kStorageQuotaExceeded as above; kIo.
  Result<std::shared_ptr<const PackedAdapter>> repack(const AdapterFiles& package,
                                                      const AdapterDigest& digest,
                                                      const PackedFormat& format) const;

 private:
  ValidationSandbox(Config config, int model);

  Result<void> try_confinement() const;
  Result<PackageVerdict> judge(const PackageDescriptors& files, std::uint64_t address_space) const;
  Result<PackageVerdict> judge_in_child(const PackageDescriptors& files,
                                        std::uint64_t address_space) const;
  std::uint64_t address_space(std::uint64_t tensors, std::uint64_t tokenizer) const;
  std::uint64_t address_space(const StagedPackage& package) const;
  Result<StagedPackage::File> stage(int descriptor, std::uint64_t max_bytes,
                                    std::string_view owner) const;

  const Config config_;
  const int model_;  // descriptor; -1 if validation is in this process
  std::uint64_t model_bytes_ = 0;
};

}  // namespace tessera
