// package_request.hpp — what a client sent of an adapter, whichever form it came in.
//
//   a form     adapter_config and adapter_model, perhaps files of the tokenizer; or one archive
//   an archive as the body itself
//   JSON       {"file_id": "file-…"}: an archive that was put aside (tenant_files.hpp)
//   a draft    whose files came one by one (adapter_drafts.hpp)
//
// Nothing of the files' contents is looked at here.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "adapters/registry_records.hpp"
#include "adapters/sandbox/validation_sandbox.hpp"
#include "gateway/adapters/adapter_drafts.hpp"
#include "gateway/platform.hpp"
#include "gateway/routes.hpp"
#include "storage/result.hpp"

namespace tessera {

struct PackageRequest {
  std::optional<std::string> name = {};   // of the adapter
  std::optional<std::string> alias = {};  // that moves; empty: none does
  std::string acceptance = {};            // JSON of the checks
  Labels metadata = {};
  StagedPackage package = {};

  bool has_package() const { return package.archive || package.config; }
};

// What the call's body is. A file that it names is the caller's own. Only JSON may have no package.
// Errors: kMissingRequiredParameter, kUnknownParameter, kInvalidValue, those of the JSON; kNotFound
// for a file that is not there; kInvalidValue if the body is not what its Content-Digest says.
Result<PackageRequest> read_package(Platform& platform, const Call& call);

// A draft, and the JSON (or nothing) that completes it. Errors: those of read_package(); a draft
// without its config or tensors misses them.
Result<PackageRequest> read_draft(const AdapterDraft& draft, const std::string& body);

// Whether a draft may have a file of this name and size. Errors: kInvalidValue,
// kRequestExceedsLimit.
Result<void> check_draft_file(std::string_view name, std::uint64_t bytes);

}  // namespace tessera
