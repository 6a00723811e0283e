#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "gateway/api/api_json.hpp"
#include "storage/json.hpp"

namespace tessera {
namespace {

using Json = nlohmann::ordered_json;

// The ids of a page of the list a, b, c, d, e; a star if there is more.
std::string page(const std::string& query) {
  std::vector<Json> objects;
  for (const char* id : {"a", "b", "c", "d", "e"}) objects.push_back({{"id", id}});
  const auto reply = list_reply(parse_target("/list?" + query).value(), std::move(objects));
  if (!reply) return "error " + reply.error().param;
  const Json body = parse_json(std::get<HttpResponse>(*reply).body).value();
  EXPECT_EQ(body.at("object"), "list");
  std::string ids;
  for (const Json& object : body.at("data")) ids += object.at("id").get<std::string>();
  if (!ids.empty()) {
    EXPECT_EQ(body.at("first_id"), ids.substr(0, 1));
    EXPECT_EQ(body.at("last_id"), ids.substr(ids.size() - 1));
  }
  return ids + (body.at("has_more").get<bool>() ? "*" : "");
}

TEST(ListReply, Pages) {
  EXPECT_EQ(page(""), "abcde");
  EXPECT_EQ(page("limit=2"), "ab*");
  EXPECT_EQ(page("limit=2&after=b"), "cd*");
  EXPECT_EQ(page("limit=2&after=d"), "e");
  EXPECT_EQ(page("after=e"), "");
  EXPECT_EQ(page("limit=2&before=e"), "cd*");
  EXPECT_EQ(page("limit=2&before=b"), "a");
  EXPECT_EQ(page("before=a"), "");
  EXPECT_EQ(page("order=desc&limit=2"), "ed*");
  EXPECT_EQ(page("order=desc&after=d"), "cba");
}

TEST(ListReply, WrongParametersAreNamed) {
  EXPECT_EQ(page("limit=0"), "error limit");
  EXPECT_EQ(page("limit=101"), "error limit");
  EXPECT_EQ(page("limit=x"), "error limit");
  EXPECT_EQ(page("order=up"), "error order");
  EXPECT_EQ(page("after=z"), "error after");
}

}  // namespace
}  // namespace tessera
