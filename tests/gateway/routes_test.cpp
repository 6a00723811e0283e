#include "gateway/routes.hpp"

#include <set>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tessera {
namespace {

using testing::ElementsAre;

Result<Match> match(std::string_view method, std::string_view path) {
  return match_route(api_routes(), method, parse_target(path).value());
}

TEST(Routes, NoRouteOfTheApiIsOpenToEveryone) {
  for (const Route& route : api_routes()) {
    EXPECT_NE(route.access, Access::kPublic) << route.pattern;
    EXPECT_NE(route.access, Access::kUnset) << route.pattern;
    EXPECT_FALSE(check_access(route.access, Caller{})) << route.pattern << " without any scope";
  }
}

// What every key may read: nothing of anybody's.
bool is_for_every_key(const Route& route) {
  return route.pattern == "/openapi.json";
}

TEST(Routes, AdministrationIsForAdminsOnly) {
  Caller tenant;
  tenant.key = KeyId("t");
  tenant.scopes = kTenantScopes;
  Caller admin;
  admin.key = KeyId("a");
  admin.scopes = kAdminScopes;
  for (const Route& route : api_routes()) {
    EXPECT_EQ(route.access == Access::kAnyKey, is_for_every_key(route)) << route.pattern;
    if (is_for_every_key(route)) continue;
    const bool administrative =
        route.pattern.starts_with("/v1/organization/") || route.pattern.starts_with("/admin/");
    EXPECT_EQ(check_access(route.access, admin).has_value(), administrative) << route.pattern;
    EXPECT_EQ(check_access(route.access, tenant).has_value(), !administrative) << route.pattern;
  }
}

TEST(Routes, EveryRouteHasAHandler) {
  for (const auto routes : {api_routes(), ops_routes()}) {
    for (const Route& route : routes) EXPECT_NE(route.handler, nullptr) << route.pattern;
  }
}

TEST(Routes, EveryRouteIsFoundByItsOwnPattern) {
  for (const Route& route : api_routes()) {
    const auto found = match(route.method, route.pattern);
    ASSERT_TRUE(found) << route.pattern;
    EXPECT_EQ(found->route, &route) << route.pattern << " is hidden by " << found->route->pattern;
  }
}

TEST(Routes, BodiesAreBounded) {
  for (const Route& route : api_routes()) {
    EXPECT_LE(route.max_body_bytes, kMaxUploadBodyBytes) << route.pattern;
    const bool has_body = route.method != "GET" && route.method != "DELETE";
    EXPECT_EQ(route.max_body_bytes > 0, has_body) << route.pattern;
  }
}

// What goes to memory is small.
TEST(Routes, LongBodiesGoToDisk) {
  for (const Route& route : api_routes()) {
    const bool staged =
        route.body == Body::kForm || route.body == Body::kPackage || route.body == Body::kFile;
    EXPECT_TRUE(staged || route.max_body_bytes <= kMaxJsonBytes) << route.pattern;
    const bool has_form = route.body == Body::kForm || route.body == Body::kPackage;
    EXPECT_EQ(route.parts.empty(), !has_form) << route.pattern;
  }
}

TEST(MatchRoute, ArgumentsComeInOrder) {
  const auto found = match("GET", "/v1/adapters/bot/versions/7");
  ASSERT_TRUE(found);
  EXPECT_THAT(found->arguments, ElementsAre("bot", "7"));
}

TEST(MatchRoute, HeadFindsWhatGetFindsAndNothingElse) {
  ASSERT_TRUE(match("HEAD", "/v1/models"));
  EXPECT_EQ(match("HEAD", "/v1/models")->route, match("GET", "/v1/models")->route);
  EXPECT_EQ(match("HEAD", "/v1/completions").error().code, Code::kMethodNotAllowed);
}

TEST(MatchRoute, OtherPathsAreNotFound) {
  for (const char* path : {"/", "/v1", "/v1/", "/v1/model", "/v1/models/", "/v1//models",
                           "/v1/models/a/b", "/V1/models", "/v1/adapters/a/versions/1/x"}) {
    const auto found = match("GET", path);
    ASSERT_FALSE(found) << path;
    EXPECT_EQ(found.error().code, Code::kNotFound);
  }
}

TEST(MatchRoute, OtherMethodsAreToldWhatIsAllowed) {
  const auto found = match("PUT", "/v1/adapters/bot");
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().code, Code::kMethodNotAllowed);
  EXPECT_EQ(found.error().param, "GET, HEAD, PATCH, DELETE");
}

}  // namespace
}  // namespace tessera
