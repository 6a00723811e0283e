// guided_finding.hpp — what is wrong with a schema, a pattern or a grammar, and where.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace tessera::guided {

// What the tenant can do about it: mend it, do without it, or make it smaller.
enum class FindingKind : std::uint8_t {
  kUnsupported,  // correct, but it cannot be enforced exactly
  kInvalid,      // no schema, pattern or grammar
  kTooLarge,     // beyond one of GuidedLimits' sizes
  kTooComplex,   // the fuel ran out over it
};

struct GuidedFinding {
  std::string pointer;  // JSON pointer into the schema ("" is its root); "line:column" in a grammar
  std::string keyword;  // "oneOf", "pattern", ...; empty where none is at fault
  std::string reason;   // one sentence for the tenant
  std::size_t offset = 0;  // byte in the source
  FindingKind kind = FindingKind::kUnsupported;
};

using GuidedFindings = std::vector<GuidedFinding>;

}  // namespace tessera::guided
