// The adapters' handlers over a whole platform without sockets.
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "gateway/handlers.hpp"
#include "storage/json.hpp"
#include "tests/gateway/tiny_platform.hpp"
#include "tests/support/temp_dir.hpp"

namespace tessera {
namespace {

using Json = nlohmann::ordered_json;

class AdaptersApiTest : public testing::Test {
 protected:
  Result<Reply> ask(Handler handler, const std::string& path, std::vector<std::string> arguments,
                    const std::string& form = "") {
    Call call;
    call.caller = {.tenant = TenantId("t"), .key = KeyId("k")};
    call.arguments = std::move(arguments);
    call.target = parse_target(path).value();
    call.received_wall = platform_->clock.wall_now();
    if (!form.empty()) stage_upload(*platform_, call, form);
    return settled(handler(*platform_, call));
  }
  int upload(unsigned seed) {
    const auto reply = ask(create_adapter, "/v1/adapters", {}, upload_form("bot", seed));
    return body_of(reply).at("version");
  }
  Result<Reply> remove_version(const std::string& version, const std::string& query) {
    return ask(delete_adapter_version, "/v1/adapters/bot/versions/" + version + query,
               {"bot", version});
  }
  static Json body_of(const Result<Reply>& reply) {
    return parse_json(std::get<HttpResponse>(reply.value()).body).value();
  }
  bool resolves(std::string_view model) {
    return platform_->adapters->resolve(TenantId("t"), model).has_value();
  }

  TempDir directory_;
  std::unique_ptr<Platform> platform_ = open_tiny_platform(directory_.path());
};

TEST_F(AdaptersApiTest, AVersionThatAnAliasPointsAtIsRemovedOnlyByForce) {
  upload(1);
  ASSERT_EQ(upload(2), 2);
  for (const char* query : {"", "?force=false"}) {
    const auto refused = remove_version("2", query);
    ASSERT_FALSE(refused) << query;
    EXPECT_EQ(refused.error().code, Code::kConflict);
    EXPECT_TRUE(resolves("bot"));
  }
  const Json removed = body_of(remove_version("2", "?force"));
  EXPECT_EQ(removed.at("id"), "bot@2");
  EXPECT_EQ(removed.at("deleted"), true);
  EXPECT_FALSE(resolves("bot@2"));
  EXPECT_FALSE(resolves("bot")) << "the alias went with it";
  EXPECT_TRUE(resolves("bot@1"));
  EXPECT_EQ(body_of(ask(get_adapter, "/v1/adapters/bot", {"bot"})).at("aliases"), Json::object());
}

TEST_F(AdaptersApiTest, ForceIsTrueOrFalse) {
  upload(1);
  const auto refused = remove_version("1", "?force=yes");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kInvalidValue);
  EXPECT_EQ(refused.error().param, "force");
  EXPECT_TRUE(resolves("bot@1"));
  EXPECT_TRUE(remove_version("1", "?force=true"));
}

TEST_F(AdaptersApiTest, ANameGoesWithItsAliases) {
  upload(1);
  upload(2);
  EXPECT_TRUE(ask(delete_adapter, "/v1/adapters/bot", {"bot"}));
  EXPECT_FALSE(resolves("bot"));
  EXPECT_FALSE(ask(get_adapter, "/v1/adapters/bot", {"bot"}));
}

}  // namespace
}  // namespace tessera
