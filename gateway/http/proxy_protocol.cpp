#include "gateway/http/proxy_protocol.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include <boost/asio/ip/address.hpp>

namespace tessera {
namespace {

namespace ip = boost::asio::ip;

constexpr std::string_view kSignature("\r\n\r\n\0\r\nQUIT\n", 12);
static_assert(kSignature.size() == 12);

constexpr std::uint8_t kLocal = 0x20;  // version 2, and the command
constexpr std::uint8_t kProxied = 0x21;
constexpr std::uint8_t kUnspecified = 0x00;
constexpr std::uint8_t kTcp4 = 0x11;
constexpr std::uint8_t kTcp6 = 0x21;
constexpr std::size_t kTcp4Bytes = 12;  // two addresses and two ports
constexpr std::size_t kTcp6Bytes = 36;

Error malformed() {
  return {Code::kInvalidValue, "not a header of the PROXY protocol, version 2"};
}

std::uint8_t byte(std::string_view text, std::size_t at) {
  return static_cast<std::uint8_t>(text[at]);
}
std::size_t two_bytes(std::string_view text, std::size_t at) {
  return std::size_t{byte(text, at)} << 8 | byte(text, at + 1);
}

// Whether extensions (type, length, value) fill what is left.
bool are_extensions(std::string_view rest) {
  while (!rest.empty()) {
    if (rest.size() < 3) return false;
    const std::size_t size = 3 + two_bytes(rest, 1);
    if (size > rest.size()) return false;
    rest.remove_prefix(size);
  }
  return true;
}

template <class Address>
std::string source_of(std::string_view rest) {
  typename Address::bytes_type bytes;
  std::transform(rest.begin(), rest.begin() + static_cast<std::ptrdiff_t>(bytes.size()),
                 bytes.begin(), [](char c) { return static_cast<unsigned char>(c); });
  return Address(bytes).to_string();
}

}  // namespace

Result<std::size_t> proxy_rest_bytes(std::string_view head) {
  if (head.size() != kProxyHeadBytes || !head.starts_with(kSignature)) return malformed();
  if (byte(head, 12) != kLocal && byte(head, 12) != kProxied) return malformed();
  const std::size_t rest = two_bytes(head, 14);
  return rest <= kMaxProxyRestBytes ? Result<std::size_t>(rest) : malformed();
}

Result<std::string> proxied_address(std::string_view head, std::string_view rest) {
  const auto size = proxy_rest_bytes(head);
  if (!size || rest.size() != *size) return malformed();
  if (byte(head, 12) == kLocal || byte(head, 13) == kUnspecified) return std::string();
  const bool v4 = byte(head, 13) == kTcp4;
  const std::size_t addresses = v4 ? kTcp4Bytes : kTcp6Bytes;
  if ((!v4 && byte(head, 13) != kTcp6) || rest.size() < addresses ||
      !are_extensions(rest.substr(addresses))) {
    return malformed();
  }
  return v4 ? source_of<ip::address_v4>(rest) : source_of<ip::address_v6>(rest);
}

}  // namespace tessera
