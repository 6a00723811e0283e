// egress.hpp — where the server may be made to connect by somebody else's URL.
//
// A name is looked up once, every address that it has is judged, and the connection is made to one
// of exactly those: a name that means another address a moment later (DNS rebinding) changes
// nothing. Refused is whatever is not a public unicast address: private, shared, loopback and
// link-local ranges (the clouds' metadata services live there), multicast, documentation, and the
// forms in which IPv6 carries an IPv4 address. One refused address refuses the name.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include <boost/asio/ip/address.hpp>

#include "storage/result.hpp"
#include "tenancy/access_policy.hpp"

namespace tessera {

inline constexpr std::size_t kMaxWebhookUrlChars = 2048;

struct EgressRules {
  bool allow_http = false;  // beside https
  IpSet allowed = {};       // addresses that may be connected to although they are not public
};

// An absolute URL taken apart. A fragment and a user's name are refused; so is whatever two parsers
// might read in two ways: blanks, control characters, backslashes, anything but ASCII.
struct WebhookUrl {
  bool tls = true;
  std::string host = {};  // lower case; an IPv6 address without its brackets
  std::uint16_t port = 443;
  std::string target = {};  // path and query, at least "/"

  // As the header Host has it: without the port if it is the scheme's own.
  std::string authority() const;
};

// Errors: kInvalidValue, param "url".
Result<WebhookUrl> parse_webhook_url(std::string_view url, const EgressRules& rules);

bool may_connect(const boost::asio::ip::address& address, const EgressRules& rules);

// All addresses of a host: a name, or an address itself. May wait. Errors: kIo.
using Resolver =
    std::function<Result<std::vector<boost::asio::ip::address>>(const std::string& host)>;

// The system's; waits as long as resolv.conf says.
Result<std::vector<boost::asio::ip::address>> resolve_host(const std::string& host);

// The addresses that may be connected to, at most kMaxPinned of them, in the resolver's order.
// Errors: kIo if there is none; kIpNotAuthorized if one of them is refused.
inline constexpr std::size_t kMaxPinned = 3;
Result<std::vector<boost::asio::ip::address>> pin_addresses(const WebhookUrl& url,
                                                            const EgressRules& rules,
                                                            const Resolver& resolve);

}  // namespace tessera
