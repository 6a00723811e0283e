// validation_wire.hpp — what server and validating child tell each other, as JSON.
//
// The job goes on the child's command line and comes from us. The verdict comes through a pipe from
// a process that has read a stranger's bytes, so it is read like a stranger's: bounded, every
// member expected, every code known, no text longer than a report may show.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "adapters/sandbox/confinement.hpp"
#include "adapters/sandbox/package_validation.hpp"
#include "storage/result.hpp"

namespace tessera {

inline constexpr std::size_t kMaxVerdictBytes = std::size_t{2} << 20;

// What only tests ask of a child, after it has read the package: what a parser with a bug might do.
enum class Misbehaviour : std::uint8_t {
  kNone,
  kSegfault,       // touches memory that is not there
  kTruncatedFile,  // reads beyond the end of a mapped file
  kEndlessLoop,
  kEatMemory,
  kOpenFile,
  kOpenSocket,
  kExec,
  kFork,
  kLongAnswer,
  kWrongAnswer,
  kSilence,  // closes the pipe and lives on
};

// What the child is to do; its descriptors are numbers in the child.
struct ValidationJob {
  int parent_pid = 0;
  std::string base_digest = {};  // hex; the child makes sure it has the same model
  std::vector<std::string> base_aliases = {};
  PackageDescriptors files = {};
  int model = -1;
  PageType page_type = PageType::kF32;
  PackageLimits limits = {};
  ConfinementLimits confinement = {};
  bool only_confine = false;  // answer whether that is possible, and no more
  Misbehaviour misbehaviour = Misbehaviour::kNone;
};

std::string to_text(const ValidationJob& job);
Result<ValidationJob> parse_validation_job(std::string_view text);

std::string to_text(const PackageVerdict& verdict);
// Errors: kCorrupt.
Result<PackageVerdict> parse_verdict(std::string_view text);

}  // namespace tessera
