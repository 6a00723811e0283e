// scope.hpp — what a key may do, as a set of named permissions.
//
// Everything is denied that is not named. kAdmin is the platform's own permission and never belongs
// to a tenant's key; it implies no other, so an admin key cannot chat in a tenant's name.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace tessera {

enum class Scope : std::uint8_t {
  kModelRequest,     // api.model.request
  kAdapterRead,      // api.adapter.read
  kAdapterWrite,     // api.adapter.write
  kAdapterDownload,  // api.adapter.download
  kTenantRead,       // api.tenant.read
  kTenantWrite,      // api.tenant.write
  kKeyWrite,         // api.key.write
  kAdmin,            // api.admin
};
inline constexpr int kNumScopes = 8;

std::string_view to_string(Scope scope);
std::optional<Scope> scope_from_string(std::string_view name);

// A value; thread-safe as one.
class ScopeSet {
 public:
  constexpr ScopeSet() = default;
  constexpr ScopeSet(std::initializer_list<Scope> scopes) {
    for (const Scope scope : scopes) insert(scope);
  }

  constexpr void insert(Scope scope) { bits_ |= bit(scope); }
  constexpr bool contains(Scope scope) const { return (bits_ & bit(scope)) != 0; }
  constexpr bool empty() const { return bits_ == 0; }
  constexpr bool is_subset_of(ScopeSet other) const { return (bits_ & ~other.bits_) == 0; }
  constexpr bool operator==(const ScopeSet&) const = default;

  // The wire names, in the order of the enum.
  std::vector<std::string> names() const;

 private:
  static constexpr std::uint32_t bit(Scope scope) {
    return std::uint32_t{1} << static_cast<unsigned>(scope);
  }

  std::uint32_t bits_ = 0;
};

// What a tenant's key can have at most, and what a new one gets when no scopes are asked for.
inline constexpr ScopeSet kTenantScopes{
    Scope::kModelRequest, Scope::kAdapterRead, Scope::kAdapterWrite, Scope::kAdapterDownload,
    Scope::kTenantRead,   Scope::kTenantWrite, Scope::kKeyWrite};
inline constexpr ScopeSet kDefaultKeyScopes{Scope::kModelRequest, Scope::kAdapterRead,
                                            Scope::kAdapterWrite, Scope::kTenantRead};
inline constexpr ScopeSet kAdminScopes{Scope::kAdmin};

}  // namespace tessera
