// registry_records.hpp — what the registry remembers of adapters, and its form in the store.
//
// A version's record says everything about it but its bytes, which lie in chunks of their own, and
// its report, which is read when somebody asks. The records are JSON: small, read once at open, and
// legible to whoever has to repair a store.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "adapters/alias.hpp"
#include "adapters/package_chunks.hpp"
#include "kernels/backend.hpp"
#include "storage/clock.hpp"
#include "storage/digest.hpp"
#include "storage/ids.hpp"
#include "storage/result.hpp"

namespace tessera {

//   validating → ready ⇄ quarantined
//              ↘ failed
// Only a ready version is ever served, or pointed at by an alias that is moved.
enum class VersionStatus : std::uint8_t {
  kValidating,   // has its number, and neither digest nor bytes
  kReady,        //
  kFailed,       // its report says why; no bytes are kept
  kQuarantined,  // taken out of service by an admin
};
std::string_view to_string(VersionStatus status);  // "validating", …

using Labels = std::map<std::string, std::string, std::less<>>;
inline constexpr std::size_t kMaxLabels = 16;
inline constexpr std::size_t kMaxLabelKeyBytes = 64;
inline constexpr std::size_t kMaxLabelValueBytes = 512;

// Errors: kInvalidValue, param `what`.
Result<void> check_labels(const Labels& labels, std::string_view what);

struct AdapterVersion {
  std::string id;  // "adv_…"
  std::string adapter;
  int version = 0;  // from 1
  VersionStatus status = VersionStatus::kReady;
  BaseDigest base;
  WallTime created_at;
  KeyId created_by;
  Labels metadata = {};
  // The rest is known once it is ready.
  AdapterDigest digest = {};
  PackageRef package = {};           // the two files as uploaded
  ContentDigest config_sha256 = {};  // of adapter_config.json alone
  // Of adapter_model.safetensors alone; zero in records that were written before it was kept.
  ContentDigest tensors_sha256 = {};
  int rank_max = 0;
  int num_tensors = 0;
  std::vector<std::string> target_modules = {};  // "q_proj", ... that it changes
  bool is_plain = true;                          // pairs alone: it can be mixed with others
  std::vector<TokenId> invocation = {};          // of activated LoRA
  std::uint64_t packed_bytes = 0;                // in memory; 0 if not recorded

  bool has_bytes() const { return package.config_bytes > 0; }
  std::uint64_t bytes() const { return package.config_bytes + package.tensors_bytes; }
};

struct AdapterInfo {
  std::string id = {};  // "adp_…"
  std::string name = {};
  WallTime created_at = {};
  int next_version = 1;
  std::uint64_t revision = 0;  // grows with each change of it, its versions or its aliases
  Labels labels = {};
  std::map<std::string, Alias, std::less<>> aliases = {};
  std::map<int, std::shared_ptr<const AdapterVersion>> versions = {};

  // Null if there is none.
  const AdapterVersion* find(int version) const;
};

// Strong entity tags, with their quotes. No two states of any adapter have the same one, nor has a
// name that was deleted and made again.
std::string etag_of(const AdapterInfo& adapter);
std::string etag_of(const AdapterInfo& adapter, const Alias& alias);

// Errors of the parsers: kCorrupt. What a key says (tenant, name, version number, alias) is not
// repeated in the value; parse_version_record leaves `adapter` and `version` to the caller, and the
// adapter's `name`, aliases and versions come from other keys likewise.
std::string version_record(const AdapterVersion& version);
Result<AdapterVersion> parse_version_record(std::string_view text);
std::string adapter_record(const AdapterInfo& adapter);
Result<AdapterInfo> parse_adapter_record(std::string_view text);
std::string alias_record(const Alias& alias);
Result<Alias> parse_alias_record(std::string_view text);
// Newest first.
std::string history_record(const std::vector<AliasMove>& history);
Result<std::vector<AliasMove>> parse_history_record(std::string_view text);

}  // namespace tessera
