#include "engine/sampler.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/philox.hpp"

namespace tessera {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// The sampler as its definition reads: sort everything, filter, renormalise, walk in order of id.
struct NaiveSampler {
  std::vector<double> probabilities;  // after the filters; they sum to 1

  NaiveSampler(const std::vector<float>& logits, const SamplingParams& params) {
    const std::size_t n = logits.size();
    std::vector<std::size_t> ranked(n);
    std::iota(ranked.begin(), ranked.end(), 0);
    std::ranges::stable_sort(ranked, [&](auto a, auto b) { return logits[a] > logits[b]; });
    const double largest = static_cast<double>(logits[ranked[0]]);
    std::vector<double> weights(n);
    for (std::size_t i = 0; i < n; ++i) {
      weights[i] = std::exp((static_cast<double>(logits[i]) - largest) /
                            static_cast<double>(params.temperature));
    }
    if (params.top_k > 0) ranked.resize(std::min(n, static_cast<std::size_t>(params.top_k)));
    double total = 0.0;
    for (const auto i : ranked) total += weights[i];
    double kept = 0.0;
    probabilities.assign(n, 0.0);
    for (const auto i : ranked) {
      if (kept >= static_cast<double>(params.top_p) * total && params.top_p < 1.0F) break;
      kept += weights[i];
      if (weights[i] >= static_cast<double>(params.min_p)) probabilities[i] = weights[i];
    }
    const double sum = std::accumulate(probabilities.begin(), probabilities.end(), 0.0);
    for (double& p : probabilities) p /= sum;
  }

  TokenId draw(double u) const {
    double passed = 0.0;
    for (std::size_t i = 0; i < probabilities.size(); ++i) {
      passed += probabilities[i];
      if (passed > u) return static_cast<TokenId>(i);
    }
    return -1;
  }
};

std::vector<float> random_logits(std::mt19937_64& random, int vocab_size, float spread) {
  std::normal_distribution<float> normal(0.0F, spread);
  std::vector<float> logits(static_cast<std::size_t>(vocab_size));
  for (float& logit : logits) logit = normal(random);
  return logits;
}

TEST(Sampler, TemperatureZeroTakesTheMostLikelyAndTheLowestIdOfEquals) {
  Sampler sampler(5);
  const std::vector<float> logits = {1.0F, 3.0F, 2.0F, 3.0F, -kInfinity};
  EXPECT_EQ(sampler.sample(logits, {.temperature = 0.0F}, 0)->id, 1);
}

TEST(Sampler, TopKOfOneIsGreedyAtAnyTemperature) {
  Sampler sampler(4);
  const std::vector<float> logits = {0.0F, 1.0F, 1.0F, 0.5F};
  for (int position = 0; position < 100; ++position) {
    EXPECT_EQ(sampler.sample(logits, {.temperature = 5.0F, .top_k = 1}, position)->id, 1);
  }
}

TEST(Sampler, SeedAndPositionDecideAndHistoryDoesNot) {
  std::mt19937_64 random(1);
  const auto logits = random_logits(random, 300, 1.0F);
  const auto other = random_logits(random, 300, 4.0F);
  Sampler fresh(300);
  Sampler used(300);
  for (int position = 0; position < 50; ++position) {
    const SamplingParams params{.top_p = 0.9F, .seed = 77, .num_logprobs = 3};
    used.sample(other, {.top_k = position + 1, .seed = 5, .num_logprobs = 9}, position);
    EXPECT_EQ(fresh.sample(logits, params, position), used.sample(logits, params, position));
  }
}

TEST(Sampler, LogitsThatAreNoDistributionGiveNothing) {
  Sampler sampler(3);
  for (const std::vector<float>& logits : {std::vector<float>{0.0F, std::nanf(""), 1.0F},
                                           {std::nanf(""), 0.0F, 0.0F},
                                           {-kInfinity, -kInfinity, -kInfinity},
                                           {0.0F, kInfinity, 0.0F}}) {
    EXPECT_FALSE(sampler.sample(logits, {.temperature = 0.0F}, 0));
    EXPECT_FALSE(sampler.sample(logits, {.temperature = 1.0F}, 0));
  }
}

TEST(Sampler, ImpossibleTokensAreNeverDrawn) {
  Sampler sampler(4);
  const std::vector<float> logits = {-kInfinity, 0.0F, -kInfinity, 0.0F};
  for (int position = 0; position < 1000; ++position) {
    EXPECT_EQ(sampler.sample(logits, {.temperature = 100.0F}, position)->id % 2, 1);
  }
}

TEST(Sampler, LogprobsAreTheModelsOwnWhateverTheFiltersAre) {
  Sampler sampler(3);
  const std::vector<float> logits = {std::log(0.2F), std::log(0.5F), std::log(0.3F)};
  const auto token =
      sampler.sample(logits, {.temperature = 0.1F, .top_k = 1, .num_logprobs = 2}, 0);
  ASSERT_TRUE(token);
  EXPECT_EQ(token->id, 1);
  EXPECT_NEAR(token->logprob, std::log(0.5F), 1e-6F);
  ASSERT_EQ(token->top.size(), 2U);
  EXPECT_EQ(token->top[0].id, 1);
  EXPECT_EQ(token->top[0].logprob, token->logprob);
  EXPECT_EQ(token->top[1].id, 2);
  EXPECT_NEAR(token->top[1].logprob, std::log(0.3F), 1e-6F);
}

TEST(Sampler, LogprobsAreLeftOutUnlessAskedFor) {
  Sampler sampler(3);
  const std::vector<float> logits = {0.0F, 1.0F, 2.0F};
  EXPECT_EQ(sampler.sample(logits, {.temperature = 0.0F}, 0)->logprob, 0.0F);
  const auto chosen_only = sampler.sample(logits, {.temperature = 0.0F, .num_logprobs = 0}, 0);
  EXPECT_LT(chosen_only->logprob, 0.0F);
  EXPECT_TRUE(chosen_only->top.empty());
}

TEST(Sampler, MoreTopLogprobsThanTokensGivesThemAll) {
  Sampler sampler(3);
  const std::vector<float> logits = {0.0F, 1.0F, 2.0F};
  EXPECT_EQ(sampler.sample(logits, {.num_logprobs = 20}, 0)->top.size(), 3U);
}

TEST(Sampler, AgreesWithTheNaiveOneOnRandomCases) {
  constexpr std::uint64_t kSeed = 20'240'601;
  RecordProperty("seed", std::to_string(kSeed));
  std::mt19937_64 random(kSeed);
  for (int trial = 0; trial < 2000; ++trial) {
    const int vocab_size = 1 + static_cast<int>(random() % 1000);
    auto logits = random_logits(random, vocab_size, trial % 2 == 0 ? 1.0F : 5.0F);
    if (trial % 3 == 0) std::ranges::for_each(logits, [](float& x) { x = std::round(x); });  // ties
    SamplingParams params{.temperature = 0.1F + static_cast<float>(random() % 30) / 10.0F,
                          .seed = random()};
    if (random() % 2 == 0) params.top_k = 1 + static_cast<int>(random() % 50);
    if (random() % 2 == 0) params.top_p = static_cast<float>(1 + random() % 100) / 100.0F;
    if (random() % 3 == 0) params.min_p = static_cast<float>(random() % 100) / 200.0F;
    const NaiveSampler naive(logits, params);
    Sampler sampler(vocab_size);
    for (int position = 0; position < 5; ++position) {
      const double u = uniform_at(params.seed, static_cast<std::uint32_t>(position));
      ASSERT_EQ(sampler.sample(logits, params, position)->id, naive.draw(u))
          << "seed " << kSeed << " trial " << trial << " position " << position;
    }
  }
}

TEST(Sampler, FrequenciesFollowTheDistribution) {
  constexpr int kDraws = 50'000;
  constexpr int kVocab = 20;
  std::mt19937_64 random(7);
  const auto logits = random_logits(random, kVocab, 1.0F);
  for (const SamplingParams& params :
       {SamplingParams{.seed = 1}, SamplingParams{.temperature = 0.5F, .seed = 2},
        SamplingParams{.top_k = 8, .seed = 3}, SamplingParams{.top_p = 0.8F, .seed = 4},
        SamplingParams{.min_p = 0.2F, .seed = 5}}) {
    Sampler sampler(kVocab);
    std::vector<int> counts(kVocab);
    for (int position = 0; position < kDraws; ++position) {
      ++counts[static_cast<std::size_t>(sampler.sample(logits, params, position)->id)];
    }
    const NaiveSampler expected(logits, params);
    double chi_square = 0.0;
    for (std::size_t i = 0; i < counts.size(); ++i) {
      const double mean = kDraws * expected.probabilities[i];
      if (mean == 0.0) {
        EXPECT_EQ(counts[i], 0);
      } else {
        chi_square += (counts[i] - mean) * (counts[i] - mean) / mean;
      }
    }
    EXPECT_LT(chi_square, 43.8) << "seed " << params.seed;  // 19 degrees of freedom, p = 0.001
  }
}

// A mask is what minus infinity outside of it would be, for every choice of filters.
TEST(Sampler, UnderAMaskTheOthersHaveNoProbability) {
  std::mt19937_64 random(11);
  constexpr int kVocab = 200;
  Sampler masked(kVocab);
  Sampler plain(kVocab);
  for (int i = 0; i < 300; ++i) {
    const std::vector<float> logits = random_logits(random, kVocab, 3.0F);
    guided::TokenMask mask(kVocab);
    std::vector<float> cut(kVocab, -kInfinity);
    const unsigned density = i % 3 == 0 ? 1 : i % 3 == 1 ? 97 : 100;
    for (TokenId id = 0; id < kVocab; ++id) {
      if (random() % 100 >= density && id != i % kVocab) continue;
      mask.set(id);
      cut[static_cast<std::size_t>(id)] = logits[static_cast<std::size_t>(id)];
    }
    SamplingParams params;
    params.temperature = i % 4 == 0 ? 0.0F : 0.8F;
    params.top_k = i % 5 == 0 ? 7 : 0;
    params.top_p = i % 7 == 0 ? 0.7F : 1.0F;
    params.min_p = i % 11 == 0 ? 0.1F : 0.0F;
    params.seed = random();
    const auto token = masked.sample(logits, params, i, &mask);
    ASSERT_TRUE(token);
    EXPECT_TRUE(mask[token->id]);
    EXPECT_EQ(token->id, plain.sample(cut, params, i)->id);
  }
}

TEST(Sampler, LogprobsUnderAMaskAreTheModelsOwn) {
  const std::vector<float> logits = {1.0F, 3.0F, 2.0F, 0.0F};
  guided::TokenMask mask(4);
  mask.set(2);
  SamplingParams params;
  params.num_logprobs = 2;
  Sampler sampler(4);
  const auto token = sampler.sample(logits, params, 0, &mask);
  ASSERT_TRUE(token);
  EXPECT_EQ(token->id, 2);
  EXPECT_EQ(token->top[0].id, 1) << "the model would have said something else";
  EXPECT_FLOAT_EQ(token->logprob, token->top[1].logprob);
}

TEST(Sampler, WhatIsNoNumberCountsOnlyWithinTheMask) {
  std::vector<float> logits(130, 1.0F);
  logits[3] = logits[129] = std::numeric_limits<float>::quiet_NaN();
  guided::TokenMask mask(130);
  for (TokenId id = 0; id < 128; ++id) mask.set(id);
  mask.clear(3);
  EXPECT_TRUE(Sampler(130).sample(logits, {}, 0, &mask));
  mask.set(129);
  EXPECT_FALSE(Sampler(130).sample(logits, {}, 0, &mask));
}

TEST(Sampler, AnEmptyMaskGivesNothing) {
  const std::vector<float> logits = {1.0F, 3.0F};
  const guided::TokenMask mask(2);
  EXPECT_FALSE(Sampler(2).sample(logits, {}, 0, &mask));
}

}  // namespace
}  // namespace tessera
