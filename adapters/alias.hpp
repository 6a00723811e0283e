// alias.hpp — where an alias points: at one version, or at several with their shares of traffic.
//
// A split is decided per request from a key that the client gave (who the user is, which session it
// is), so that the same user goes on talking to the same version while a canary is tried. The key
// is hashed to a point of [0, 1); the shares lie one behind the other on it, in the order in which
// they were given. Raising the last share therefore moves users to it and never back and forth.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "storage/clock.hpp"
#include "storage/ids.hpp"
#include "storage/result.hpp"

namespace tessera {

// The alias that a bare name means, and that each new version takes over unless another is named.
inline constexpr std::string_view kDefaultAlias = "prod";

inline constexpr std::size_t kMaxShares = 8;         // of a split
inline constexpr int kMaxShareWeight = 1'000'000;    // of one share
inline constexpr std::size_t kMaxAliasHistory = 20;  // earlier targets that are kept
inline constexpr std::size_t kMaxAliases = 64;       // of one adapter

struct AliasShare {
  int version = 0;
  int weight = 1;  // its part of the sum, 1 to kMaxShareWeight

  bool operator==(const AliasShare&) const = default;
};

// What keeps a client with one version of a split. Who gives no such key is drawn anew each time.
enum class Stickiness : std::uint8_t { kUser, kSession, kNone };
std::string_view to_string(Stickiness stickiness);  // "user", "session", "none"
std::optional<Stickiness> stickiness_from_string(std::string_view name);

struct AliasTarget {
  std::vector<AliasShare> shares = {};  // at least one; each version once
  Stickiness sticky = Stickiness::kUser;

  static AliasTarget one(int version) { return {.shares = {{.version = version}}}; }
  bool is_split() const { return shares.size() > 1; }
  bool points_at(int version) const;
  // Whatever was not given is not told apart: a target of one version has no stickiness.
  bool operator==(const AliasTarget& other) const {
    return shares == other.shares && (!is_split() || sticky == other.sticky);
  }
};

// Errors: kInvalidValue, param "split": no share, too many, a version twice, a weight out of range.
Result<void> check_target(const AliasTarget& target);

struct Alias {
  AliasTarget target = {};
  std::uint64_t revision = 0;  // of its adapter, when it was last moved
  WallTime moved_at = {};
  KeyId moved_by = {};
};

// A target that an alias once had.
struct AliasMove {
  AliasTarget target = {};
  WallTime moved_at = {};  // when it got it
  KeyId moved_by = {};
};

// What a request says of who is asking; empty if it does not.
struct StickyKeys {
  std::string_view user = {};     // `safety_identifier`, or else `user`
  std::string_view session = {};  // `prompt_cache_key`
};

// The key that decides, or empty: then a random one is to be used.
std::string_view sticky_key(const AliasTarget& target, const StickyKeys& keys);

// The version for `key`. `salt` names the alias, so that a user is not first everywhere.
int choose_version(const AliasTarget& target, std::string_view salt, std::string_view key);

}  // namespace tessera
