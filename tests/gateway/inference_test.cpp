// Handlers over a whole platform without sockets: how uploads, deletion and refusals meet the cache
// of adapters.
#include "gateway/inference/inference.hpp"

#include <chrono>
#include <memory>
#include <semaphore>
#include <string>
#include <utility>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "gateway/handlers.hpp"
#include "gateway/inference/generation.hpp"
#include "tests/gateway/tiny_platform.hpp"
#include "tests/support/temp_dir.hpp"

namespace tessera {
namespace {

using testing::HasSubstr;

class InferenceTest : public testing::Test {
 protected:
  Call call(const std::string& body = "") {
    Call call;
    call.id = RequestId("req_" + new_ulid(platform_->clock.wall_now()));
    call.caller = caller_;
    call.request.body = body;
    call.received_at = platform_->clock.steady_now();
    call.received_wall = platform_->clock.wall_now();
    return call;
  }

  Result<Reply> upload(const std::string& name) {
    Call upload = call(upload_form(name));
    upload.request.headers.emplace_back("content-type", kFormType);
    return create_adapter(*platform_, upload);
  }

  void remove(const std::string& name) {
    Call removal = call();
    removal.arguments = {name};
    removal.target.segments = {"v1", "adapters", name};
    ASSERT_TRUE(delete_adapter(*platform_, removal));
  }

  Result<Reply> complete(const std::string& model) {
    Call completion = call(R"({"model": ")" + model + R"(", "prompt": "hello", "max_tokens": 3})");
    return create_completion(*platform_, completion);
  }

  HttpResponse answer_of(Result<Reply> reply) {
    if (auto* response = std::get_if<HttpResponse>(&*reply)) return *response;
    Generation& generation = *std::get<std::unique_ptr<Generation>>(*reply);
    std::counting_semaphore<> woken{0};
    EXPECT_TRUE(generation.start([&] { woken.release(); }));
    while (!generation.poll().finished) woken.acquire();
    const HttpResponse response = generation.whole_answer();
    reply = Error{};
    platform_->engine->drain(std::chrono::steady_clock::time_point::max());
    return response;
  }

  TempDir directory_;
  Caller caller_ = {.tenant = TenantId("t"), .key = KeyId("k")};
  std::unique_ptr<Platform> platform_ = open_tiny_platform(directory_.path());
};

TEST_F(InferenceTest, AnUploadedAdapterAnswers) {
  ASSERT_TRUE(upload("bot"));
  EXPECT_EQ(answer_of(complete("bot")).status, 200);
}

TEST_F(InferenceTest, ARefusedRequestLoadsNoAdapter) {
  ASSERT_TRUE(upload("bot"));
  caller_.limits.burst_tokens = 2;
  EXPECT_EQ(answer_of(complete("bot")).status, 400);
  const HostCache::Stats stats = platform_->host_cache->stats();
  EXPECT_EQ(stats.loading + stats.loads, 0U);
}

TEST_F(InferenceTest, AnAdapterLargerThanItsMemoryIsRefusedAtUpload) {
  ServerConfig config;
  config.adapter_bytes = 1024;
  platform_.reset();
  platform_ = open_tiny_platform(directory_.path(), config);
  const auto refused = upload("bot");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kStorageQuotaExceeded);
  EXPECT_THAT(refused.error().message, HasSubstr("larger than this server's adapter memory"));
  EXPECT_FALSE(platform_->adapters->get(caller_.tenant, "bot"));
}

TEST_F(InferenceTest, TheLastDeletionOfAContentFreesItsPages) {
  ASSERT_TRUE(upload("bot"));
  ASSERT_TRUE(upload("twin"));
  ASSERT_EQ(answer_of(complete("bot")).status, 200);
  remove("bot");
  EXPECT_EQ(platform_->host_cache->stats().entries, 1U);
  remove("twin");
  EXPECT_EQ(platform_->host_cache->stats().entries, 0U);
}

TEST_F(InferenceTest, AContentThatIsUploadedAgainIsServedAtOnce) {
  ASSERT_TRUE(upload("bot"));
  const ResolvedModel deleted = resolve_model(*platform_, caller_, "bot").value();
  remove("bot");
  Call late = call();
  auto permit = platform_->admission.admit(caller_, platform_->clock.steady_now()).value();
  PreparedInference prepared{
      .kind = AnswerKind::kText, .model = deleted, .options = {}, .prompts = {{1}}};
  auto reply = begin_generation(*platform_, late, std::move(permit), std::move(prepared));
  Generation& generation = *std::get<std::unique_ptr<Generation>>(*reply);
  std::counting_semaphore<> woken{0};
  ASSERT_TRUE(generation.start([&] { woken.release(); }));
  while (!generation.poll().finished) woken.acquire();
  EXPECT_EQ(generation.whole_answer().status, 404);

  ASSERT_TRUE(upload("bot"));
  EXPECT_EQ(answer_of(complete("bot")).status, 200);
}

}  // namespace
}  // namespace tessera
