// proxy_protocol.hpp — whose connection a proxy hands on, told in binary before anything else.
//
// Version 2 of HAProxy's PROXY protocol: twelve fixed bytes, version and command, family, length,
// and then addresses and extensions. Only connections from configured addresses begin with one, and
// then all of them must: what is not such a header, to the byte, ends the connection unanswered. A
// connection from elsewhere that sends one gets what any other junk gets. Version 1, a text, is not
// read.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "storage/result.hpp"

namespace tessera {

inline constexpr std::size_t kProxyHeadBytes = 16;       // the fixed part
inline constexpr std::size_t kMaxProxyRestBytes = 1024;  // what may follow it

// How many bytes follow the fixed part. Errors: kInvalidValue if it is none.
Result<std::size_t> proxy_rest_bytes(std::string_view head);

// The client's address, as an endpoint prints it; empty if the connection is the proxy's own (a
// health check) or it does not know whose it is. Errors: kInvalidValue.
Result<std::string> proxied_address(std::string_view head, std::string_view rest);

}  // namespace tessera
