#include "gateway/http/address.hpp"

#include <gtest/gtest.h>

namespace tessera {
namespace {

TEST(Address, IsReadAndWrittenBack) {
  for (const char* text : {"127.0.0.1:8080", "[::1]:8080", "0.0.0.0:0"}) {
    const auto endpoint = parse_address(text);
    ASSERT_TRUE(endpoint) << text;
    EXPECT_EQ(format_address(*endpoint), text);
  }
}

TEST(Address, ShortForms) {
  EXPECT_EQ(format_address(parse_address(":80").value()), "0.0.0.0:80");
  EXPECT_EQ(format_address(parse_address("localhost:80").value()), "127.0.0.1:80");
}

TEST(Address, AnythingElseIsRefused) {
  for (const char* text : {"", "8080", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:-1",
                           "example.com:80", "127.0.0.1:80 "}) {
    EXPECT_FALSE(parse_address(text)) << text;
  }
}

}  // namespace
}  // namespace tessera
