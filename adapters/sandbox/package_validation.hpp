// package_validation.hpp — from a package's files, given as descriptors, to packed pages and facts.
//
// The one thing that reads a stranger's bytes as a format: archive, then config, tensors and the
// files of a tokenizer. It opens nothing: every file it may read or write was opened before. So it
// is the same code in the confined child (validation_child.hpp) and, where there is none, in the
// server's own process.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "adapters/adapter_facts.hpp"
#include "adapters/base_model.hpp"
#include "adapters/finding.hpp"
#include "adapters/packed_adapter.hpp"
#include "adapters/tokenizer_files.hpp"
#include "storage/result.hpp"

namespace tessera {

// Descriptors, none owned; -1: there is no such file.
struct PackageDescriptors {
  struct Named {
    std::string name;  // "tokenizer.json"
    int descriptor = -1;
  };
  int config = -1;   // to read; beside an archive, to write what is extracted
  int tensors = -1;  // likewise
  int archive = -1;  // to read
  std::vector<Named> tokenizer = {};
  int packed = -1;  // to write
};

struct PackageLimits {
  std::uint64_t max_tensors_bytes = std::uint64_t{512} << 20;
  std::uint64_t max_tokenizer_bytes = std::uint64_t{64} << 20;  // of each file
  std::uint64_t max_packed_bytes = std::uint64_t{1} << 30;      // a larger adapter is refused
};

// Of the base, beside its BaseModel.
struct PackageContext {
  const BaseModel& base;
  TokenizerCheck tokenizer = {};   // called for tokenizer files only
  std::string chat_template = {};  // a package may carry a copy of it, but none of its own
  PageType page_type = PageType::kF32;
};

struct PackageVerdict {
  Report report;
  std::optional<AdapterFacts> facts = {};  // present exactly if the report is ok
  bool too_large = false;                  // sound, but it would take more than max_packed_bytes
};

// Errors: kIo and the like, of descriptors that cannot be read or written; what is wrong with the
// package is in the report.
Result<PackageVerdict> validate_package(const PackageDescriptors& files,
                                        const PackageContext& context, const PackageLimits& limits);

}  // namespace tessera
