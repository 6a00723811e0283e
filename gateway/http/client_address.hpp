// client_address.hpp — whose request it is, when proxies stand in between.
#pragma once

#include <string>
#include <string_view>

#include "gateway/http/http.hpp"
#include "tenancy/access_policy.hpp"

namespace tessera {

// The address that the request came from: `peer`, unless that is a trusted proxy. Then
// X-Forwarded-For is read from its end, where the proxy nearest to us wrote, back to the first
// address that is not a trusted proxy's; what stands before that anybody may have written. Empty,
// which is in no set of addresses, if that place holds no address.
std::string client_address(const Headers& headers, std::string_view peer,
                           const IpSet& trusted_proxies);

// What one subscriber may have all of, for counting by it: an IPv4 address itself, of an IPv6 one
// its /64. A text that is no address is returned as it is.
std::string network_of(const std::string& address);

}  // namespace tessera
