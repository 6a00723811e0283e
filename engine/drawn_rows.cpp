#include "engine/drawn_rows.hpp"

#include <algorithm>
#include <cstdint>

namespace tessera {
namespace {

DrawParams draw_params(const RowToDraw& row) {
  const SamplingParams& params = row.params;
  return {.temperature = params.temperature,
          .top_k = params.top_k,
          .top_p = params.top_p,
          .min_p = params.min_p,
          .repetition_penalty = params.repetition_penalty,
          .presence_penalty = params.presence_penalty,
          .frequency_penalty = params.frequency_penalty,
          .num_logprobs = params.num_logprobs,
          .seed = params.seed,
          .position = static_cast<std::uint32_t>(row.position)};
}

}  // namespace

DrawnRows::DrawnRows(int max_rows) {
  rows_.reserve(static_cast<std::size_t>(max_rows));
  parts_.reserve(static_cast<std::size_t>(max_rows));
}

void DrawnRows::clear() {
  rows_.clear();
  parts_.clear();
  biases_.clear();
  banned_.clear();
  drawn_ = {};
}

bool DrawnRows::can_draw(const SamplingParams& params) {
  return !params.keep_logits && params.num_logprobs <= kMaxTopLogits;
}

std::size_t DrawnRows::add(const RowToDraw& row) {
  DrawRow& drawn = rows_.emplace_back();
  drawn.row = row.row;
  drawn.params = draw_params(row);
  if (has_penalties(row.params)) drawn.seen = row.counts.seen();
  if (row.mask != nullptr) drawn.mask = row.mask->words();
  for (const auto& [token, bias] : row.params.logit_bias) biases_.push_back({token, bias});
  if (row.num_generated < row.params.min_tokens) {
    const auto first = static_cast<std::ptrdiff_t>(banned_.size());
    banned_.insert(banned_.end(), row.ends.begin(), row.ends.end());
    banned_.insert(banned_.end(), row.params.stop_token_ids.begin(),
                   row.params.stop_token_ids.end());
    std::sort(banned_.begin() + first, banned_.end());
    banned_.erase(std::unique(banned_.begin() + first, banned_.end()), banned_.end());
  }
  parts_.push_back({biases_.size(), banned_.size()});
  return rows_.size() - 1;
}

bool DrawnRows::draw(Backend& backend) {
  Part begin{};
  for (std::size_t i = 0; i < rows_.size(); ++i) {
    const Part& end = parts_[i];
    rows_[i].biases = std::span(biases_).subspan(begin.bias_end, end.bias_end - begin.bias_end);
    rows_[i].banned =
        std::span(banned_).subspan(begin.banned_end, end.banned_end - begin.banned_end);
    begin = end;
  }
  drawn_ = backend.draw(rows_);
  return !drawn_.empty();
}

std::optional<GeneratedToken> DrawnRows::token(std::size_t i) const {
  const DrawnToken& drawn = drawn_[i];
  if (drawn.token < 0) return std::nullopt;
  GeneratedToken token{.id = drawn.token};
  if (rows_[i].params.num_logprobs < 0) return token;
  token.logprob = log_probability(drawn.logit, drawn.largest, drawn.total);
  for (std::size_t t = 0; t < static_cast<std::size_t>(drawn.num_top); ++t) {
    token.top.push_back(
        {drawn.top[t], log_probability(drawn.top_logits[t], drawn.largest, drawn.total)});
  }
  return token;
}

}  // namespace tessera
