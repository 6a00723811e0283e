// json_web_token.hpp — who an identity provider says is asking (RFC 7519, with RFC 8725's advice).
//
// The signature is checked before anything that it covers is read. The algorithm must be one of the
// few that are allowed here, and the key one of that algorithm; `jwk`, `jku`, `x5u` and the like,
// by which a token would bring its own key, are never looked at, and `kid` is compared and never
// opened. Critical extensions are refused, since none is known.
#pragma once

#include <chrono>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "storage/clock.hpp"
#include "storage/result.hpp"
#include "tenancy/json_web_key.hpp"

namespace tessera {

inline constexpr std::size_t kMaxTokenBytes = 8 * 1024;
inline constexpr std::size_t kMaxSubjectChars = 200;
inline constexpr std::size_t kMaxTokenRoles = 1000;
inline constexpr std::chrono::seconds kMaxClockSkew{60};

// What a token must say.
struct TokenRules {
  std::string issuer;
  std::string audience;
  std::string authorized_party = {};  // `azp`; empty: whoever
  std::set<JwtAlgorithm> algorithms = {JwtAlgorithm::kRs256, JwtAlgorithm::kEs256,
                                       JwtAlgorithm::kEdDsa};
  std::chrono::seconds clock_skew{30};              // at most kMaxClockSkew
  std::vector<std::string> role_claim = {"roles"};  // names on the way to it
};

struct TokenIdentity {
  std::string subject;             // 1 to kMaxSubjectChars printable ASCII characters
  std::vector<std::string> roles;  // the claim's text, or texts; empty if there is none
};

// Whether a bearer token has the form of one; an API key never has.
bool looks_like_token(std::string_view bearer_token);

// Errors: kExpiredApiKey for a token that was right and is over; kInvalidApiKey for any other. The
// message says why: it is for the log, not for whoever showed the token.
Result<TokenIdentity> verify_token(std::string_view token, const JwkSet& keys,
                                   const TokenRules& rules, WallTime now);

}  // namespace tessera
