#include "adapters/alias.hpp"

#include <algorithm>
#include <cassert>
#include <set>
#include <span>

#include "storage/digest.hpp"

namespace tessera {
namespace {

Error invalid(std::string message) {
  return {Code::kInvalidValue, std::move(message), "split"};
}

std::uint64_t total_weight(const AliasTarget& target) {
  std::uint64_t total = 0;
  for (const AliasShare& share : target.shares) total += static_cast<std::uint64_t>(share.weight);
  return total;
}

// 64 uniform bits that salt and key determine.
std::uint64_t point_of(std::string_view salt, std::string_view key) {
  Sha256 hash;
  const std::uint64_t salt_bytes = salt.size();  // says where the one ends
  hash.update(std::as_bytes(std::span(&salt_bytes, 1)));
  hash.update(salt);
  hash.update(key);
  const auto digest = hash.finish();
  std::uint64_t point = 0;
  for (const std::uint8_t byte : std::span(digest).first(8)) point = point << 8 | byte;
  return point;
}

}  // namespace

std::string_view to_string(Stickiness stickiness) {
  switch (stickiness) {
    case Stickiness::kUser:
      return "user";
    case Stickiness::kSession:
      return "session";
    case Stickiness::kNone:
      break;
  }
  return "none";
}

std::optional<Stickiness> stickiness_from_string(std::string_view name) {
  for (const auto stickiness : {Stickiness::kUser, Stickiness::kSession, Stickiness::kNone}) {
    if (name == to_string(stickiness)) return stickiness;
  }
  return std::nullopt;
}

bool AliasTarget::points_at(int version) const {
  return std::ranges::find(shares, version, &AliasShare::version) != shares.end();
}

Result<void> check_target(const AliasTarget& target) {
  if (target.shares.empty() || target.shares.size() > kMaxShares) {
    return invalid("A split has 1 to " + std::to_string(kMaxShares) + " versions.");
  }
  std::set<int> versions;
  for (const AliasShare& share : target.shares) {
    if (share.weight < 1 || share.weight > kMaxShareWeight) {
      return invalid("A weight is a whole number from 1 to " + std::to_string(kMaxShareWeight) +
                     "; leave a version out that is to have no traffic.");
    }
    if (!versions.insert(share.version).second) {
      return invalid("The version " + std::to_string(share.version) + " is named twice.");
    }
  }
  return {};
}

std::string_view sticky_key(const AliasTarget& target, const StickyKeys& keys) {
  if (!target.is_split() || target.sticky == Stickiness::kNone) return {};
  return target.sticky == Stickiness::kUser ? keys.user : keys.session;
}

int choose_version(const AliasTarget& target, std::string_view salt, std::string_view key) {
  assert(!target.shares.empty());
  if (!target.is_split()) return target.shares.front().version;
  __extension__ using Wide = unsigned __int128;
  auto left = static_cast<std::uint64_t>((Wide{point_of(salt, key)} * total_weight(target)) >> 64);
  for (const AliasShare& share : target.shares) {
    const auto weight = static_cast<std::uint64_t>(share.weight);
    if (left < weight) return share.version;
    left -= weight;
  }
  return target.shares.back().version;  // not reached: the point is below the total
}

}  // namespace tessera
