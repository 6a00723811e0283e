// tenant.hpp — the nouns of tenancy: tenant, service account, API key record, and the caller that a
// request turns out to come from.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "storage/clock.hpp"
#include "storage/ids.hpp"
#include "tenancy/access_policy.hpp"
#include "tenancy/limits.hpp"
#include "tenancy/scope.hpp"

namespace tessera {

// A customer of the platform; on the wire an OpenAI "project".
struct Tenant {
  TenantId id = {};       // "proj_" + ULID
  std::string name = {};  // shown to people, need not be unique
  std::string slug = {};  // [a-z0-9-], unique, part of the tenant's own URL
  WallTime created_at = {};
  std::optional<WallTime> archived_at = {};  // its keys are refused, its data stays

  bool operator==(const Tenant&) const = default;
};

struct ServiceAccountTag {};
using ServiceAccountId = Id<ServiceAccountTag>;  // "svc_" + ULID

// A program that calls in a tenant's name; keys belong to one.
struct ServiceAccount {
  ServiceAccountId id = {};
  TenantId tenant = {};
  std::string name = {};
  WallTime created_at = {};

  bool operator==(const ServiceAccount&) const = default;
};

enum class KeyKind : std::uint8_t { kLive, kTest, kAdmin };

// The secret that a key had before its last rotation, for as long as both open it.
struct RetiredSecret {
  std::uint32_t pepper_version = 0;
  std::array<std::uint8_t, 32> hmac{};
  WallTime valid_until = {};  // from then on it opens nothing

  bool operator==(const RetiredSecret&) const = default;
};

// What is kept of an API key: everything but its secret.
struct ApiKeyRecord {
  KeyId id = {};
  KeyKind kind = KeyKind::kLive;
  TenantId tenant = {};                   // empty exactly if kind is kAdmin
  ServiceAccountId service_account = {};  // empty exactly if kind is kAdmin
  std::string name = {};
  ScopeSet scopes = {};
  std::uint32_t pepper_version = 0;
  std::array<std::uint8_t, 32> secret_hmac{};  // HMAC-SHA-256(pepper[pepper_version], secret)
  WallTime created_at = {};
  KeyId created_by = {};  // empty for the first admin key
  std::optional<WallTime> expires_at = {};
  std::optional<WallTime> disabled_at = {};  // since then it opens nothing, until it is enabled
  std::optional<RetiredSecret> retired = {};
  KeyPolicy policy = {};  // of a tenant's key

  bool operator==(const ApiKeyRecord&) const = default;
};

// Who a request comes from: the outcome of TenantDirectory::authenticate. Limits and policies are
// those of that moment, so a change by an admin is seen by the next request; their revision tells
// which of two callers has the newer ones. It counts from 0 in each process, per tenant.
struct Caller {
  TenantId tenant = {};  // empty exactly if is_admin
  KeyId key = {};
  ScopeSet scopes = {};
  bool is_admin = false;
  TenantLimits limits = {};
  std::uint64_t limits_revision = 0;  // grows with each change of the tenant's or its keys' limits
  // Null, as for an admin: nothing but the limits above.
  std::shared_ptr<const TenantPolicy> tenant_policy = {};
  std::shared_ptr<const KeyPolicy> key_policy = {};
  std::shared_ptr<const OrganizationLimits> organization = {};  // null: it never had any

  bool may(Scope scope) const { return scopes.contains(scope); }
  // Whether requests from this address are let in; the texts of endpoints.
  bool may_come_from(std::string_view address) const;
  // `model` without version or alias: "support-bot", or the base's name.
  bool may_use_model(std::string_view model) const;
};

}  // namespace tessera
