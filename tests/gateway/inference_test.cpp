// Handlers over a whole platform without sockets: how uploads, deletion and refusals meet the cache
// of adapters.
#include "gateway/inference/inference.hpp"

#include <chrono>
#include <future>
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

  Result<Reply> upload(const std::string& name, unsigned seed = 1) {
    Call upload = call();
    stage_upload(*platform_, upload, upload_form(name, seed));
    return settled(create_adapter(*platform_, upload));
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
    const auto woken = std::make_shared<std::counting_semaphore<>>(0);  // the last call may be late
    EXPECT_TRUE(generation.start([woken] { woken->release(); }));
    while (!generation.poll().finished) woken->acquire();
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

TEST_F(InferenceTest, ALoadBeginsWhenTheRequestEntersAndBeforeItIsReserved) {
  ASSERT_TRUE(upload("bot"));
  const AdapterDigest digest = *resolve_model(*platform_, caller_, "bot")->adapter;
  platform_->host_cache->forget(digest);
  const HostCache::Stats before = platform_->host_cache->stats();
  caller_.limits.burst_tokens = 2;
  EXPECT_EQ(answer_of(complete("bot")).status, 400);
  const HostCache::Stats stats = platform_->host_cache->stats();
  EXPECT_EQ(stats.loading + stats.loads, before.loads + 1);
}

// A mix of `adapters`, as JSON, over `model`.
class MixTest : public InferenceTest {
 protected:
  Result<Reply> mix(const std::string& adapters, const std::string& model = "tiny") {
    Call completion = call(R"({"model": ")" + model + R"(", "adapters": )" + adapters +
                           R"(, "prompt": "hello", "max_tokens": 3})");
    return create_completion(*platform_, completion);
  }
  static std::string header(const HttpResponse& response, const std::string& name) {
    for (const auto& [key, value] : response.headers) {
      if (key == name) return value;
    }
    return "";
  }
};

TEST_F(MixTest, IsAnsweredAndToldByItsOwnDigest) {
  ASSERT_TRUE(upload("a", 1));
  ASSERT_TRUE(upload("b", 2));
  const auto digest = [&](const std::string& name) {
    return *resolve_model(*platform_, caller_, name)->adapter;
  };
  const auto answer = answer_of(mix(R"([{"model": "a", "weight": 0.5}, {"model": "b"}])"));
  ASSERT_EQ(answer.status, 200) << answer.body;
  EXPECT_EQ(header(answer, "x-adapter-version"), "a@1*0.5+b@1*1");
  const std::vector<MixedAdapter> terms{{digest("a"), 0.5F}, {digest("b"), 1.0F}};
  EXPECT_EQ(header(answer, "x-adapter-sha256"), to_hex(mix_digest(terms)));
}

TEST_F(MixTest, IsRefusedByTheTermThatIsWrong) {
  ASSERT_TRUE(upload("a"));
  const auto refusal = [&](const Result<Reply>& reply) {
    EXPECT_FALSE(reply);
    return std::pair(reply.error().code, reply.error().param);
  };
  EXPECT_EQ(refusal(mix(R"([{"model": "a"}])", "a")),
            std::pair(Code::kInvalidValue, std::string("model")));
  EXPECT_EQ(refusal(mix(R"([{"model": "a"}, {"model": "tiny"}])")),
            std::pair(Code::kInvalidValue, std::string("adapters[1].model")));
  EXPECT_EQ(refusal(mix(R"([{"model": "a"}, {"model": "a@1"}])")),
            std::pair(Code::kInvalidValue, std::string("adapters[1].model")));
  EXPECT_EQ(refusal(mix(R"([{"model": "nobody"}])")),
            std::pair(Code::kModelNotFound, std::string("adapters[0].model")));
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
  std::promise<void> gone;
  platform_->adapters->set_on_gone([&](const AdapterDigest& digest) {
    platform_->trials->gone(digest);
    gone.set_value();
  });
  ASSERT_TRUE(upload("bot"));
  ASSERT_TRUE(upload("twin"));
  ASSERT_EQ(answer_of(complete("bot")).status, 200);
  remove("bot");
  EXPECT_EQ(platform_->host_cache->stats().entries, 1U);
  remove("twin");
  gone.get_future().wait();
  EXPECT_EQ(platform_->host_cache->stats().entries, 0U);
}

// It was admitted, so it is served: its bytes stay until it has ended, and are loaded if need be.
TEST_F(InferenceTest, ARequestWhoseAdapterIsDeletedBeforeItIsLoadedIsServed) {
  std::promise<void> gone;
  platform_->adapters->set_on_gone([&](const AdapterDigest&) { gone.set_value(); });
  ASSERT_TRUE(upload("bot"));
  PreparedInference prepared{.kind = AnswerKind::kText,
                             .model = resolve_model(*platform_, caller_, "bot").value(),
                             .options = {},
                             .prompts = {{1}}};
  const AdapterDigest digest = *prepared.model.adapter;
  remove("bot");
  platform_->host_cache->forget(digest);
  EXPECT_FALSE(resolve_model(*platform_, caller_, "bot@1"));
  Call late = call();
  auto permit = platform_->admission.admit(caller_, now_of(platform_->clock)).value();
  auto reply = begin_generation(*platform_, late, std::move(permit), std::move(prepared));
  EXPECT_EQ(answer_of(std::move(reply)).status, 200);
  gone.get_future().wait();
  EXPECT_FALSE(platform_->adapters->has(digest));
}

TEST_F(InferenceTest, AContentThatIsUploadedAgainIsServed) {
  ASSERT_TRUE(upload("bot"));
  remove("bot");
  ASSERT_TRUE(upload("bot"));
  EXPECT_EQ(answer_of(complete("bot")).status, 200);
}

}  // namespace
}  // namespace tessera
