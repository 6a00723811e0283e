// address.hpp — "host:port" as people write it.
#pragma once

#include <string>

#include <boost/asio/ip/tcp.hpp>

#include "storage/result.hpp"

namespace tessera {

// "127.0.0.1:8080", "[::1]:8080", "localhost:8080", ":8080" (every IPv4 interface); port 0: any.
// No name but localhost is looked up. Errors: kInvalidValue.
Result<boost::asio::ip::tcp::endpoint> parse_address(const std::string& address);

std::string format_address(const boost::asio::ip::tcp::endpoint& endpoint);

}  // namespace tessera
