#include "engine/logit_adjuster.hpp"

#include <cassert>
#include <limits>

namespace tessera {

bool has_penalties(const SamplingParams& params) {
  return params.repetition_penalty != 1.0F || params.frequency_penalty != 0.0F ||
         params.presence_penalty != 0.0F;
}

TokenCounts::TokenCounts(std::span<const TokenId> prompt, const SamplingParams& params)
    : counts_(has_penalties(params)) {
  if (params.repetition_penalty == 1.0F) return;
  for (const TokenId token : prompt) entry(token);
}

void TokenCounts::add(TokenId token) {
  if (counts_) ++entry(token).count;
}

SeenToken& TokenCounts::entry(TokenId token) {
  const auto [found, is_new] = index_of_.try_emplace(token, seen_.size());
  if (is_new) seen_.push_back({token, 0});
  return seen_[found->second];
}

std::span<const float> LogitAdjuster::adjust(std::span<const float> logits,
                                             const SamplingParams& params,
                                             const TokenCounts& counts,
                                             std::span<const TokenId> ends, int num_generated) {
  assert(std::ssize(logits) == vocab_size_);
  const bool may_not_end = num_generated < params.min_tokens;
  if (!has_penalties(params) && params.logit_bias.empty() && !may_not_end) return logits;
  adjusted_.assign(logits.begin(), logits.end());
  if (has_penalties(params)) penalise(params, counts);
  for (const auto& [token, bias] : params.logit_bias) {
    adjusted_[static_cast<std::size_t>(token)] += bias;
  }
  if (!may_not_end) return adjusted_;
  constexpr float kNever = -std::numeric_limits<float>::infinity();
  for (const TokenId token : ends) adjusted_[static_cast<std::size_t>(token)] = kNever;
  for (const TokenId token : params.stop_token_ids) {
    adjusted_[static_cast<std::size_t>(token)] = kNever;
  }
  return adjusted_;
}

void LogitAdjuster::penalise(const SamplingParams& params, const TokenCounts& counts) {
  for (const auto& [token, count] : counts.seen()) {
    float& logit = adjusted_[static_cast<std::size_t>(token)];
    logit = logit > 0.0F ? logit / params.repetition_penalty : logit * params.repetition_penalty;
    if (count == 0) continue;
    logit -= params.frequency_penalty * static_cast<float>(count) + params.presence_penalty;
  }
}

}  // namespace tessera
