// sampler_kernels_test.cpp — tokens drawn on the device against the engine's sampler and logit
// adjuster: the same tokens and the same log-probabilities, bit for bit.
#include <algorithm>
#include <array>
#include <cmath>
#include <deque>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "engine/guided/token_mask.hpp"
#include "engine/logit_adjuster.hpp"
#include "engine/sampler.hpp"
#include "kernels/cuda/token_drawer.hpp"
#include "tests/kernels/cuda/device_arrays.hpp"
#include "tests/kernels/random_model.hpp"

namespace tessera {
namespace {

// One sequence: what it wants, what it has said, and what its model gave.
struct Sequence {
  SamplingParams params;
  std::vector<TokenId> prompt;
  std::vector<TokenId> answer;
  std::vector<TokenId> ends;
  std::optional<guided::TokenMask> mask;
  std::vector<float> logits;
  int position = 0;
};

std::optional<GeneratedToken> sample_reference(const Sequence& sequence) {
  const int vocab_size = static_cast<int>(sequence.logits.size());
  LogitAdjuster adjuster(vocab_size);
  TokenCounts counts(sequence.prompt, sequence.params);
  for (const TokenId token : sequence.answer) counts.add(token);
  const auto adjusted = adjuster.adjust(sequence.logits, sequence.params, counts, sequence.ends,
                                        static_cast<int>(sequence.answer.size()));
  return Sampler(vocab_size)
      .sample(adjusted, sequence.params, sequence.position,
              sequence.mask ? &*sequence.mask : nullptr, sequence.logits);
}

// What the engine would make of these sequences (engine/drawn_rows.hpp), in memory of its own.
struct HostRows {
  std::vector<DrawRow> rows;
  std::deque<std::vector<SeenToken>> seen;
  std::deque<std::vector<TokenBias>> biases;
  std::vector<float> logits;  // (rows, vocab_size), the last sequence's first

  explicit HostRows(const std::vector<Sequence>& sequences) {
    for (std::size_t i = 0; i < sequences.size(); ++i) {
      add(sequences[i], static_cast<int>(sequences.size() - 1 - i));
      const auto& last_first = sequences[sequences.size() - 1 - i].logits;
      logits.insert(logits.end(), last_first.begin(), last_first.end());
    }
  }

  void add(const Sequence& sequence, int at) {
    const SamplingParams& params = sequence.params;
    DrawRow& row = rows.emplace_back();
    row.row = at;
    row.params = {.temperature = params.temperature,
                  .top_k = params.top_k,
                  .top_p = params.top_p,
                  .min_p = params.min_p,
                  .repetition_penalty = params.repetition_penalty,
                  .presence_penalty = params.presence_penalty,
                  .frequency_penalty = params.frequency_penalty,
                  .num_logprobs = params.num_logprobs,
                  .seed = params.seed,
                  .position = static_cast<std::uint32_t>(sequence.position)};
    TokenCounts counts(sequence.prompt, params);
    for (const TokenId token : sequence.answer) counts.add(token);
    row.seen = seen.emplace_back(counts.seen().begin(), counts.seen().end());
    auto& of_row = biases.emplace_back();
    for (const auto& [token, bias] : params.logit_bias) of_row.push_back({token, bias});
    row.biases = of_row;
    if (static_cast<int>(sequence.answer.size()) < params.min_tokens) row.banned = sequence.ends;
    if (sequence.mask) row.mask = sequence.mask->words();
  }
};

std::vector<DrawnToken> sample_on_device(const std::vector<Sequence>& sequences) {
  CudaStream stream;
  const HostRows host(sequences);
  const auto logits = to_device(stream, host.logits);
  TokenDrawer drawer(static_cast<int>(sequences.size()) + 2,
                     static_cast<int>(sequences.front().logits.size()));
  const auto drawn = drawer.draw(host.rows, logits.data(), stream);
  return {drawn.begin(), drawn.end()};
}

Sequence random_sequence(Random& random, int vocab_size) {
  Sequence drawn;
  SamplingParams& params = drawn.params;
  const float deviation = chance(random, 0.5) ? 1.0F : 6.0F;
  drawn.logits = normal_values(random, static_cast<std::size_t>(vocab_size), deviation);
  if (chance(random, 0.3)) {  // many equals
    for (float& logit : drawn.logits) logit = std::nearbyint(logit);
  }
  const auto token = [&] { return uniform(random, 0, vocab_size - 1); };
  params.temperature =
      chance(random, 0.2) ? 0.0F : 0.3F + 0.1F * static_cast<float>(uniform(random, 0, 15));
  if (chance(random, 0.4)) params.top_k = uniform(random, 1, vocab_size + 3);
  if (chance(random, 0.5)) params.top_p = 0.05F * static_cast<float>(uniform(random, 1, 19));
  if (chance(random, 0.3)) params.min_p = 0.05F * static_cast<float>(uniform(random, 0, 20));
  params.seed = (std::uint64_t{random()} << 32) | random();
  params.num_logprobs = uniform(random, -1, 5);
  if (chance(random, 0.3)) params.repetition_penalty = 1.3F;
  if (chance(random, 0.3)) params.frequency_penalty = 0.4F;
  if (chance(random, 0.3)) params.presence_penalty = -0.7F;
  std::map<TokenId, float> biases;
  for (int i = chance(random, 0.3) ? 4 : 0; i > 0; --i) biases[token()] = 3.0F;
  params.logit_bias.assign(biases.begin(), biases.end());
  if (chance(random, 0.3)) params.min_tokens = uniform(random, 0, 9);
  for (int i = uniform(random, 1, 9); i > 0; --i) drawn.prompt.push_back(token());
  for (int i = uniform(random, 0, 9); i > 0; --i) drawn.answer.push_back(token());
  drawn.ends = {token()};
  if (chance(random, 0.4)) {
    drawn.mask.emplace(vocab_size);
    const double share = chance(random, 0.5) ? 0.02 : 0.6;
    for (TokenId id = 0; id < vocab_size; ++id) {
      if (chance(random, share)) drawn.mask->set(id);
    }
  }
  drawn.position = uniform(random, 0, 5000);
  return drawn;
}

void expect_same(const DrawnToken& actual, const Sequence& sequence) {
  const auto expected = sample_reference(sequence);
  ASSERT_EQ(actual.token, expected ? expected->id : -1);
  if (!expected || sequence.params.num_logprobs < 0) return;
  const auto told = [&](float logit) {
    return log_probability(logit, actual.largest, actual.total);
  };
  ASSERT_EQ(told(actual.logit), expected->logprob);
  ASSERT_EQ(static_cast<std::size_t>(actual.num_top), expected->top.size());
  for (std::size_t i = 0; i < expected->top.size(); ++i) {
    ASSERT_EQ(actual.top[i], expected->top[i].id);
    ASSERT_EQ(told(actual.top_logits[i]), expected->top[i].logprob);
  }
}

class SamplerKernels : public testing::Test {
 protected:
  void SetUp() override {
    if (num_devices() == 0) GTEST_SKIP() << "no CUDA device on this machine";
  }
};

TEST_F(SamplerKernels, DrawTheEnginesTokensWhateverIsAskedOfThem) {
  for (std::uint32_t seed = 1; seed <= 12; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Random random(seed);
    const int sizes[] = {1, 3, 100, 997, 1024, 2500};
    const int vocab_size = sizes[seed % 6];
    std::vector<Sequence> sequences;
    for (int i = 0; i < 6; ++i) sequences.push_back(random_sequence(random, vocab_size));
    const auto sampled = sample_on_device(sequences);
    for (std::size_t i = 0; i < sequences.size(); ++i) {
      SCOPED_TRACE("row " + std::to_string(i));
      expect_same(sampled[i], sequences[i]);
    }
  }
}

TEST_F(SamplerKernels, KeepAsManyOfTheLargestEqualsAsTopKSays) {
  std::vector<Sequence> sequences(40);
  for (std::size_t i = 0; i < sequences.size(); ++i) {
    Sequence& sequence = sequences[i];
    sequence.logits.assign(60, -3.0F);
    for (const std::size_t token : {7U, 19U, 20U, 41U, 58U}) sequence.logits[token] = 2.0F;
    sequence.params.top_k = 3 + static_cast<int>(i % 2);
    sequence.params.top_p = i % 4 < 2 ? 1.0F : 0.6F;
    sequence.params.seed = 5;
    sequence.position = static_cast<int>(i);
  }
  const auto sampled = sample_on_device(sequences);
  std::set<TokenId> of_three;
  for (std::size_t i = 0; i < sequences.size(); ++i) {
    expect_same(sampled[i], sequences[i]);
    if (i % 4 == 0) of_three.insert(sampled[i].token);
  }
  EXPECT_EQ(of_three, (std::set<TokenId>{7, 19, 20}));
}

TEST_F(SamplerKernels, RefuseRowsThatSayMoreThanThereIsRoomFor) {
  CudaStream stream;
  const auto logits = to_device(stream, std::vector<float>(100, 1.0F));
  TokenDrawer drawer(2, 50);
  const std::vector<SeenToken> seen(200'000);
  std::vector<DrawRow> rows(2);
  EXPECT_EQ(drawer.draw(rows, logits.data(), stream).size(), 2U);
  rows[1].seen = seen;
  EXPECT_TRUE(drawer.draw(rows, logits.data(), stream).empty()) << "lists of more than a megabyte";
  rows.assign(3, {});
  EXPECT_TRUE(drawer.draw(rows, logits.data(), stream).empty()) << "three rows of two";
}

TEST_F(SamplerKernels, TellWhereThereIsNothingToDrawFrom) {
  Random random(5);
  std::vector<Sequence> sequences(4);
  for (Sequence& sequence : sequences) sequence.logits = normal_values(random, 70, 1.0F);
  sequences[0].logits[69] = std::nanf("");
  sequences[1].logits[3] = std::numeric_limits<float>::infinity();
  sequences[2].mask.emplace(70);
  sequences[3].logits.assign(70, -std::numeric_limits<float>::infinity());
  for (const DrawnToken& sampled : sample_on_device(sequences)) EXPECT_EQ(sampled.token, -1);
}

TEST_F(SamplerKernels, DrawEachTokenAsOftenAsItsProbabilitySays) {
  constexpr int kVocab = 5;
  constexpr int kDraws = 600;
  std::vector<Sequence> sequences(kDraws);
  for (int i = 0; i < kDraws; ++i) {
    Sequence& sequence = sequences[static_cast<std::size_t>(i)];
    sequence.logits = {0.0F, std::log(2.0F), std::log(3.0F), std::log(4.0F), -50.0F};
    sequence.params.seed = 99;
    sequence.position = i;
  }
  std::array<double, kVocab> counts{};
  for (const DrawnToken& sampled : sample_on_device(sequences)) {
    counts[static_cast<std::size_t>(sampled.token)] += 1.0;
  }
  double chi_square = 0.0;
  for (std::size_t i = 0; i < 4; ++i) {
    const double expected = kDraws * static_cast<double>(i + 1) / 10.0;
    chi_square += (counts[i] - expected) * (counts[i] - expected) / expected;
  }
  EXPECT_LT(chi_square, 16.3);  // three degrees of freedom, one in a thousand
  EXPECT_EQ(counts[4], 0.0);
}

TEST_F(SamplerKernels, DrawTheSameAloneAndInCompanyInEveryOrder) {
  Random random(77);
  std::vector<Sequence> sequences;
  for (int i = 0; i < 4; ++i) sequences.push_back(random_sequence(random, 700));
  const auto together = sample_on_device(sequences);
  in_every_order([&] {
    const auto again = sample_on_device(sequences);
    for (std::size_t i = 0; i < sequences.size(); ++i) {
      EXPECT_EQ(again[i].token, together[i].token);
      if (sequences[i].params.num_logprobs < 0) continue;
      EXPECT_EQ(again[i].total, together[i].total);
    }
  });
  for (std::size_t i = 0; i < sequences.size(); ++i) {
    EXPECT_EQ(sample_on_device({sequences[i]})[0].token, together[i].token);
  }
}

}  // namespace
}  // namespace tessera
