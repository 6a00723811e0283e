#include "engine/sampler.hpp"

#include <algorithm>
#include <array>
#include <cassert>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <numeric>

#include "kernels/drawing.hpp"
#include "kernels/philox.hpp"

namespace tessera {

namespace {

constexpr int kFirstRanked = 64;  // top_p looks at this many tokens first, then at more
constexpr int kRankedGrowth = 8;

float at(std::span<const float> values, TokenId id) {
  return values[static_cast<std::size_t>(id)];
}

// Whether one token ranks before another: a total order, so that every sort by it has one result.
struct RanksBefore {
  std::span<const float> logits;
  bool operator()(TokenId a, TokenId b) const {
    return at(logits, a) > at(logits, b) || (at(logits, a) == at(logits, b) && a < b);
  }
};

// Logits side by side, of which compilers make vector instructions whatever the processor has.
using Lanes = float __attribute__((vector_size(16)));
using LaneMask = std::int32_t __attribute__((vector_size(16)));
constexpr std::size_t kLanes = sizeof(Lanes) / sizeof(float);

Lanes lanes_at(std::span<const float> logits, std::size_t index) {
  Lanes lanes;
  std::memcpy(&lanes, &logits[index], sizeof lanes);
  return lanes;
}

bool is_any(const LaneMask& mask) {
  std::array<std::uint64_t, sizeof mask / sizeof(std::uint64_t)> halves;
  std::memcpy(halves.data(), &mask, sizeof mask);
  return (halves[0] | halves[1]) != 0;
}

constexpr float kNoLogit = -std::numeric_limits<float>::infinity();

// The largest of logits that are shown to it.
class Largest {
 public:
  void add(Lanes lanes) {
    lanes_ = lanes_ < lanes ? lanes : lanes_;
    is_nan_ |= lanes != lanes;
  }
  void add(float logit) {
    one_ = std::max(one_, logit);
    found_nan_ |= std::isnan(logit);
  }
  // kNoLogit if there is none; NaN if one is.
  float value() const {
    if (found_nan_ || is_any(is_nan_)) return std::numeric_limits<float>::quiet_NaN();
    float best = one_;
    for (std::size_t lane = 0; lane < kLanes; ++lane) best = std::max(best, lanes_[lane]);
    return best;
  }

 private:
  Lanes lanes_ = Lanes{} + kNoLogit;
  LaneMask is_nan_{};
  float one_ = kNoLogit;
  bool found_nan_ = false;
};

float largest_of(std::span<const float> logits) {
  Largest largest;
  std::size_t i = 0;
  for (; i + kLanes <= logits.size(); i += kLanes) largest.add(lanes_at(logits, i));
  for (; i < logits.size(); ++i) largest.add(logits[i]);
  return largest.value();
}

// Where the first of them is that equals `value`.
std::size_t index_of(float value, std::span<const float> logits) {
  constexpr std::size_t kBlock = 16 * kLanes;
  std::size_t i = 0;
  for (LaneMask equal{}; i + kBlock <= logits.size(); i += kBlock) {
    for (std::size_t j = 0; j < kBlock; j += kLanes) equal |= lanes_at(logits, i + j) == value;
    if (is_any(equal)) break;
  }
  while (i < logits.size() && logits[i] != value) ++i;
  return i;
}

// The token that ranks first; nullopt if there is a NaN or the largest logit is not finite.
std::optional<TokenId> first_ranked(std::span<const float> logits, float largest) {
  if (!std::isfinite(largest)) return std::nullopt;
  return static_cast<TokenId>(index_of(largest, logits));
}

// What four bits of a mask select.
constexpr std::size_t kNibbles = 16;
using NibbleLanes = std::array<LaneMask, kNibbles>;

NibbleLanes make_nibble_lanes() {
  NibbleLanes lanes{};
  for (std::size_t nibble = 0; nibble < kNibbles; ++nibble) {
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      lanes[nibble][lane] = (nibble >> lane & 1) != 0 ? -1 : 0;
    }
  }
  return lanes;
}

// Where a bit of `word` is not set, minus infinity instead of the logit.
void select(std::uint64_t word, std::span<const float> logits, std::span<float> out,
            Largest& largest) {
  static const NibbleLanes kSelected = make_nibble_lanes();
  constexpr Lanes kNone = Lanes{} + kNoLogit;
  for (std::size_t i = 0; i < logits.size(); i += kLanes, word >>= kLanes) {
    const Lanes lanes = kSelected[word % kNibbles] ? lanes_at(logits, i) : kNone;
    largest.add(lanes);
    std::memcpy(&out[i], &lanes, sizeof lanes);
  }
}

// The logits with minus infinity in place of those outside of `mask`, and the largest of them. A
// word of the mask at a time: many are empty.
float apply_mask(std::span<const float> logits, const guided::TokenMask& mask,
                 std::span<float> out) {
  constexpr std::size_t kWord = 64;
  const auto words = mask.words();
  const std::size_t whole = logits.size() / kWord;
  Largest largest;
  for (std::size_t w = 0; w < whole; ++w) {
    const auto to = out.subspan(kWord * w, kWord);
    if (words[w] == 0) {
      std::ranges::fill(to, kNoLogit);
    } else {
      select(words[w], logits.subspan(kWord * w, kWord), to, largest);
    }
  }
  for (std::size_t i = kWord * whole; i < logits.size(); ++i) {
    out[i] = mask[static_cast<TokenId>(i)] ? logits[i] : kNoLogit;
    largest.add(out[i]);
  }
  return largest.value();
}

}  // namespace

Sampler::Sampler(int vocab_size)
    : masses_(static_cast<std::size_t>(vocab_size)), ids_(static_cast<std::size_t>(vocab_size)) {
  assert(vocab_size <= kMaxDrawnVocab);
}

std::optional<GeneratedToken> Sampler::sample(std::span<const float> logits,
                                              const SamplingParams& params, int position,
                                              const guided::TokenMask* mask,
                                              std::span<const float> model_logits) {
  assert(logits.size() == ids_.size());
  assert(mask == nullptr || mask->vocab_size() == std::ssize(ids_));
  if (mask != nullptr) masked_.resize(logits.size());
  const float largest = mask == nullptr ? largest_of(logits) : apply_mask(logits, *mask, masked_);
  const std::span<const float> allowed = mask == nullptr ? logits : masked_;
  const auto best = first_ranked(allowed, largest);
  if (!best) return std::nullopt;
  GeneratedToken token;
  token.id = *best;
  if (params.temperature > 0.0F) token.id = draw(allowed, params, *best, position);
  const auto told = model_logits.empty() ? logits : model_logits;
  if (params.num_logprobs >= 0) add_logprobs(told, params.num_logprobs, token);
  return token;
}

std::optional<GeneratedToken> Sampler::score(std::span<const float> logits, TokenId id,
                                             int num_logprobs) {
  if (!std::isfinite(largest_of(logits))) return std::nullopt;
  GeneratedToken token{.id = id};
  add_logprobs(logits, num_logprobs, token);
  return token;
}

TokenId Sampler::draw(std::span<const float> logits, const SamplingParams& params, TokenId best,
                      int position) {
  const float largest = at(logits, best);
  fill_masses(logits, largest, params.temperature, masses_);
  const auto last = last_kept(logits, params);
  if (last) drop_after(*last, logits);
  if (params.min_p > 0.0F) drop_below(mass_of(static_cast<double>(params.min_p)));

  const std::uint64_t total = std::accumulate(masses_.begin(), masses_.end(), std::uint64_t{0});
  const std::uint64_t wanted =
      share_of(total, uniform_bits(params.seed, static_cast<std::uint32_t>(position)));
  std::uint64_t passed = 0;
  std::size_t chosen = 0;
  while (chosen < masses_.size() && (passed += masses_[chosen]) <= wanted) ++chosen;
  return chosen < masses_.size() ? static_cast<TokenId>(chosen) : best;
}

void Sampler::drop_after(TokenId last, std::span<const float> logits) {
  for (TokenId id = 0; id < std::ssize(ids_); ++id) {
    if (RanksBefore{logits}(last, id)) masses_[static_cast<std::size_t>(id)] = 0;
  }
}

void Sampler::drop_below(std::uint64_t least) {
  for (std::uint64_t& mass : masses_) mass = mass < least ? 0 : mass;
}

std::optional<TokenId> Sampler::last_kept(std::span<const float> logits,
                                          const SamplingParams& params) {
  const int vocab_size = static_cast<int>(logits.size());
  const auto sum = [this](std::uint64_t so_far, TokenId id) {
    return so_far + masses_[static_cast<std::size_t>(id)];
  };
  if (params.top_k > 0 && params.top_k < vocab_size) {
    const auto ranked = rank_top(logits, params.top_k);
    if (params.top_p >= 1.0F) return ranked.back();
    const auto total = std::accumulate(ranked.begin(), ranked.end(), std::uint64_t{0}, sum);
    return first_to_reach(ranked, mass_to_reach(params.top_p, total)).value_or(ranked.back());
  }
  if (params.top_p >= 1.0F) return std::nullopt;
  const std::uint64_t wanted = mass_to_reach(
      params.top_p, std::accumulate(masses_.begin(), masses_.end(), std::uint64_t{0}));
  for (int count = kFirstRanked;; count *= kRankedGrowth) {
    const auto ranked = rank_top(logits, std::min(count, vocab_size));
    const auto last = first_to_reach(ranked, wanted);
    if (last || count >= vocab_size) return last;
  }
}

std::optional<TokenId> Sampler::first_to_reach(std::span<const TokenId> ranked,
                                               std::uint64_t wanted) const {
  std::uint64_t reached = 0;
  for (const TokenId id : ranked) {
    reached += masses_[static_cast<std::size_t>(id)];
    if (reached >= wanted) return id;
  }
  return std::nullopt;
}

std::span<const TokenId> Sampler::rank_top(std::span<const float> logits, int count) {
  std::iota(ids_.begin(), ids_.end(), 0);
  std::partial_sort(ids_.begin(), ids_.begin() + count, ids_.end(), RanksBefore{logits});
  return std::span(ids_).first(static_cast<std::size_t>(count));
}

// `token.id` is set.
void Sampler::add_logprobs(std::span<const float> logits, int num_top, GeneratedToken& token) {
  const float largest = *std::ranges::max_element(logits);
  fill_masses(logits, largest, 1.0F, masses_);
  const auto total = std::accumulate(masses_.begin(), masses_.end(), std::uint64_t{0});
  token.logprob = log_probability(at(logits, token.id), largest, total);
  const int count = std::min(num_top, static_cast<int>(logits.size()));
  for (const TokenId id : rank_top(logits, count)) {
    token.top.push_back({id, log_probability(at(logits, id), largest, total)});
  }
}

}  // namespace tessera
