// openai_strict.hpp — the subset of JSON Schema that OpenAI's `strict: true` asks for.
//
// We enforce full JSON Schema, strict or not; this check is for those who want to be told what the
// other service would refuse.
#pragma once

#include <string_view>

#include "engine/guided/fuel.hpp"
#include "engine/guided/guided_finding.hpp"

namespace tessera::guided {

struct OpenAiStrictLimits {
  static constexpr int kMaxLevels = 10;          // objects within objects, the root is one
  static constexpr int kMaxProperties = 5'000;   // in all
  static constexpr int kMaxEnumValues = 1'000;   // in all
  static constexpr int kMaxNameBytes = 120'000;  // names of properties and definitions, enum, const
};

// What the subset does not allow; empty if it is met. Every object lists its properties, requires
// all of them and says additionalProperties: false; the root is an object. Text that is no JSON is
// a finding too. Iterative; thread-safe.
GuidedFindings check_openai_strict(std::string_view json, const GuidedLimits& limits = {});

}  // namespace tessera::guided
