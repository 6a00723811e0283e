// sampler_kernels_test.cpp — the sampler's kernel against the engine's sampler and logit adjuster:
// the same tokens, and log-probabilities to the last bits of an fp32.
#include "kernels/cuda/sampler_kernels.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <map>
#include <optional>
#include <string>

#include <gtest/gtest.h>

#include "engine/guided/token_mask.hpp"
#include "engine/logit_adjuster.hpp"
#include "engine/sampler.hpp"
#include "tests/kernels/cuda/device_arrays.hpp"
#include "tests/kernels/random_model.hpp"

namespace tessera {
namespace {

constexpr float kLogprobTolerance = 2e-6F;

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

// The lists and rows that the host would write for a step of these sequences.
std::vector<SampledToken> sample_on_device(const std::vector<Sequence>& sequences) {
  CudaStream stream;
  DeviceArrays arrays(stream);
  std::vector<SampleRow> rows;
  std::vector<SeenToken> seen;
  std::vector<TokenBias> biases;
  std::vector<TokenId> banned;
  std::vector<std::uint64_t> masks;
  std::vector<float> logits;
  for (const Sequence& sequence : sequences) {
    const SamplingParams& params = sequence.params;
    SampleRow row;
    row.temperature = params.temperature;
    row.top_p = params.top_p;
    row.min_p = params.min_p;
    row.top_k = params.top_k;
    row.repetition_penalty = params.repetition_penalty;
    row.presence_penalty = params.presence_penalty;
    row.frequency_penalty = params.frequency_penalty;
    row.num_logprobs = params.num_logprobs;
    row.seed = params.seed;
    row.position = static_cast<std::uint64_t>(sequence.position);
    std::map<TokenId, std::int32_t> counts;
    if (params.repetition_penalty != 1.0F) {
      for (const TokenId token : sequence.prompt) counts.emplace(token, 0);
    }
    for (const TokenId token : sequence.answer) ++counts[token];
    row.seen_begin = static_cast<std::int32_t>(seen.size());
    for (const auto& [token, count] : counts) seen.push_back({token, count});
    row.seen_end = static_cast<std::int32_t>(seen.size());
    row.bias_begin = static_cast<std::int32_t>(biases.size());
    for (const auto& [token, bias] : params.logit_bias) biases.push_back({token, bias});
    row.bias_end = static_cast<std::int32_t>(biases.size());
    row.banned_begin = static_cast<std::int32_t>(banned.size());
    if (static_cast<int>(sequence.answer.size()) < params.min_tokens) {
      banned.insert(banned.end(), sequence.ends.begin(), sequence.ends.end());
    }
    row.banned_end = static_cast<std::int32_t>(banned.size());
    if (sequence.mask) {
      const auto words = sequence.mask->words();
      row.mask = static_cast<std::int32_t>(masks.size() / words.size());
      masks.insert(masks.end(), words.begin(), words.end());
    }
    rows.push_back(row);
    logits.insert(logits.end(), sequence.logits.begin(), sequence.logits.end());
  }
  const auto num_rows = static_cast<std::int32_t>(sequences.size());
  SamplerCall call;
  call.num_rows = arrays.keep(std::vector<std::int32_t>{num_rows});
  call.logits = arrays.keep(logits);
  call.vocab_size = static_cast<int>(sequences.front().logits.size());
  call.rows = arrays.keep(rows);
  call.lists = {arrays.keep(seen), arrays.keep(biases), arrays.keep(banned), arrays.keep(masks)};
  auto adjusted = poisoned<float>(stream, logits.size());
  auto sampled = poisoned<SampledToken>(stream, sequences.size());
  call.adjusted = adjusted.data();
  call.sampled = sampled.data();
  sample(stream, call, num_rows + 2);  // launched for more rows than there are
  return to_host(stream, sampled);
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

void expect_same(const SampledToken& actual, const Sequence& sequence) {
  const auto expected = sample_reference(sequence);
  ASSERT_EQ(actual.token, expected ? expected->id : -1);
  if (!expected || sequence.params.num_logprobs < 0) return;
  ASSERT_NEAR(actual.logprob, expected->logprob,
              kLogprobTolerance * (1.0F + std::abs(expected->logprob)));
  for (std::size_t i = 0; i < expected->top.size(); ++i) {
    ASSERT_EQ(actual.top[i], expected->top[i].id);
    ASSERT_NEAR(actual.top_logprobs[i], expected->top[i].logprob,
                kLogprobTolerance * (1.0F + std::abs(expected->top[i].logprob)));
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

TEST_F(SamplerKernels, TellWhereThereIsNothingToDrawFrom) {
  Random random(5);
  std::vector<Sequence> sequences(4);
  for (Sequence& sequence : sequences) sequence.logits = normal_values(random, 70, 1.0F);
  sequences[0].logits[69] = std::nanf("");
  sequences[1].logits[3] = std::numeric_limits<float>::infinity();
  sequences[2].mask.emplace(70);
  sequences[3].logits.assign(70, -std::numeric_limits<float>::infinity());
  for (const SampledToken& sampled : sample_on_device(sequences)) EXPECT_EQ(sampled.token, -1);
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
  for (const SampledToken& sampled : sample_on_device(sequences)) {
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
      EXPECT_EQ(again[i].logprob, together[i].logprob);
    }
  });
  for (std::size_t i = 0; i < sequences.size(); ++i) {
    EXPECT_EQ(sample_on_device({sequences[i]})[0].token, together[i].token);
  }
}

}  // namespace
}  // namespace tessera
