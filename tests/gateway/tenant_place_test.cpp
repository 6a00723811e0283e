#include "gateway/http/tenant_place.hpp"

#include <gtest/gtest.h>

#include "gateway/http/client_address.hpp"

namespace tessera {
namespace {

using Segments = std::vector<std::string>;

TEST(TenantPlace, IsTakenOffThePath) {
  Target target = parse_target("/t/acme/v1/models?limit=1").value();
  EXPECT_EQ(take_tenant_slug(target, "globex.example.org", "example.org"), "acme");
  EXPECT_EQ(target.segments, (Segments{"v1", "models"}));
}

TEST(TenantPlace, IsTheHostsFirstName) {
  Target target = parse_target("/v1/models").value();
  const auto slug = [&](std::string_view host, std::string_view domain) {
    return take_tenant_slug(target, host, domain);
  };
  EXPECT_EQ(slug("acme.example.org", "example.org"), "acme");
  EXPECT_EQ(slug("ACME.Example.ORG:8443", "example.org"), "acme");
  EXPECT_EQ(slug("example.org", "example.org"), std::nullopt);
  EXPECT_EQ(slug("a.b.example.org", "example.org"), std::nullopt);
  EXPECT_EQ(slug("acmeexample.org", "example.org"), std::nullopt);
  EXPECT_EQ(slug("acme.example.org", ""), std::nullopt);
  EXPECT_EQ(target.segments, (Segments{"v1", "models"}));
}

TEST(TenantPlace, ShortPathsAreOrdinary) {
  Target target = parse_target("/t/acme").value();
  EXPECT_EQ(take_tenant_slug(target, "", ""), std::nullopt);
  EXPECT_EQ(target.segments, (Segments{"t", "acme"}));
}

std::string address(const Headers& headers, std::string_view peer,
                    const std::vector<std::string>& trusted) {
  return client_address(headers, peer, IpSet::parse(trusted).value());
}

TEST(ClientAddress, IsThePeersUnlessThatIsATrustedProxy) {
  const Headers forwarded{{"x-forwarded-for", "198.51.100.1"}};
  EXPECT_EQ(address(forwarded, "192.0.2.1", {}), "192.0.2.1");
  EXPECT_EQ(address(forwarded, "192.0.2.1", {"10.0.0.0/8"}), "192.0.2.1");
  EXPECT_EQ(address(forwarded, "10.1.2.3", {"10.0.0.0/8"}), "198.51.100.1");
  EXPECT_EQ(address({}, "10.1.2.3", {"10.0.0.0/8"}), "10.1.2.3");
}

TEST(ClientAddress, IsTheLastThatNoTrustedProxyHas) {
  const auto of = [](std::string_view list) {
    return address({{"x-forwarded-for", std::string(list)}}, "10.0.0.1", {"10.0.0.0/8"});
  };
  EXPECT_EQ(of("203.0.113.1, 198.51.100.1, 10.0.0.2"), "198.51.100.1");
  EXPECT_EQ(of("10.0.0.3,10.0.0.2"), "10.0.0.3");
  EXPECT_EQ(of("198.51.100.1:4711"), "198.51.100.1");
  EXPECT_EQ(of("[2001:db8::1]:4711"), "2001:db8::1");
  EXPECT_EQ(of("2001:db8::1"), "2001:db8::1");
  EXPECT_EQ(of("203.0.113.1, junk"), "");
  EXPECT_EQ(of("203.0.113.1,"), "");
}

TEST(ClientAddress, SeveralLinesAreOneList) {
  const Headers headers{{"x-forwarded-for", "203.0.113.1"}, {"x-forwarded-for", "198.51.100.1"}};
  EXPECT_EQ(address(headers, "10.0.0.1", {"10.0.0.0/8"}), "198.51.100.1");
}

}  // namespace
}  // namespace tessera
