#include "tenancy/access_policy.hpp"

#include <algorithm>
#include <charconv>
#include <optional>

#include <boost/asio/ip/address.hpp>

#include "tenancy/tenant.hpp"

namespace tessera {
namespace {

namespace ip = boost::asio::ip;
using Bytes = std::array<std::uint8_t, 16>;

constexpr int kMappedBits = 96;  // of ::ffff:0:0/96, where IPv4 lies

std::optional<Bytes> bytes_of(const std::string& text, bool& is_v4) {
  boost::system::error_code failed;
  const ip::address address = ip::make_address(text, failed);
  if (failed || (address.is_v6() && address.to_v6().scope_id() != 0)) return std::nullopt;
  is_v4 = address.is_v4();
  return is_v4 ? ip::make_address_v6(ip::v4_mapped, address.to_v4()).to_bytes()
               : address.to_v6().to_bytes();
}

bool same_prefix(const Bytes& left, const Bytes& right, int bits) {
  const auto whole = static_cast<std::size_t>(bits / 8);
  if (!std::equal(left.begin(), left.begin() + static_cast<std::ptrdiff_t>(whole), right.begin())) {
    return false;
  }
  if (bits % 8 == 0) return true;
  return ((left[whole] ^ right[whole]) >> (8 - bits % 8)) == 0;
}

bool has_host_bits(const Bytes& network, int bits) {
  Bytes cut = network;
  for (int bit = bits; bit < 128; ++bit) {
    cut[static_cast<std::size_t>(bit / 8)] &= static_cast<std::uint8_t>(~(0x80 >> bit % 8));
  }
  return cut != network;
}

std::optional<int> prefix_length(std::string_view text, int most) {
  int bits = 0;
  const auto read = std::from_chars(text.data(), text.data() + text.size(), bits);
  const bool valid = read.ec == std::errc() && read.ptr == text.data() + text.size();
  if (!valid || bits < 0 || bits > most || text.size() > 3) return std::nullopt;
  return bits;
}

// nullopt: none. The parent's limit binds in any case; a child must not promise more.
bool is_within(std::optional<std::int64_t> child, std::optional<std::int64_t> parent) {
  return !parent || (child && *child <= *parent);
}

}  // namespace

Result<IpSet> IpSet::parse(const std::vector<std::string>& texts) {
  if (texts.size() > kMaxIpRanges) {
    return Error{Code::kInvalidValue,
                 "At most " + std::to_string(kMaxIpRanges) + " address ranges.", "allowed_ips"};
  }
  IpSet set;
  for (const std::string& text : texts) {
    const Error wrong{
        Code::kInvalidValue,
        "'" + text.substr(0, 64) + "' is no address range such as 203.0.113.0/24 or 2001:db8::/32.",
        "allowed_ips"};
    const auto slash = text.find('/');
    bool is_v4 = false;
    const auto network = bytes_of(text.substr(0, slash), is_v4);
    if (!network) return wrong;
    const int most = is_v4 ? 32 : 128;
    const auto bits = slash == text.npos
                          ? std::optional(most)
                          : prefix_length(std::string_view(text).substr(slash + 1), most);
    if (!bits) return wrong;
    const Range range{*network, is_v4 ? *bits + kMappedBits : *bits};
    if (has_host_bits(range.network, range.prefix_bits)) return wrong;
    set.ranges_.push_back(range);
    set.texts_.push_back(text);
  }
  return set;
}

bool IpSet::contains(std::string_view address) const {
  if (empty()) return true;
  bool is_v4 = false;
  const auto bytes = bytes_of(std::string(address), is_v4);
  return bytes && std::ranges::any_of(ranges_, [&](const Range& range) {
           return same_prefix(*bytes, range.network, range.prefix_bits);
         });
}

bool IpSet::covers(const IpSet& other) const {
  if (empty()) return true;
  return !other.empty() && std::ranges::all_of(other.ranges_, [&](const Range& inner) {
    return std::ranges::any_of(ranges_, [&](const Range& outer) {
      return outer.prefix_bits <= inner.prefix_bits &&
             same_prefix(outer.network, inner.network, outer.prefix_bits);
    });
  });
}

bool ModelPermissions::allow(std::string_view model) const {
  if (mode == Mode::kAll) return true;
  const bool listed = std::ranges::find(models, model) != models.end();
  return listed == (mode == Mode::kAllowList);
}

bool Caller::may_come_from(std::string_view address) const {
  return (!tenant_policy || tenant_policy->allowed_ips.contains(address)) &&
         (!key_policy || key_policy->allowed_ips.contains(address));
}

bool Caller::may_use_model(std::string_view model) const {
  if (tenant_policy && !tenant_policy->models.allow(model)) return false;
  if (!key_policy || key_policy->allowed_models.empty()) return true;
  return std::ranges::find(key_policy->allowed_models, model) != key_policy->allowed_models.end();
}

bool is_within(const KeyPolicy& child, const KeyPolicy& parent) {
  using Limit = std::optional<std::int64_t> MeterLimits::*;
  constexpr Limit kLimits[] = {
      &MeterLimits::max_concurrent_requests, &MeterLimits::requests_per_minute,
      &MeterLimits::tokens_per_minute,       &MeterLimits::requests_per_day,
      &MeterLimits::tokens_per_day,          &MeterLimits::tokens_per_month,
      &MeterLimits::spend_cents_per_month};
  for (const Limit limit : kLimits) {
    if (!is_within(child.limits.*limit, parent.limits.*limit)) return false;
  }
  const auto burst = [](std::optional<std::int64_t> told, std::optional<std::int64_t> rate) {
    return told ? told : rate;
  };
  const auto& mine = child.limits;
  const auto& theirs = parent.limits;
  if (!is_within(burst(mine.burst_requests, mine.requests_per_minute),
                 burst(theirs.burst_requests, theirs.requests_per_minute)) ||
      !is_within(burst(mine.burst_tokens, mine.tokens_per_minute),
                 burst(theirs.burst_tokens, theirs.tokens_per_minute))) {
    return false;
  }
  const auto listed = [](const std::vector<std::string>& list) {
    return [&list](const std::string& item) { return std::ranges::find(list, item) != list.end(); };
  };
  const auto is_part = [&](const std::vector<std::string>& part,
                           const std::vector<std::string>& whole) {
    return whole.empty() || (!part.empty() && std::ranges::all_of(part, listed(whole)));
  };
  return is_part(child.allowed_models, parent.allowed_models) &&
         is_part(child.allowed_tiers, parent.allowed_tiers) &&
         parent.allowed_ips.covers(child.allowed_ips);
}

}  // namespace tessera
