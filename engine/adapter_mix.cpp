#include "engine/adapter_mix.hpp"

#include <bit>
#include <cmath>
#include <cstdint>
#include <string>
#include <string_view>

namespace tessera {
namespace {

constexpr std::string_view kMixVersion = "tessera-mix-1";

Error invalid(const std::string& rule) {
  return {Code::kInvalidValue, "'adapters' must be " + rule + ".", "adapters"};
}

}  // namespace

AdapterDigest mix_digest(std::span<const MixedAdapter> terms) {
  Sha256 hash;
  hash.update(kMixVersion);
  for (const MixedAdapter& term : terms) {
    hash.update(std::as_bytes(std::span(term.digest.bytes)));
    const auto bits = std::bit_cast<std::uint32_t>(term.weight);
    hash.update(std::as_bytes(std::span(&bits, 1)));
  }
  return {hash.finish()};
}

Result<void> check_mix(std::span<const MixedAdapter> terms) {
  if (terms.empty() || terms.size() > kMaxMixTerms) {
    return invalid("one to " + std::to_string(kMaxMixTerms) + " adapters");
  }
  for (std::size_t i = 0; i < terms.size(); ++i) {
    if (!(std::abs(terms[i].weight) <= kMaxMixWeight)) {
      return invalid("weighted by numbers from -16 to 16");
    }
    for (std::size_t j = 0; j < i; ++j) {
      if (terms[j].digest == terms[i].digest) return invalid("different adapters");
    }
  }
  return {};
}

}  // namespace tessera
