// access_policy.hpp — from where, and for which models, a tenant or one of its keys may be used.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "storage/result.hpp"
#include "tenancy/meter.hpp"

namespace tessera {

inline constexpr std::size_t kMaxIpRanges = 256;
inline constexpr std::size_t kMaxPermittedModels = 256;
inline constexpr std::size_t kMaxModelNameChars = 200;

// A set of address ranges, "203.0.113.0/24" or "2001:db8::/32" or single addresses. An IPv4 address
// that arrives mapped into IPv6 is that IPv4 address. Immutable once parsed.
class IpSet {
 public:
  // Errors: kInvalidValue for a text that is no range, has host bits set, or too many of them.
  static Result<IpSet> parse(const std::vector<std::string>& ranges);

  // Everything is in an empty set: it is no restriction.
  bool empty() const { return texts_.empty(); }
  // `address` is as an endpoint prints it; what is no address is in no set.
  bool contains(std::string_view address) const;
  // Whether each range of `other` lies within one of these.
  bool covers(const IpSet& other) const;
  const std::vector<std::string>& texts() const { return texts_; }  // as they were given

  bool operator==(const IpSet& other) const { return texts_ == other.texts_; }

 private:
  struct Range {
    std::array<std::uint8_t, 16> network;  // IPv4 as ::ffff:0:0/96
    int prefix_bits;
  };
  std::vector<std::string> texts_;
  std::vector<Range> ranges_;
};

// Which models may be asked for; a name means all of its versions and aliases.
struct ModelPermissions {
  enum class Mode : std::uint8_t { kAll, kAllowList, kDenyList };
  Mode mode = Mode::kAll;
  std::vector<std::string> models = {};

  // `model` without version or alias: "support-bot", or the base's name.
  bool allow(std::string_view model) const;
  bool operator==(const ModelPermissions&) const = default;
};

inline constexpr std::size_t kMaxSpendAlerts = 20;      // of a tenant, or of all together
inline constexpr std::size_t kMaxAlertRecipients = 20;  // of an alert
inline constexpr std::size_t kMaxAlertTextChars = 254;  // of an address, or the subject's prefix

// Tells that a tenant, or all of them together, have spent so much in a month, once in each.
struct SpendAlert {
  std::string id = {};  // "alert_" + ULID
  std::int64_t threshold_cents = 0;
  std::vector<std::string> recipients = {};  // who is to be told
  std::string subject_prefix = {};
  std::int64_t told_month = 0;  // the last one in which it was told: its first second; 0: none

  bool operator==(const SpendAlert&) const = default;
};

// Those of all tenants together, oldest first.
struct OrganizationAlerts {
  std::vector<SpendAlert> spend_alerts = {};

  bool operator==(const OrganizationAlerts&) const = default;
};

inline constexpr std::int64_t kMaxWeight = 100;  // of a tenant

// What is said of a tenant besides its limits.
struct TenantPolicy {
  ModelPermissions models = {};
  IpSet allowed_ips = {};
  std::map<std::string, MeterLimits, std::less<>> model_limits = {};  // rates and concurrency
  std::vector<SpendAlert> spend_alerts = {};                          // oldest first
  // Its share of the engine beside others that wait, of [1, kMaxWeight]; nullopt: 1.
  std::optional<std::int64_t> weight = {};
  std::string tier = {};  // service tier of requests that ask for none; empty: the default one
  std::map<std::string, std::string, std::less<>> labels = {};  // an admin's own, without effect

  bool operator==(const TenantPolicy&) const = default;
};

// And of one key.
struct KeyPolicy {
  MeterLimits limits = {};
  std::vector<std::string> allowed_models = {};  // empty: all of its tenant's
  IpSet allowed_ips = {};
  std::vector<std::string> allowed_tiers = {};  // service tiers; empty: all
  // Parameters of inference that nobody knows are left out and told, instead of refused. It allows
  // nothing, so whoever makes keys may give it.
  bool lenient = false;

  bool operator==(const KeyPolicy&) const = default;
};

// Whether a key of policy `child` can do nothing that one of `parent` cannot.
bool is_within(const KeyPolicy& child, const KeyPolicy& parent);

}  // namespace tessera
