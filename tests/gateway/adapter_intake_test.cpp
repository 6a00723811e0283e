// Uploads from their files to a version that serves, over a whole platform without sockets.
#include "gateway/adapters/adapter_intake.hpp"

#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "storage/json.hpp"
#include "tests/gateway/tiny_platform.hpp"
#include "tests/support/temp_dir.hpp"

namespace tessera {
namespace {

using namespace std::chrono_literals;
using Json = nlohmann::ordered_json;

constexpr auto kPatience = 60s;

class AdapterIntakeTest : public testing::Test {
 protected:
  StagedPackage::File stage(std::string_view bytes) {
    auto writer = platform_->staging->create(std::uint64_t{1} << 30).value();
    EXPECT_TRUE(writer->append(bytes));
    return writer->finish().value();
  }
  StagedPackage stage(const TestPackage& package) {
    const auto tensors = package.tensor_bytes();
    return {.config = stage(package.config_text()),
            .tensors = stage({reinterpret_cast<const char*>(tensors.data()), tensors.size()})};
  }
  IntakeRequest request(const TestPackage& package, const std::string& acceptance = "") {
    IntakeRequest request;
    request.id = RequestId("req_" + std::to_string(++num_requests_));
    request.caller = caller_;
    request.name = "bot";
    request.package = stage(package);
    request.acceptance = acceptance;
    return request;
  }
  Result<IntakeOutcome> run(IntakeRequest request) {
    auto job = platform_->intake->start(std::move(request));
    if (!job) return job.error();
    EXPECT_TRUE((*job)->wait(platform_->clock.steady_now() + kPatience));
    return (*job)->outcome();
  }
  // A package whose B is zero everywhere: it validates and changes nothing.
  static TestPackage noop() {
    TestPackage package;
    for (auto& [name, tensor] : package.tensors) {
      if (name.find("lora_B") != name.npos) tensor.values.assign(tensor.values.size(), 0.0F);
    }
    return package;
  }
  static bool has(const Report& report, FindingCode code, Severity severity = Severity::kError) {
    return std::ranges::any_of(report.findings, [&](const Finding& finding) {
      return finding.code == code && finding.severity == severity;
    });
  }
  std::vector<int> versions() {
    const auto info = platform_->adapters->get(tenant_, "bot");
    std::vector<int> numbers;
    if (info) {
      for (const auto& [number, version] : (*info)->versions) numbers.push_back(number);
    }
    return numbers;
  }
  // What the base answers to "abc", so that a check can ask for it or for something else.
  std::string answer_to_abc(const std::optional<AdapterDigest>& adapter) {
    GenerationRequest request{
        .prompt = platform_->model.tokenizer->encode("abc", {.add_special = true}),
        .adapter = adapter,
        .tenant = "t"};
    request.sampling = {.temperature = 0.0F, .max_tokens = 8};
    std::vector<GenerationRequest> requests = {request};
    auto answers = answer_all(*platform_->engine, requests, platform_->clock,
                              {.until = platform_->clock.steady_now() + kPatience});
    std::vector<TokenId> ids;
    for (const GeneratedToken& token : answers.value().at(0).tokens) ids.push_back(token.id);
    return platform_->model.tokenizer->decode(ids);
  }
  static std::string checks(const Json& expect) {
    Json json;
    json["checks"] = {{{"name", "abc"}, {"prompt", "abc"}, {"max_tokens", 8}, {"expect", expect}}};
    return json.dump();
  }

  const TenantId tenant_{"t"};
  Caller caller_{.tenant = tenant_, .key = KeyId("k")};
  int num_requests_ = 0;
  TempDir directory_;
  std::unique_ptr<Platform> platform_ = open_tiny_platform(directory_.path());
};

TEST_F(AdapterIntakeTest, AGoodPackageIsProbedAndPublished) {
  const auto outcome = run(request(TestPackage(1)));
  ASSERT_TRUE(outcome) << outcome.error().message;
  ASSERT_TRUE(outcome->published) << report_json(*outcome).dump(1);
  EXPECT_EQ(outcome->published->version.version, 1);
  EXPECT_TRUE(outcome->published->created);
  ASSERT_TRUE(outcome->probe);
  EXPECT_EQ(outcome->probe->prompts, kNumProbePrompts);
  EXPECT_FALSE(outcome->probe->identical_to_base);
  EXPECT_FALSE(outcome->probe->not_finite);
  EXPECT_GT(outcome->probe->max_logit_delta, 0.0);
  EXPECT_GE(outcome->probe->max_logit, outcome->probe->max_logit_delta / 2);
  EXPECT_GT(outcome->probe->relative_change, 0.0);
  const Json report = report_json(*outcome);
  EXPECT_EQ(report.at("probe").at("identical_to_base"), false);
  EXPECT_EQ(parse_json(platform_->adapters->report(tenant_, "bot", 1).value()).value(), report);
}

TEST_F(AdapterIntakeTest, TheSameContentAgainIsTheSameVersion) {
  ASSERT_TRUE(run(request(TestPackage(1)))->published);
  const auto again = run(request(TestPackage(1)));
  ASSERT_TRUE(again->published);
  EXPECT_FALSE(again->published->created);
  EXPECT_FALSE(again->probe);  // it was tried out when it came
  EXPECT_EQ(versions(), std::vector<int>{1});
}

TEST_F(AdapterIntakeTest, AnAdapterWithoutEffectIsRefusedUnlessThatIsMeant) {
  const auto refused = run(request(noop()));
  ASSERT_TRUE(refused) << refused.error().message;
  EXPECT_FALSE(refused->published);
  EXPECT_TRUE(refused->probe->identical_to_base);
  EXPECT_TRUE(has(refused->report, FindingCode::kAdapterHasNoEffect));
  EXPECT_TRUE(versions().empty());
  EXPECT_EQ(platform_->packed->stats().files, 0U);  // nothing of it is left

  auto meant = request(noop());
  meant.allow_noop = true;
  const auto accepted = run(std::move(meant));
  EXPECT_TRUE(accepted->published);
  EXPECT_TRUE(has(accepted->report, FindingCode::kAdapterHasNoEffect, Severity::kWarning));
}

TEST_F(AdapterIntakeTest, TheProbeAsksTheBaseOnceForAllAdapters) {
  const auto generated = [&](TestPackage package) {
    const std::uint64_t before = platform_->engine->stats().num_generated_tokens;
    EXPECT_TRUE(run(request(package))->probe);
    return platform_->engine->stats().num_generated_tokens - before;
  };
  constexpr std::uint64_t kOfOne = std::uint64_t{kNumProbePrompts} * kProbeTokens;
  EXPECT_EQ(generated(TestPackage(1)), 2 * kOfOne);
  EXPECT_EQ(generated(TestPackage(2)), kOfOne);
  EXPECT_TRUE(run(request(noop()))->probe->identical_to_base);  // to what was kept
}

TEST_F(AdapterIntakeTest, AnAdapterWhoseAnswersAreNotNumbersIsRefused) {
  TestPackage package(1);
  for (auto& [name, tensor] : package.tensors) {  // finite, and beyond fp32 once multiplied
    for (float& value : tensor.values) value = value < 0 ? -9e3F : 9e3F;
  }
  package.config["lora_alpha"] = 4;
  const auto outcome = run(request(package));
  ASSERT_TRUE(outcome) << outcome.error().message;
  if (outcome->probe->not_finite) {
    EXPECT_FALSE(outcome->published);
    EXPECT_TRUE(has(outcome->report, FindingCode::kProbeNotFinite));
  } else {  // attention is normalised, so such values may come out finite
    EXPECT_TRUE(outcome->published);
  }
}

TEST_F(AdapterIntakeTest, ADryRunReportsAndRecordsNothing) {
  auto dry = request(TestPackage(1));
  dry.dry_run = true;
  const auto outcome = run(std::move(dry));
  ASSERT_TRUE(outcome);
  EXPECT_TRUE(outcome->report.ok());
  EXPECT_TRUE(outcome->probe);
  EXPECT_FALSE(outcome->published);
  EXPECT_TRUE(versions().empty());
  EXPECT_EQ(platform_->packed->stats().files, 0U);
}

TEST_F(AdapterIntakeTest, AWrongPackageLeavesNothingBehind) {
  TestPackage package;
  package.config["use_qalora"] = true;
  const auto outcome = run(request(package));
  ASSERT_TRUE(outcome);
  EXPECT_FALSE(outcome->report.ok());
  EXPECT_FALSE(outcome->probe);
  EXPECT_FALSE(outcome->failed);
  EXPECT_TRUE(versions().empty());
}

TEST_F(AdapterIntakeTest, AVersionThatPassesItsChecksServesAndIsCharged) {
  auto dry = request(TestPackage(1));
  const AdapterDigest digest = TestPackage(1).validate().adapter
                                   ? run(std::move(dry))->published->version.digest
                                   : AdapterDigest{};
  const std::string expected = answer_to_abc(digest);
  auto second = request(TestPackage(1), checks({{"contains", expected}}));
  second.name = "checked";
  const auto outcome = run(std::move(second));
  ASSERT_TRUE(outcome) << outcome.error().message;
  ASSERT_TRUE(outcome->published) << report_json(*outcome).dump(1);
  ASSERT_TRUE(outcome->acceptance);
  EXPECT_TRUE(outcome->acceptance->passed());
  EXPECT_EQ(outcome->acceptance->checks.at(0).answer, expected);
  const auto totals = platform_->ledger->totals_by_tenant(tenant_).value();
  EXPECT_EQ(totals.requests, 1);
  EXPECT_GT(totals.prompt_tokens, 0);
  EXPECT_EQ(totals.completion_tokens, outcome->acceptance->completion_tokens);
}

TEST_F(AdapterIntakeTest, ChecksAreReservedOfTheTenantsLimitsAndSettledAsTheyWereUsed) {
  const std::string check = checks({{"regex", ".*"}});
  const std::int64_t most = std::ssize(platform_->model.tokenizer->encode(
                                "abc", {.parse_special = true, .add_special = true})) +
                            8;
  caller_.limits.tokens_per_minute = most;
  auto job = platform_->intake->start(request(TestPackage(1), check)).value();
  const auto refused = platform_->intake->start(request(TestPackage(2), check));
  ASSERT_FALSE(refused) << "the minute's tokens are reserved";
  EXPECT_EQ(refused.error().code, Code::kRateLimitExceeded);
  ASSERT_TRUE(job->wait(platform_->clock.steady_now() + kPatience));
  const auto outcome = job->outcome();
  ASSERT_TRUE(outcome && outcome->acceptance);
  EXPECT_EQ(platform_->admission.num_running(), 0);
  EXPECT_EQ(platform_->admission.use(caller_, now_of(platform_->clock)).tokens_today,
            outcome->acceptance->prompt_tokens + outcome->acceptance->completion_tokens);

  EXPECT_TRUE(run(request(TestPackage(3)))->published) << "without checks nothing is reserved";
  caller_.limits.tokens_per_minute = most - 1;
  ++caller_.limits_revision;
  const auto never = platform_->intake->start(request(TestPackage(2), check));
  ASSERT_FALSE(never);
  EXPECT_EQ(never.error().code, Code::kRequestExceedsLimit);
}

TEST_F(AdapterIntakeTest, ChecksThatDoNotComeToRunCostNoTokens) {
  const std::string check = checks({{"regex", ".*"}});
  ASSERT_TRUE(run(request(TestPackage(1), check))->published);
  const auto used = [&] {
    return platform_->admission.use(caller_, now_of(platform_->clock)).tokens_today;
  };
  const std::int64_t once = used();
  EXPECT_EQ(once, platform_->ledger->totals_by_tenant(tenant_)->prompt_tokens +
                      platform_->ledger->totals_by_tenant(tenant_)->completion_tokens);
  EXPECT_FALSE(run(request(TestPackage(1), check))->acceptance) << "known content";
  TestPackage wrong;
  wrong.config["use_qalora"] = true;
  EXPECT_FALSE(run(request(wrong, check))->acceptance);
  EXPECT_EQ(used(), once);
  EXPECT_EQ(platform_->admission.num_running(), 0);
}

TEST_F(AdapterIntakeTest, ChecksThatAreBrokenOffAreChargedAsFarAsTheyCame) {
  Json long_ones;
  for (std::size_t i = 0; i < kMaxAcceptanceChecks; ++i) {
    long_ones["checks"].push_back({{"name", std::to_string(i)},
                                   {"prompt", "abc" + std::to_string(i)},
                                   {"max_tokens", kMaxAcceptanceTokens},
                                   {"expect", {{"regex", ".*"}}}});
  }
  const auto generated = [&] { return platform_->engine->stats().num_generated_tokens; };
  constexpr std::uint64_t kByTheProbe = 2 * kNumProbePrompts * kProbeTokens;
  auto job = platform_->intake->start(request(TestPackage(1), long_ones.dump())).value();
  while (generated() < kByTheProbe + 100 && !job->wait(platform_->clock.steady_now())) {
    std::this_thread::yield();
  }
  job->abandon();
  ASSERT_TRUE(job->wait(platform_->clock.steady_now() + kPatience));
  ASSERT_FALSE(job->outcome()) << "it came to its end before it was given up";
  const UsageTotals totals = platform_->ledger->totals_by_tenant(tenant_).value();
  EXPECT_GE(totals.completion_tokens, 100);
  EXPECT_LT(totals.completion_tokens, std::int64_t{kMaxAcceptanceChecks} * kMaxAcceptanceTokens);
  EXPECT_EQ(platform_->admission.use(caller_, now_of(platform_->clock)).tokens_today,
            totals.prompt_tokens + totals.completion_tokens);
  EXPECT_EQ(platform_->admission.num_running(), 0);
  platform_->engine->stop();  // its counters are whole then
  EXPECT_EQ(generated() - kByTheProbe, static_cast<std::uint64_t>(totals.completion_tokens));
}

TEST_F(AdapterIntakeTest, ARankAboveTheTenantsLimitIsRefusedByName) {
  caller_.limits.max_adapter_rank = 3;
  const auto outcome = run(request(TestPackage(1)));
  ASSERT_TRUE(outcome) << outcome.error().message;
  EXPECT_FALSE(outcome->published);
  EXPECT_TRUE(has(outcome->report, FindingCode::kRankTooLarge));
  EXPECT_TRUE(versions().empty());
  EXPECT_EQ(platform_->packed->stats().files, 0U);
  caller_.limits.max_adapter_rank = 4;
  EXPECT_TRUE(run(request(TestPackage(1)))->published);
}

TEST_F(AdapterIntakeTest, AVersionThatFailsItsChecksIsRecordedAndNeverServes) {
  const auto outcome =
      run(request(TestPackage(1), checks({{"contains", "this is not what it says"}})));
  ASSERT_TRUE(outcome) << outcome.error().message;
  EXPECT_FALSE(outcome->published);
  ASSERT_TRUE(outcome->failed);
  EXPECT_EQ(outcome->failed->status, VersionStatus::kFailed);
  EXPECT_TRUE(has(outcome->report, FindingCode::kAcceptanceFailed));
  EXPECT_FALSE(platform_->adapters->resolve(tenant_, "bot"));
  EXPECT_FALSE(platform_->adapters->resolve(tenant_, "bot@1"));
  const Json report = parse_json(platform_->adapters->report(tenant_, "bot", 1).value()).value();
  EXPECT_EQ(report.at("acceptance").at("passed"), false);
  EXPECT_EQ(platform_->packed->stats().files, 0U);
}

TEST_F(AdapterIntakeTest, ChecksThatAnAdapterKeepsApplyToItsLaterVersions) {
  ASSERT_TRUE(run(request(TestPackage(1)))->published);
  const auto info = platform_->adapters->get(tenant_, "bot").value();
  ASSERT_TRUE(platform_->acceptance->put(tenant_, *info, checks({{"contains", "never said"}})));
  const auto failed = run(request(TestPackage(2)));
  EXPECT_TRUE(failed->failed);
  EXPECT_EQ(platform_->adapters->resolve(tenant_, "bot")->display_name, "bot@1");
  ASSERT_TRUE(platform_->acceptance->put(tenant_, *info, ""));
  EXPECT_TRUE(run(request(TestPackage(2)))->published);
}

TEST_F(AdapterIntakeTest, ChecksThatCannotBeReadAreRefusedAtOnce) {
  const auto job = platform_->intake->start(request(TestPackage(1), R"({"checks": [{}]})"));
  ASSERT_FALSE(job);
  EXPECT_EQ(job.error().code, Code::kMissingRequiredParameter);
  auto unnamed = request(TestPackage(1));
  unnamed.name = "Not A Name";
  EXPECT_EQ(platform_->intake->start(std::move(unnamed)).error().code, Code::kInvalidValue);
}

TEST_F(AdapterIntakeTest, ADetachedJobHasItsNumberAndEndsReadyOrFailed) {
  auto good = platform_->intake->start(request(TestPackage(1))).value();
  const auto record = good->detach();
  ASSERT_TRUE(record) << record.error().message;
  if (*record) {  // it was not done yet
    EXPECT_EQ((*record)->version, 1);
  }
  good->abandon();  // has no effect any more
  ASSERT_TRUE(good->wait(platform_->clock.steady_now() + kPatience));
  EXPECT_EQ(platform_->adapters->resolve(tenant_, "bot")->display_name, "bot@1");

  TestPackage wrong;
  wrong.config["use_qalora"] = true;
  auto bad = platform_->intake->start(request(wrong)).value();
  const auto second = bad->detach();
  ASSERT_TRUE(bad->wait(platform_->clock.steady_now() + kPatience));
  if (second && *second) {
    const auto version = platform_->adapters->get(tenant_, "bot").value()->find(2);
    ASSERT_NE(version, nullptr);
    EXPECT_EQ(version->status, VersionStatus::kFailed);
  }
}

// Each upload has pages of its own to try out, though the other's deletion drops those of the
// digest.
TEST_F(AdapterIntakeTest, TheLastDeletionOfAContentLeavesAnUploadOfItAlone) {
  constexpr int kRounds = 40;
  const TestPackage package(1);
  const auto work = [&](const TenantId& tenant, std::vector<IntakeRequest> requests) {
    for (IntakeRequest& request : requests) {
      request.caller.tenant = tenant;
      const auto outcome = run(std::move(request));
      ASSERT_TRUE(outcome) << outcome.error().message;
      ASSERT_TRUE(outcome->published) << report_json(*outcome).dump(1);
      ASSERT_TRUE(platform_->adapters->remove({.tenant = tenant, .name = "bot"}));
    }
  };
  std::vector<IntakeRequest> mine, theirs;
  for (int i = 0; i < kRounds; ++i) {
    mine.push_back(request(package));
    theirs.push_back(request(package));
  }
  std::jthread other(work, TenantId("other"), std::move(theirs));
  work(tenant_, std::move(mine));
}

TEST_F(AdapterIntakeTest, OnDoneIsCalledOnceWheneverItIsAsked) {
  auto job = platform_->intake->start(request(TestPackage(1))).value();
  std::atomic<int> calls = 0;
  job->on_done([&calls] { ++calls; });
  ASSERT_TRUE(job->wait(platform_->clock.steady_now() + kPatience));
  platform_->intake->stop();  // joins: whoever calls has called
  EXPECT_EQ(calls, 1);
  job->on_done([&calls] { ++calls; });
  EXPECT_EQ(calls, 2);
}

TEST_F(AdapterIntakeTest, AStoppedIntakeTakesNoMore) {
  platform_->intake->stop();
  const auto job = platform_->intake->start(request(TestPackage(1)));
  ASSERT_FALSE(job);
  EXPECT_EQ(job.error().code, Code::kDraining);
}

TEST_F(AdapterIntakeTest, ATenantsJobsAreLimited) {
  std::vector<std::shared_ptr<IntakeJob>> jobs;
  std::optional<Error> refusal;
  for (unsigned seed = 1; seed <= 64 && !refusal; ++seed) {
    auto job = platform_->intake->start(request(TestPackage(seed)));
    if (job) {
      jobs.push_back(*job);
    } else {
      refusal = job.error();
    }
  }
  ASSERT_TRUE(refusal);
  EXPECT_EQ(refusal->code, Code::kQueueFull);
  for (const auto& job : jobs) job->abandon();
}

}  // namespace
}  // namespace tessera
