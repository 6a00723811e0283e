// Constraints in the engine's steps: what comes out conforms, whoever computed the masks and when.
#include <algorithm>
#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "engine/engine.hpp"
#include "engine/engine_core.hpp"
#include "tests/engine/adapter_shelf.hpp"
#include "tests/engine/fake_backend.hpp"
#include "tests/engine/tiny_model.hpp"
#include "tests/engine/tiny_vocabulary.hpp"

namespace tessera {
namespace {

constexpr char kPerson[] =
    R"({"type":"object","properties":{"name":{"type":"string","pattern":"^[a-z]{2,5}$"},)"
    R"("age":{"type":"integer","minimum":0,"maximum":120}},"required":["name","age"],)"
    R"("additionalProperties":false})";

struct Answer {
  std::shared_ptr<TokenStream> stream = std::make_shared<TokenStream>([] {});
  std::vector<GeneratedToken> tokens = {};
  std::optional<Finish> finish = {};

  std::vector<TokenId> ids() const {
    std::vector<TokenId> ids;
    for (const GeneratedToken& token : tokens) ids.push_back(token.id);
    return ids;
  }
  std::string text() const { return tiny_text(ids()); }
};

// `form` has 0 for a digit, a for a small letter, and itself for anything else.
bool has_form(std::string_view text, std::string_view form) {
  return std::ranges::equal(text, form, [](char c, char kind) {
    if (kind == '0') return c >= '0' && c <= '9';
    if (kind == 'a') return c >= 'a' && c <= 'z';
    return c == kind;
  });
}

// Where masks are made: 0 threads: by the step itself.
struct Masks {
  int threads;
  std::chrono::microseconds patience;
};

class GuidedEngine : public testing::TestWithParam<Masks> {
 protected:
  GuidedEngine() { restart({}); }

  void restart(EngineConfig config) {
    core_.reset();
    config.eos_ids = {kTinyEnd};
    config.mask_threads = GetParam().threads;
    config.mask_patience = GetParam().patience;
    auto backend =
        std::make_unique<FakeBackend>(spec_.vocab_size, spec_.num_layers(), config.backend);
    backend_ = backend.get();
    core_ = std::make_unique<EngineCore>(std::move(backend), spec_, shelf_.cache(), config);
  }

  static GenerationRequest request(const guided::ConstraintSpec& spec, int max_tokens,
                                   std::uint64_t seed = 1) {
    GenerationRequest request;
    request.prompt = tiny_ids("prompt" + std::to_string(seed));
    request.sampling.seed = seed;
    request.sampling.max_tokens = max_tokens;
    request.tenant = "t";
    request.constraint = tiny_constraint(spec);
    return request;
  }

  Answer add(GenerationRequest request) {
    Answer answer;
    EXPECT_TRUE(core_->check(request));
    core_->add(std::move(request), answer.stream);
    return answer;
  }

  static void collect(Answer& answer) {
    TokenEvents events = answer.stream->take();
    std::ranges::move(events.tokens, std::back_inserter(answer.tokens));
    if (events.finished) answer.finish = std::move(events.finished);
  }

  void step() {
    core_->step();
    core_->check_invariants();
  }

  Answer run(GenerationRequest request) {
    Answer answer = add(std::move(request));
    while (core_->num_requests() > 0) step();
    collect(answer);
    return answer;
  }

  ModelSpec spec_ = tiny_spec();
  AdapterShelf shelf_{spec_, PageType::kF32};
  FakeBackend* backend_ = nullptr;
  std::unique_ptr<EngineCore> core_;
};

TEST_P(GuidedEngine, AnswersConformAndStopWhereNothingMayFollow) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    const Answer answer = run(request(regex_spec("[0-9]{3}-[0-9]{4}"), 20, seed));
    EXPECT_TRUE(has_form(answer.text(), "000-0000")) << answer.text();
    EXPECT_EQ(answer.finish->reason, FinishReason::kStop);
    EXPECT_EQ(answer.finish->generated_tokens, 8) << "no end token was needed";
  }
}

TEST_P(GuidedEngine, AnAnswerThatMayGoOnEndsWithTheEndTokenOrItsLength) {
  int ended = 0;
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    const Answer answer = run(request(regex_spec("[ab]{2,}"), 30, seed));
    EXPECT_GE(answer.tokens.size(), 2U);
    EXPECT_EQ(answer.text().find_first_not_of("ab"), std::string::npos) << answer.text();
    const bool stopped = answer.finish->reason == FinishReason::kStop;
    ended += stopped ? 1 : 0;
    EXPECT_EQ(answer.finish->generated_tokens, std::ssize(answer.tokens) + (stopped ? 1 : 0));
  }
  EXPECT_GT(ended, 0);
}

TEST_P(GuidedEngine, ASchemaIsFollowed) {
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    const Answer answer = run(request(schema_spec(kPerson), 60, seed));
    const auto json = nlohmann::json::parse(answer.text(), nullptr, false);
    ASSERT_TRUE(json.is_object()) << answer.text();
    const auto name = json.at("name").get<std::string>();
    EXPECT_TRUE(has_form(name, std::string(std::clamp<std::size_t>(name.size(), 2, 5), 'a')));
    EXPECT_LE(json.at("age").get<int>(), 120);
    EXPECT_EQ(answer.finish->reason, FinishReason::kStop);
  }
}

TEST_P(GuidedEngine, ForcedTokensAreThoseThatSamplingWouldChooseAndCostNoSteps) {
  const auto spec = choice_spec({"abcdefgh-left-ijklmnop", "abcdefgh-right-ijklmnop"});
  const Answer forced = run(request(spec, 40));
  const EngineStats stats = core_->stats();
  EXPECT_GE(stats.num_forced_tokens, forced.tokens.size() - 1);
  EXPECT_EQ(stats.num_generated_tokens, forced.tokens.size());
  auto sampled_request = request(spec, 40);
  sampled_request.sampling.num_logprobs = 0;  // which forced tokens do not have
  const Answer sampled = run(sampled_request);
  EXPECT_EQ(core_->stats().num_forced_tokens, stats.num_forced_tokens);
  EXPECT_EQ(sampled.ids(), forced.ids());
  EXPECT_EQ(forced.finish->generated_tokens, sampled.finish->generated_tokens);
  EXPECT_LT(stats.num_steps, 6U);
  EXPECT_GT(core_->stats().num_steps - stats.num_steps, sampled.tokens.size() - 1);
}

TEST_P(GuidedEngine, ForcedTokensCountTowardsMaxTokens) {
  const Answer cut = run(request(choice_spec({"abcdefgh"}), 5));
  EXPECT_EQ(cut.text(), "abcde");
  EXPECT_EQ(cut.finish->reason, FinishReason::kLength);
  EXPECT_EQ(cut.finish->generated_tokens, 5);
}

TEST_P(GuidedEngine, AStopTokenEndsForcedTokensToo) {
  auto stopping = request(choice_spec({"abcdefgh"}), 20);
  stopping.sampling.stop_token_ids = tiny_ids("d");
  const Answer stopped = run(stopping);
  EXPECT_EQ(stopped.text(), "abc");
  EXPECT_EQ(stopped.finish->reason, FinishReason::kStop);
  EXPECT_EQ(stopped.finish->generated_tokens, 4);
}

TEST_P(GuidedEngine, AnAnswerIsCompletedWithinItsTokensIfThatIsAsked) {
  const auto spec = schema_spec(
      R"({"type":"array","items":{"type":"string","pattern":"^[a-z]*$"},"minItems":2})");
  const int shortest = 7;  // ["",""]
  for (int max_tokens = shortest; max_tokens < shortest + 20; ++max_tokens) {
    for (std::uint64_t seed = 1; seed <= 5; ++seed) {
      auto completing = request(spec, max_tokens, seed);
      completing.complete_within_max_tokens = true;
      const Answer answer = run(completing);
      EXPECT_TRUE(nlohmann::json::parse(answer.text(), nullptr, false).is_array())
          << answer.text() << " in " << max_tokens;
      EXPECT_LE(std::ssize(answer.tokens), max_tokens);
      EXPECT_EQ(answer.finish->reason, FinishReason::kStop);
    }
  }
  auto too_short = request(spec, shortest - 1);
  too_short.complete_within_max_tokens = true;
  const Answer refused = run(too_short);
  EXPECT_EQ(refused.finish->reason, FinishReason::kError);
  EXPECT_EQ(refused.finish->code, Code::kInvalidValue);
  EXPECT_TRUE(refused.tokens.empty());
}

TEST_P(GuidedEngine, WhatCannotBePromisedIsRefused) {
  auto endless = request(regex_spec("a+"), 5);
  endless.sampling.ignore_eos = true;
  EXPECT_EQ(core_->check(endless).error().param, "ignore_eos");
  auto with_logprobs = request(regex_spec("a+"), 5);
  with_logprobs.complete_within_max_tokens = true;
  with_logprobs.sampling.num_logprobs = 1;
  EXPECT_EQ(core_->check(with_logprobs).error().param, "complete_within_max_tokens");
}

TEST_P(GuidedEngine, AConstraintThatRunsOutOfFuelFailsItsOwnRequestOnly) {
  auto poor = request(regex_spec("([a-z]{1,40}[0-9]){1,40}"), 20);
  guided::GuidedLimits limits;
  limits.mask_fuel = 1;
  limits.trial_fuel = 0;
  poor.constraint = tiny_constraint(regex_spec("([a-z]{1,40}[0-9]){1,40}x"), limits);
  Answer failed = add(std::move(poor));
  Answer other = add(request(regex_spec("[0-9]{6}"), 20));
  while (core_->num_requests() > 0) step();
  collect(failed);
  collect(other);
  EXPECT_EQ(failed.finish->reason, FinishReason::kError);
  EXPECT_EQ(failed.finish->code, Code::kSchemaTooComplex);
  EXPECT_EQ(other.finish->reason, FinishReason::kStop);
  EXPECT_EQ(other.tokens.size(), 6U);
}

TEST_P(GuidedEngine, CancellingAtAnyStepLeavesNothingBehind) {
  for (int at = 0; at < 8; ++at) {
    Answer cancelled = add(request(schema_spec(kPerson), 60, 7));
    Answer other = add(request(schema_spec(kPerson), 60, 8));
    for (int i = 0; i < at; ++i) step();
    cancelled.stream->cancel();
    while (core_->num_requests() > 0) step();
    collect(other);
    EXPECT_TRUE(nlohmann::json::parse(other.text(), nullptr, false).is_object());
  }
  EXPECT_EQ(core_->stats().num_used_blocks, 0);
}

TEST_P(GuidedEngine, ACrowdWithTooFewBlocksAnswersAsEachAlone) {
  std::vector<GenerationRequest> requests;
  for (std::uint64_t seed = 1; seed <= 12; ++seed) {
    auto next = seed % 3 == 0 ? request(regex_spec("[a-z]{9}(-[0-9]{5}){2}"), 40, seed)
                              : request(schema_spec(kPerson), 40, seed);
    if (seed % 4 == 0) next.constraint = nullptr;
    next.sampling.max_tokens = 40;
    requests.push_back(next);
  }
  std::vector<std::vector<TokenId>> alone;
  for (const auto& request : requests) alone.push_back(run(request).ids());
  EngineConfig config;
  config.backend.block_size = 4;
  config.backend.num_blocks = 24;
  config.backend.max_seqs = 8;
  config.backend.max_logit_rows = 8;
  config.backend.max_rows = 10;
  restart(config);
  std::vector<Answer> answers;
  for (const auto& request : requests) answers.push_back(add(request));
  while (core_->num_requests() > 0) step();
  for (std::size_t i = 0; i < answers.size(); ++i) {
    collect(answers[i]);
    EXPECT_EQ(answers[i].ids(), alone[i]) << "request " << i;
  }
  EXPECT_GT(core_->stats().num_preemptions, 0U);
}

INSTANTIATE_TEST_SUITE_P(
    Masks, GuidedEngine,
    testing::Values(Masks{0, std::chrono::microseconds(0)}, Masks{1, std::chrono::seconds(60)},
                    Masks{2, std::chrono::microseconds(0)}),  // nearly every mask is late
    [](const auto& test) {
      return std::to_string(test.param.threads) + "Threads" +
             (test.param.patience.count() > 0 ? "Patient" : "Hasty");
    });

// What a slow sequence does on a worker is what another does at once.
TEST(GuidedSequence, AdvancingLaterComesToTheSame) {
  for (const auto& spec : {schema_spec(kPerson), choice_spec({"left-hand-side", "left-foot"}),
                           regex_spec("[ab]+-forced-[0-9]")}) {
    constexpr int kMaxTokens = 60;
    GuidedSequence at_once(tiny_constraint(spec), {.max_tokens = kMaxTokens});
    GuidedSequence later(tiny_constraint(spec), {.max_tokens = kMaxTokens});
    int count = 0;
    for (bool finished = false; !finished;) {
      at_once.fill();
      later.fill();
      const auto opening = at_once.take_opening();
      const auto same = later.take_opening();
      ASSERT_EQ(opening.has_value(), same.has_value());
      if (opening) {
        ASSERT_TRUE(std::ranges::equal(opening->forced, same->forced));
        count += static_cast<int>(opening->forced.size());
        finished = opening->finished;
        continue;
      }
      TokenId token = kTinyFirst;
      while (!(*at_once.mask())[token]) ++token;
      ASSERT_TRUE((*later.mask())[token]);
      const auto advance = at_once.advance(token, kMaxTokens - count);
      later.advance_later(token, kMaxTokens - count);
      ++count;
      EXPECT_TRUE(advance.sampled);
      finished = advance.finished;
      if (advance.forced.empty() && !finished) continue;
      later.fill();
      const auto follows = later.take_opening();
      ASSERT_TRUE(follows);
      EXPECT_TRUE(std::ranges::equal(follows->forced, advance.forced));
      EXPECT_EQ(follows->finished, finished);
      count += static_cast<int>(advance.forced.size());
      if (count == kMaxTokens) break;
    }
    EXPECT_FALSE(at_once.error() || later.error());
  }
}

TEST(GuidedEngineThread, AnswersWhileMasksAreMadeBesideIt) {
  const ModelSpec spec = tiny_spec();
  AdapterShelf shelf(spec, PageType::kF32);
  EngineConfig config;
  config.eos_ids = {kTinyEnd};
  config.mask_patience = std::chrono::microseconds(0);
  Engine engine(std::make_unique<FakeBackend>(spec.vocab_size, spec.num_layers(), config.backend),
                spec, shelf.cache(), config);
  std::vector<std::shared_ptr<TokenStream>> streams;
  for (std::uint64_t seed = 0; seed < 16; ++seed) {
    streams.push_back(std::make_shared<TokenStream>([] {}));
    GenerationRequest request;
    request.prompt = tiny_ids("hello" + std::to_string(seed));
    request.sampling.seed = seed;
    request.sampling.max_tokens = 60;
    request.tenant = "t";
    request.constraint = tiny_constraint(schema_spec(kPerson));
    ASSERT_TRUE(engine.submit(std::move(request), streams.back()));
  }
  ASSERT_TRUE(engine.drain(std::chrono::steady_clock::now() + std::chrono::seconds(60)));
  for (const auto& stream : streams) {
    const TokenEvents events = stream->take();
    std::vector<TokenId> ids;
    for (const GeneratedToken& token : events.tokens) ids.push_back(token.id);
    EXPECT_TRUE(nlohmann::json::parse(tiny_text(ids), nullptr, false).is_object());
  }
}

}  // namespace
}  // namespace tessera
