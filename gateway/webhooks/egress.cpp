#include "gateway/webhooks/egress.hpp"

#include <algorithm>
#include <charconv>
#include <memory>
#include <optional>
#include <utility>

#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>

namespace tessera {
namespace {

namespace ip = boost::asio::ip;

// IANA's special-purpose registries: what is no public unicast address.
const IpSet& refused_ranges() {
  static const IpSet ranges =
      IpSet::parse({"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16",
                    "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24",
                    "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16", "192.175.48.0/24",
                    "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4",
                    "240.0.0.0/4",
                    // of 2000::/3: IETF's own and Teredo, documentation, 6to4
                    "2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20"})
          .value();
  return ranges;
}
const IpSet& global_unicast() {
  static const IpSet range = IpSet::parse({"2000::/3"}).value();
  return range;
}

Error wrong_url(const std::string& what) {
  return {Code::kInvalidValue, "'url' " + what + ".", "url"};
}

bool is_host_char(char c) {
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.';
}

char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

// Cuts the scheme off.
std::optional<bool> take_scheme(std::string_view& url) {
  for (const auto& [scheme, tls] : {std::pair<std::string_view, bool>("https://", true),
                                    std::pair<std::string_view, bool>("http://", false)}) {
    if (!url.starts_with(scheme)) continue;
    url.remove_prefix(scheme.size());
    return tls;
  }
  return std::nullopt;
}

// "[2001:db8::1]" or "example.com", cut off the authority.
std::optional<std::string> take_host(std::string_view& authority) {
  std::string host;
  if (authority.starts_with('[')) {
    const auto end = authority.find(']');
    if (end == authority.npos) return std::nullopt;
    boost::system::error_code failed;
    const auto address = ip::make_address_v6(std::string(authority.substr(1, end - 1)), failed);
    if (failed || address.scope_id() != 0) return std::nullopt;
    authority.remove_prefix(end + 1);
    return address.to_string();
  }
  for (const char c : authority.substr(0, authority.find(':'))) host += lower(c);
  authority.remove_prefix(host.size());
  const bool named = !host.empty() && host.size() <= 253 && std::ranges::all_of(host, is_host_char);
  return named ? std::optional(host) : std::nullopt;
}

// ":8443", or nothing.
bool read_port(std::string_view text, std::uint16_t& port) {
  if (text.empty()) return true;
  const char* const end = text.data() + text.size();
  const auto read = std::from_chars(text.data() + 1, end, port);
  return text.front() == ':' && text.size() > 1 && read.ec == std::errc() && read.ptr == end &&
         port != 0;
}

struct FreeAddresses {
  void operator()(addrinfo* list) const { freeaddrinfo(list); }
};

std::optional<ip::address> address_of(const addrinfo& info) {
  if (info.ai_family == AF_INET) {
    const auto* v4 = reinterpret_cast<const sockaddr_in*>(info.ai_addr);
    return ip::address_v4(ntohl(v4->sin_addr.s_addr));
  }
  if (info.ai_family != AF_INET6) return std::nullopt;
  const auto* v6 = reinterpret_cast<const sockaddr_in6*>(info.ai_addr);
  ip::address_v6::bytes_type bytes;
  std::copy_n(v6->sin6_addr.s6_addr, bytes.size(), bytes.begin());
  return ip::address_v6(bytes, v6->sin6_scope_id);
}

}  // namespace

std::string WebhookUrl::authority() const {
  const std::string name = host.find(':') == host.npos ? host : '[' + host + ']';
  return port == (tls ? 443 : 80) ? name : name + ':' + std::to_string(port);
}

Result<WebhookUrl> parse_webhook_url(std::string_view url, const EgressRules& rules) {
  if (url.size() > kMaxWebhookUrlChars) {
    return Error{Code::kStringAboveMaxLength,
                 "'url' may have " + std::to_string(kMaxWebhookUrlChars) + " characters.", "url"};
  }
  const bool plain = std::ranges::all_of(
      url, [](char c) { return c > 0x20 && c < 0x7F && c != '\\' && c != '#'; });
  if (!plain) return wrong_url("may not have blanks, backslashes, fragments or non-ASCII in it");
  const auto tls = take_scheme(url);
  if (!tls || (!*tls && !rules.allow_http)) return wrong_url("must begin with https://");
  WebhookUrl parsed{.tls = *tls, .port = static_cast<std::uint16_t>(*tls ? 443 : 80)};
  const auto path = std::min(url.find_first_of("/?"), url.size());
  std::string_view authority = url.substr(0, path);
  const auto host = take_host(authority);
  if (!host) return wrong_url("has no host that could be looked up, or names a user");
  parsed.host = *host;
  if (!read_port(authority, parsed.port)) return wrong_url("has no port between 1 and 65535");
  parsed.target = url.substr(path);
  if (!parsed.target.starts_with('/')) parsed.target.insert(0, "/");
  return parsed;
}

bool may_connect(const ip::address& address, const EgressRules& rules) {
  if (address.is_v6() && address.to_v6().scope_id() != 0) return false;
  if (address.is_v6() && address.to_v6().is_v4_mapped()) {
    return may_connect(ip::make_address_v4(ip::v4_mapped, address.to_v6()), rules);
  }
  const std::string text = address.to_string();
  if (!rules.allowed.empty() && rules.allowed.contains(text)) return true;
  if (address.is_v6() && !global_unicast().contains(text)) return false;
  return !refused_ranges().contains(text);
}

Result<std::vector<ip::address>> resolve_host(const std::string& host) {
  addrinfo wanted{};
  wanted.ai_socktype = SOCK_STREAM;
  wanted.ai_flags = AI_ADDRCONFIG;
  addrinfo* found = nullptr;
  if (getaddrinfo(host.c_str(), nullptr, &wanted, &found) != 0) {
    return Error{Code::kIo, "the host has no address"};
  }
  const std::unique_ptr<addrinfo, FreeAddresses> list(found);
  std::vector<ip::address> addresses;
  for (const addrinfo* one = list.get(); one != nullptr; one = one->ai_next) {
    if (const auto address = address_of(*one)) addresses.push_back(*address);
  }
  return addresses;
}

Result<std::vector<ip::address>> pin_addresses(const WebhookUrl& url, const EgressRules& rules,
                                               const Resolver& resolve) {
  auto addresses = resolve(url.host);
  if (!addresses) return addresses.error();
  if (addresses->empty()) return Error{Code::kIo, "the host has no address"};
  const bool allowed = std::ranges::all_of(
      *addresses, [&](const ip::address& address) { return may_connect(address, rules); });
  if (!allowed) return Error{Code::kIpNotAuthorized, "the host's address is not allowed"};
  if (addresses->size() > kMaxPinned) addresses->resize(kMaxPinned);
  return addresses;
}

}  // namespace tessera
