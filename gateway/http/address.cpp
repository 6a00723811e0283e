#include "gateway/http/address.hpp"

#include <charconv>
#include <cstdint>

namespace tessera {

namespace ip = boost::asio::ip;

Result<ip::tcp::endpoint> parse_address(const std::string& address) {
  const Error wrong{Code::kInvalidValue,
                    "'" + address + "' is not an address such as 127.0.0.1:8080 or [::1]:8080."};
  const std::size_t colon = address.rfind(':');
  if (colon == std::string::npos) return wrong;

  std::uint16_t port = 0;
  const char* const end = address.data() + address.size();
  const auto parsed = std::from_chars(address.data() + colon + 1, end, port);
  if (parsed.ec != std::errc() || parsed.ptr != end) return wrong;

  std::string host = address.substr(0, colon);
  if (host.empty()) host = "0.0.0.0";
  if (host == "localhost") host = "127.0.0.1";
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  boost::system::error_code error;
  const ip::address parsed_host = ip::make_address(host, error);
  if (error) return wrong;
  return ip::tcp::endpoint(parsed_host, port);
}

std::string format_address(const ip::tcp::endpoint& endpoint) {
  const std::string host = endpoint.address().to_string();
  const std::string port = std::to_string(endpoint.port());
  return endpoint.address().is_v6() ? '[' + host + "]:" + port : host + ':' + port;
}

}  // namespace tessera
