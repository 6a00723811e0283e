// ecma_syntax.hpp — a regular expression as ECMA-262 writes it, read into a tree.
//
// Unicode mode (a surrogate pair is one code point), with annex B's leniency: brackets and braces
// that mean nothing are themselves, punctuation may be escaped. Beyond ECMA, (?i) and (?s) at the
// beginning, (?P<name> and \p{Script} are taken, since nobody means anything else by them.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "engine/guided/fuel.hpp"
#include "engine/text/code_point_set.hpp"
#include "storage/result.hpp"

namespace tessera::guided {

enum class EcmaKind : std::uint8_t {
  kEmpty,
  kSet,         // one code point of `sets[set]`
  kConcat,      // of the children in order
  kEither,      // one of the children
  kRepeat,      // the child, `min` to `max` times
  kStart,       // ^
  kEnd,         // $
  kBoundary,    // \b; negative: \B
  kLookahead,   // the child; may be negative
  kLookbehind,  // likewise
};

struct EcmaNode {
  EcmaKind kind = EcmaKind::kEmpty;
  bool negative = false;
  bool pure = true;  // no assertion within: it is a language by itself
  std::uint32_t set = 0;
  std::uint32_t min = 0;
  std::uint32_t max = 0;       // RegexPool::kUnbounded: no end
  std::uint32_t shortest = 0;  // it reads at least so much; saturates
  std::vector<std::uint32_t> children;
};

struct EcmaTree {
  std::vector<EcmaNode> nodes;
  std::vector<CodePointSet> sets;
  std::uint32_t root = 0;
};

// Errors: kInvalidValue, kUnsupportedParameter; the message names the byte.
Result<EcmaTree> read_ecma(std::string_view pattern, const GuidedLimits& limits);

}  // namespace tessera::guided
