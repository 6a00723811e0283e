#include "tenancy/json_web_token.hpp"

#include <algorithm>
#include <optional>

#include <nlohmann/json.hpp>

#include "storage/json.hpp"

namespace tessera {
namespace {

using Json = nlohmann::ordered_json;

constexpr JsonLimits kTokenJson{.max_bytes = kMaxTokenBytes, .max_depth = 16, .max_values = 4096};
constexpr double kLastSecond = 253'402'300'799.0;  // of the year 9999

Error refused(std::string why) {
  return {Code::kInvalidApiKey, std::move(why)};
}

// The object that a part of a token is.
Result<Json> object_of(std::string_view part) {
  const auto text = decode_base64url(part);
  if (!text) return refused("not base64url");
  auto json = parse_json(*text, kTokenJson);
  if (!json || !json->is_object()) return refused("not a JSON object");
  return Result<Json>(boost::system::in_place_value, *std::move(json));
}

// A member that is a text; empty if it is absent. Errors: if it is anything else.
Result<std::string> text_at(const Json& json, const char* name) {
  const auto found = json.find(name);
  if (found == json.end()) return std::string();
  if (!found->is_string()) return refused(std::string(name) + " is no text");
  return found->get<std::string>();
}

// The algorithm and the key that the header names, if they may be used.
struct Header {
  JwtAlgorithm algorithm;
  std::string kid;
};
Result<Header> read_header(std::string_view part, const TokenRules& rules) {
  const auto json = object_of(part);
  if (!json) return json.error();
  if (json->contains("crit")) return refused("critical extensions");
  const auto type = text_at(*json, "typ");
  if (!type) return type.error();
  if (!type->empty() && *type != "JWT" && *type != "jwt" && *type != "at+jwt") {
    return refused("another type");
  }
  const auto name = text_at(*json, "alg");
  if (!name) return name.error();
  const auto algorithm = jwt_algorithm_from_string(*name);
  if (!algorithm || !rules.algorithms.contains(*algorithm)) return refused("algorithm not allowed");
  const auto kid = text_at(*json, "kid");
  if (!kid) return kid.error();
  if (kid->size() > kMaxKidChars) return refused("kid too long");
  return Header{*algorithm, *kid};
}

// Seconds since 1970, perhaps with a fraction; nullopt if it is absent.
Result<std::optional<double>> seconds_at(const Json& json, const char* name) {
  const auto found = json.find(name);
  if (found == json.end()) return std::optional<double>();
  if (!found->is_number()) return refused(std::string(name) + " is no number");
  const double seconds = found->get<double>();
  if (!(seconds >= 0 && seconds <= kLastSecond)) return refused(std::string(name) + " is no time");
  return std::optional(seconds);
}

Result<void> check_times(const Json& claims, const TokenRules& rules, WallTime now) {
  const double current = std::chrono::duration<double>(now.time_since_epoch()).count();
  const auto skew = static_cast<double>(
      std::clamp(rules.clock_skew, std::chrono::seconds(0), kMaxClockSkew).count());
  for (const char* name : {"nbf", "iat"}) {
    const auto since = seconds_at(claims, name);
    if (!since) return since.error();
    if (*since && **since > current + skew) return refused("not valid yet");
  }
  const auto expiry = seconds_at(claims, "exp");
  if (!expiry) return expiry.error();
  if (!*expiry) return refused("no exp");
  if (**expiry + skew <= current) return Error{Code::kExpiredApiKey, "expired"};
  return {};
}

// One text, or an array that holds it among others.
bool names(const Json& claim, const std::string& wanted) {
  if (claim.is_string()) return claim.get_ref<const std::string&>() == wanted;
  return claim.is_array() && std::ranges::any_of(claim, [&](const Json& one) {
           return one.is_string() && one.get_ref<const std::string&>() == wanted;
         });
}

Result<void> check_parties(const Json& claims, const TokenRules& rules) {
  const auto issuer = text_at(claims, "iss");
  if (!issuer || *issuer != rules.issuer) return refused("another issuer");
  const auto audience = claims.find("aud");
  if (audience == claims.end() || !names(*audience, rules.audience)) {
    return refused("another audience");
  }
  if (rules.authorized_party.empty()) return {};
  const auto party = text_at(claims, "azp");
  if (!party || *party != rules.authorized_party) return refused("another authorized party");
  return {};
}

std::vector<std::string> roles_of(const Json& claims, const std::vector<std::string>& path) {
  const Json* claim = &claims;
  for (const std::string& name : path) {
    const auto found = claim->find(name);
    if (!claim->is_object() || found == claim->end()) return {};
    claim = &*found;
  }
  std::vector<std::string> roles;
  if (claim->is_string()) roles.push_back(claim->get<std::string>());
  if (!claim->is_array()) return roles;
  for (const Json& role : *claim) {
    if (role.is_string() && roles.size() < kMaxTokenRoles) roles.push_back(role.get<std::string>());
  }
  return roles;
}

Result<std::string> subject_of(const Json& claims) {
  auto subject = text_at(claims, "sub");
  if (!subject) return subject.error();
  const bool printable =
      std::ranges::all_of(*subject, [](char c) { return c >= 0x20 && c < 0x7F; });
  if (subject->empty() || subject->size() > kMaxSubjectChars || !printable) {
    return refused("no subject that can be logged");
  }
  return subject;
}

}  // namespace

bool looks_like_token(std::string_view bearer_token) {
  return std::ranges::count(bearer_token, '.') == 2;
}

Result<TokenIdentity> verify_token(std::string_view token, const JwkSet& keys,
                                   const TokenRules& rules, WallTime now) {
  if (token.size() > kMaxTokenBytes) return refused("too long");
  if (!looks_like_token(token)) return refused("not three parts");
  const auto first = token.find('.');
  const auto second = token.rfind('.');
  const auto header = read_header(token.substr(0, first), rules);
  if (!header) return header.error();
  const auto signature = decode_base64url(token.substr(second + 1));
  if (!signature || signature->empty()) return refused("no signature");
  if (!keys.verify(header->algorithm, header->kid, token.substr(0, second), *signature)) {
    return refused("no key made this signature");
  }
  const auto claims = object_of(token.substr(first + 1, second - first - 1));
  if (!claims) return claims.error();
  if (auto checked = check_parties(*claims, rules); !checked) return checked.error();
  if (auto checked = check_times(*claims, rules, now); !checked) return checked.error();
  auto subject = subject_of(*claims);
  if (!subject) return subject.error();
  return TokenIdentity{*std::move(subject), roles_of(*claims, rules.role_claim)};
}

}  // namespace tessera
