// registry_records.hpp — what the registry remembers of adapters, and its form in the store.
//
// A version's record says everything about it but its bytes, which lie in chunks of their own. The
// records are JSON: small, read once at open, and legible to whoever has to repair a store.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "adapters/package_chunks.hpp"
#include "storage/clock.hpp"
#include "storage/digest.hpp"
#include "storage/ids.hpp"
#include "storage/result.hpp"

namespace tessera {

// The alias that a bare name means, and that each new version takes over.
inline constexpr std::string_view kDefaultAlias = "prod";

struct AdapterVersion {
  std::string id;  // "adv_…"
  std::string adapter;
  int version = 0;  // from 1
  AdapterDigest digest;
  BaseDigest base;
  PackageRef package;           // the two files as uploaded
  ContentDigest config_sha256;  // of adapter_config.json alone
  int rank_max = 0;
  int num_tensors = 0;
  std::vector<std::string> target_modules;  // "q_proj", ... that have a pair
  WallTime created_at;
  KeyId created_by;

  std::uint64_t bytes() const { return package.config_bytes + package.tensors_bytes; }
};

struct AdapterInfo {
  std::string id;  // "adp_…"
  std::string name;
  WallTime created_at;
  int next_version = 1;
  std::map<std::string, int, std::less<>> aliases = {};  // alias -> version
  std::map<int, AdapterVersion> versions = {};
};

// Errors of the parsers: kCorrupt. What a key says (tenant, name, version number) is not repeated
// in the value; parse_version_record leaves `adapter` and `version` to the caller, and the
// adapter's `name`, aliases and versions come from other keys likewise.
std::string version_record(const AdapterVersion& version);
Result<AdapterVersion> parse_version_record(std::string_view text);
std::string adapter_record(const AdapterInfo& adapter);
Result<AdapterInfo> parse_adapter_record(std::string_view text);

}  // namespace tessera
