#include "gateway/http/proxy_protocol.hpp"

#include <random>
#include <string>

#include <gtest/gtest.h>

namespace tessera {
namespace {

using namespace std::string_literals;

const std::string kSignature("\r\n\r\n\0\r\nQUIT\n", 12);
const std::string kTcp4 = "\xc0\x00\x02\x07\xcb\x00\x71\x01\x30\x39\x01\xbb"s;

std::string head(char command, char family, std::size_t rest) {
  return kSignature + command + family + static_cast<char>(rest >> 8) +
         static_cast<char>(rest & 0xFF);
}

TEST(ProxyProtocol, TellsTheSourceOfATcp4Connection) {
  const std::string fixed = head('\x21', '\x11', kTcp4.size());
  EXPECT_EQ(proxy_rest_bytes(fixed).value(), 12U);
  EXPECT_EQ(proxied_address(fixed, kTcp4).value(), "192.0.2.7");
}

TEST(ProxyProtocol, TellsTheSourceOfATcp6Connection) {
  const std::string rest =
      "\x20\x01\x0d\xb8"s + std::string(11, '\0') + '\x05' + std::string(20, '\0');
  EXPECT_EQ(proxied_address(head('\x21', '\x21', rest.size()), rest).value(), "2001:db8::5");
}

TEST(ProxyProtocol, ExtensionsArePassedOver) {
  const std::string rest = kTcp4 + "\x04\x00\x03"s + "abc" + "\x01\x00\x00"s;
  EXPECT_EQ(proxied_address(head('\x21', '\x11', rest.size()), rest).value(), "192.0.2.7");
}

TEST(ProxyProtocol, AHealthCheckIsTheProxysOwn) {
  EXPECT_EQ(proxied_address(head('\x20', '\0', 0), "").value(), "");
  EXPECT_EQ(proxied_address(head('\x20', '\x11', kTcp4.size()), kTcp4).value(), "");
  EXPECT_EQ(proxied_address(head('\x21', '\0', 0), "").value(), "");
}

TEST(ProxyProtocol, WhatIsNotOneToTheByteIsNone) {
  EXPECT_FALSE(proxy_rest_bytes("PROXY TCP4 192.0.2.7 203.0.113.1 1 2\r\n")) << "version 1";
  EXPECT_FALSE(proxy_rest_bytes("GET / HTTP/1.1\r\n"));
  EXPECT_FALSE(proxy_rest_bytes(""));
  EXPECT_FALSE(proxy_rest_bytes(head('\x21', '\x11', 12).substr(0, 15)));
  for (const char command : {'\x00', '\x11', '\x22', '\x2f', '\x31'}) {
    EXPECT_FALSE(proxy_rest_bytes(head(command, '\x11', 12))) << int{command};
  }
  EXPECT_FALSE(proxy_rest_bytes(head('\x21', '\x11', kMaxProxyRestBytes + 1)));
  EXPECT_TRUE(proxy_rest_bytes(head('\x21', '\x11', kMaxProxyRestBytes)));
  for (const char family : {'\x10', '\x12', '\x22', '\x31', '\x32', '\x13', '\x01'}) {
    EXPECT_FALSE(proxied_address(head('\x21', family, kTcp4.size()), kTcp4)) << int{family};
  }
  EXPECT_FALSE(proxied_address(head('\x21', '\x11', 11), kTcp4.substr(1)));
  EXPECT_FALSE(proxied_address(head('\x21', '\x21', kTcp4.size()), kTcp4));
  EXPECT_FALSE(proxied_address(head('\x21', '\x11', 13), kTcp4)) << "another length than was said";
  for (const std::string& extension : {"\x04"s, "\x04\x00"s, "\x04\x00\x01"s, "\x04\xff\xff"s}) {
    const std::string rest = kTcp4 + extension;
    EXPECT_FALSE(proxied_address(head('\x21', '\x11', rest.size()), rest));
  }
}

TEST(ProxyProtocol, NoBytesDoHarm) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  for (int i = 0; i < 20'000; ++i) {
    std::string fixed = head('\x21', '\x11', 12);
    std::string rest(random() % 64, '\0');
    for (char& c : rest) c = static_cast<char>(random());
    fixed[12 + random() % 4] = static_cast<char>(random());
    const auto size = proxy_rest_bytes(fixed);
    const auto address = proxied_address(fixed, rest);
    if (!address) continue;
    EXPECT_EQ(size.value(), rest.size());
  }
}

}  // namespace
}  // namespace tessera
