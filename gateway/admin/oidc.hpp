// oidc.hpp — admins whom an identity provider names: bearer tokens instead of admin keys.
//
// A file says whom to believe and what their words mean here:
//
//     {"issuer": "https://id.example.com", "audience": "tessera", "jwks_file": "jwks.json",
//      "role_claim": "groups", "roles": {"platform": "admin", "finance": "viewer"}}
//
// Optional: "algorithms" (["RS256", "ES256", "EdDSA"]), "clock_skew_seconds" (30, at most 60),
// "authorized_party", and a path of names as "role_claim". "admin" may do everything that an admin
// key may, "viewer" only read. The keys are in a file beside it, which is looked at every few
// seconds and read again when it is another; one that cannot be read leaves the keys as they were.
// Nothing is fetched from the network: whoever runs the server brings the file up to date.
#pragma once

#include <chrono>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "storage/clock.hpp"
#include "storage/mutex.hpp"
#include "storage/result.hpp"
#include "tenancy/json_web_token.hpp"
#include "tenancy/tenant.hpp"

namespace tessera {

inline constexpr std::size_t kMaxOidcFileBytes = 64 * 1024;
inline constexpr std::chrono::seconds kJwksLookPeriod{2};

// Thread-safe.
class OidcAdmins {
 public:
  // Errors: kInvalidValue, kIo, with the file's name.
  static Result<std::unique_ptr<OidcAdmins>> open(const std::filesystem::path& file);

  // The admin whom a token names: its key is "oidc:" and the subject, which the audit log shows. A
  // viewer has no scope. Errors: kInvalidApiKey, told alike for whatever is wrong; kExpiredApiKey;
  // kInsufficientScope if the token is right and none of its roles means anything here.
  Result<Caller> authenticate(std::string_view token, Now now);

 private:
  enum class Role : std::uint8_t { kViewer, kAdmin };
  // Of the file of keys: what changes when it does.
  struct Stamp {
    std::filesystem::file_time_type written = {};
    std::uintmax_t bytes = 0;
    bool operator==(const Stamp&) const = default;
  };

  OidcAdmins() = default;
  Result<void> read(const std::filesystem::path& file);
  Stamp stamp() const;
  Result<void> read_keys();
  std::shared_ptr<const JwkSet> current_keys(SteadyTime now);
  const Role* role_of(const TokenIdentity& identity) const;

  TokenRules rules_;
  std::map<std::string, Role, std::less<>> roles_;
  std::filesystem::path jwks_file_;
  Mutex mutex_;
  std::shared_ptr<const JwkSet> keys_ TESSERA_GUARDED_BY(mutex_);
  Stamp stamp_ TESSERA_GUARDED_BY(mutex_);
  SteadyTime looked_at_ TESSERA_GUARDED_BY(mutex_);
};

// Whether `caller` was named by a token, and not by a key of ours.
bool is_from_token(const Caller& caller);

// Whether `caller` is a viewer: somebody who may read what admins may, and change nothing.
bool is_viewer(const Caller& caller);

}  // namespace tessera
