#include "gateway/http/client_address.hpp"

#include <boost/asio/ip/address.hpp>
#include <boost/asio/ip/network_v6.hpp>

namespace tessera {
namespace {

std::string_view trimmed(std::string_view text) {
  const auto begin = text.find_first_not_of(" \t");
  if (begin == text.npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t") - begin + 1);
}

// "192.0.2.1", "2001:db8::1", "[2001:db8::1]:4711" or "192.0.2.1:4711", without the port.
std::string address_of(std::string_view entry) {
  if (entry.starts_with('[')) {
    entry = entry.substr(1, entry.find(']') - 1);
  } else if (const auto colon = entry.find(':'); colon == entry.rfind(':')) {
    entry = entry.substr(0, colon);
  }
  boost::system::error_code failed;
  const auto address = boost::asio::ip::make_address(std::string(entry), failed);
  return failed ? std::string() : address.to_string();
}

// All values of the header, as one list (RFC 9110, section 5.3).
std::string forwarded_for(const Headers& headers) {
  std::string all;
  for (const auto& [name, value] : headers) {
    if (name != "x-forwarded-for") continue;
    all += (all.empty() ? "" : ",") + value;
  }
  return all;
}

}  // namespace

std::string client_address(const Headers& headers, std::string_view peer,
                           const IpSet& trusted_proxies) {
  std::string address(peer);
  if (trusted_proxies.empty() || !trusted_proxies.contains(peer)) return address;
  const std::string list = forwarded_for(headers);
  std::string_view rest = list;
  while (!rest.empty()) {
    const auto comma = rest.rfind(',');
    const std::size_t begin = comma == rest.npos ? 0 : comma + 1;
    address = address_of(trimmed(rest.substr(begin)));
    if (address.empty() || !trusted_proxies.contains(address)) return address;
    rest = rest.substr(0, comma == rest.npos ? 0 : comma);
  }
  return address;
}

std::string network_of(const std::string& text) {
  namespace ip = boost::asio::ip;
  boost::system::error_code failed;
  const ip::address address = ip::make_address(text, failed);
  if (failed || address.is_v4()) return text;
  if (address.to_v6().is_v4_mapped()) {
    return ip::make_address_v4(ip::v4_mapped, address.to_v6()).to_string();
  }
  return ip::network_v6(address.to_v6(), 64).canonical().to_string();
}

}  // namespace tessera
