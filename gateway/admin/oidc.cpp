#include "gateway/admin/oidc.hpp"

#include <algorithm>
#include <optional>
#include <utility>

#include <nlohmann/json.hpp>

#include "gateway/api/fields.hpp"
#include "storage/durable_file.hpp"
#include "storage/json.hpp"
#include "storage/log.hpp"

namespace tessera {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view kKeyPrefix = "oidc:";  // no key's id has a colon
constexpr std::size_t kMaxTextChars = 1024;
constexpr std::size_t kMaxClaimDepth = 8;

Error explained(const Error& error, const std::filesystem::path& file) {
  return {error.code, file.string() + ": " + error.message, error.param};
}

void read_algorithms(Fields& fields, TokenRules& rules) {
  std::vector<std::string> names;
  fields.one_or_more("algorithms", 3, 16, names);
  if (names.empty()) return;
  rules.algorithms.clear();
  for (const std::string& name : names) {
    const auto algorithm = jwt_algorithm_from_string(name);
    if (!algorithm) {
      fields.fail(Code::kInvalidValue, "algorithms", "'algorithms' can be RS256, ES256 and EdDSA.");
      return;
    }
    rules.algorithms.insert(*algorithm);
  }
}

}  // namespace

Result<std::unique_ptr<OidcAdmins>> OidcAdmins::open(const std::filesystem::path& file) {
  std::unique_ptr<OidcAdmins> admins(new OidcAdmins());
  if (auto read = admins->read(file); !read) return explained(read.error(), file);
  if (auto read = admins->read_keys(); !read) return explained(read.error(), admins->jwks_file_);
  return admins;
}

Result<void> OidcAdmins::read(const std::filesystem::path& file) {
  const auto text = read_file(file, kMaxOidcFileBytes);
  if (!text) return text.error();
  const auto json = parse_json(*text);
  if (!json) return json.error();
  Fields fields(*json);
  std::string jwks;
  std::optional<std::int64_t> skew;
  fields.required("issuer", rules_.issuer);
  fields.required("audience", rules_.audience);
  fields.required("jwks_file", jwks);
  fields.text("authorized_party", kMaxTextChars, rules_.authorized_party);
  fields.integer("clock_skew_seconds", {0, kMaxClockSkew.count()}, skew);
  std::vector<std::string> role_claim;
  fields.one_or_more("role_claim", kMaxClaimDepth, kMaxTextChars, role_claim);
  if (!role_claim.empty()) rules_.role_claim = std::move(role_claim);
  read_algorithms(fields, rules_);
  const Json* const roles = fields.required_any("roles");
  if (roles && !roles->is_object()) {
    fields.fail(Code::kInvalidValue, "roles", "'roles' must be an object.");
  } else if (roles) {
    for (const auto& [name, role] : roles->items()) {
      if (role == "admin") roles_[name] = Role::kAdmin;
      if (role == "viewer") roles_[name] = Role::kViewer;
      if (roles_.contains(name)) continue;
      fields.fail(Code::kInvalidValue, "roles", "a role can be \"admin\" or \"viewer\"");
    }
  }
  if (skew) rules_.clock_skew = std::chrono::seconds(*skew);
  jwks_file_ = file.parent_path() / jwks;  // an absolute one stays what it is
  return fields.finish();
}

OidcAdmins::Stamp OidcAdmins::stamp() const {
  std::error_code gone;
  Stamp stamp;
  stamp.written = std::filesystem::last_write_time(jwks_file_, gone);
  stamp.bytes = std::filesystem::file_size(jwks_file_, gone);
  return stamp;
}

Result<void> OidcAdmins::read_keys() {
  const Stamp seen = stamp();
  const auto text = read_file(jwks_file_, kMaxJwkSetBytes);
  if (!text) return text.error();
  auto keys = JwkSet::parse(*text);
  if (!keys) return keys.error();
  const MutexLock lock(mutex_);
  keys_ = std::make_shared<const JwkSet>(*std::move(keys));
  stamp_ = seen;
  return {};
}

std::shared_ptr<const JwkSet> OidcAdmins::current_keys(SteadyTime now) {
  bool look = false;
  {
    const MutexLock lock(mutex_);
    look = now - looked_at_ >= kJwksLookPeriod;
    if (look) looked_at_ = now;
  }
  if (look) {
    const Stamp seen = stamp();
    bool changed = false;
    {
      const MutexLock lock(mutex_);
      changed = seen != stamp_;
      stamp_ = seen;  // one that cannot be read is told once
    }
    if (changed) {
      const auto read = read_keys();
      if (read) log_info("jwks_reloaded", {{"file", jwks_file_.string()}});
      if (!read) log_error("jwks_not_reloaded", {{"reason", read.error().message}});
    }
  }
  const MutexLock lock(mutex_);
  return keys_;
}

// The greatest of them.
const OidcAdmins::Role* OidcAdmins::role_of(const TokenIdentity& identity) const {
  const Role* found = nullptr;
  for (const std::string& name : identity.roles) {
    const auto role = roles_.find(name);
    if (role != roles_.end() && (!found || *found < role->second)) found = &role->second;
  }
  return found;
}

Result<Caller> OidcAdmins::authenticate(std::string_view token, Now now) {
  const auto identity = verify_token(token, *current_keys(now.steady), rules_, now.wall);
  if (!identity) {
    log_info("token_refused", {{"reason", identity.error().message}});
    if (identity.error().code == Code::kExpiredApiKey) {
      return Error{Code::kExpiredApiKey, "This token has expired."};
    }
    return Error{Code::kInvalidApiKey, "Incorrect API key provided."};
  }
  const Role* const role = role_of(*identity);
  if (!role) {
    return Error{Code::kInsufficientScope, "This token names no role that means anything here."};
  }
  return Caller{.tenant = {},
                .key = KeyId(std::string(kKeyPrefix) + identity->subject),
                .scopes = *role == Role::kAdmin ? kAdminScopes : ScopeSet(),
                .is_admin = true,
                .limits = {}};
}

bool is_from_token(const Caller& caller) {
  return caller.key.str().starts_with(kKeyPrefix);
}

bool is_viewer(const Caller& caller) {
  return caller.is_admin && caller.scopes.empty();
}

}  // namespace tessera
