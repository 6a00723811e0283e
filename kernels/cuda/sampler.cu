// sampler.cu — sampler_kernels.hpp: a CTA of a thousand threads draws one row's token.
//
// What is kept is all that ranks before some token (higher logit first, lower id among equals).
// That last token is found as a radix sort would begin: the logits' bits, made to ascend, are
// looked at eight at a time, a histogram of counts and weights says in which of 256 ranges the
// last is, and the next eight bits are those of that range alone. After 32 bits all that is left
// are equals, in the order of their ids.
#include "kernels/cuda/device_math.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/sampler_kernels.hpp"
#include "kernels/philox.hpp"

namespace tessera {
namespace {

using namespace cuda;
using Mass = unsigned long long;  // CUDA's atomics know no std::uint64_t

constexpr int kThreads = 1024;
constexpr int kWarps = kThreads / kWarpLanes;
constexpr int kBuckets = 256;

// Bits of a logit that ascend as it does; both zeros are one number.
__device__ std::uint32_t ascending_bits(float value) {
  const std::uint32_t bits = value == 0.0F ? 0U : __float_as_uint(value);
  return (bits & 0x80000000U) != 0 ? ~bits : bits | 0x80000000U;
}

// A token by its rank: the larger is the earlier.
__device__ Mass rank_of(float logit, int token) {
  return static_cast<Mass>(ascending_bits(logit)) << 32 |
         (0xFFFFFFFFU - static_cast<std::uint32_t>(token));
}
__device__ int token_of(Mass rank) {
  return static_cast<int>(0xFFFFFFFFU - static_cast<std::uint32_t>(rank & 0xFFFFFFFFU));
}

// What the threads of a CTA tell one another.
struct Shared {
  Mass* warps;   // (kWarps,)
  Mass* masses;  // (kBuckets,)
  int* counts;   // (kBuckets,)
  Mass* told;    // (2,)
};

__device__ Mass warp_largest(Mass value) {
  for (int bits = kWarpLanes / 2; bits > 0; bits /= 2) {
    const Mass other = __shfl_xor_sync(kFullMask, value, bits);
    if (other > value) value = other;
  }
  return value;
}
__device__ Mass warp_total(Mass value) {
  for (int bits = kWarpLanes / 2; bits > 0; bits /= 2) {
    value += __shfl_xor_sync(kFullMask, value, bits);
  }
  return value;
}

// Over all threads, which all call it and all get the result.
__device__ Mass largest_of_all(Mass value, const Shared& shared) {
  const Mass own = warp_largest(value);
  if (lane_index() == 0) shared.warps[warp_index()] = own;
  __syncthreads();
  const Mass result = warp_largest(shared.warps[lane_index() % kWarps]);
  __syncthreads();
  return result;
}
__device__ Mass total_of_all(Mass value, const Shared& shared) {
  const Mass own = warp_total(value);
  if (lane_index() == 0) shared.warps[warp_index()] = own;
  __syncthreads();
  const Mass result = warp_total(lane_index() < kWarps ? shared.warps[lane_index()] : 0);
  __syncthreads();
  return result;
}

struct SamplerParams {
  SamplerCall call;
};

// One row: its logits as they are to be drawn from, and which of them.
struct Row {
  const float* logits;
  const std::uint64_t* mask;  // or null
  int vocab_size;
  double largest;
  double temperature;

  __device__ bool allows(int token) const {
    return mask == nullptr || (mask[token / 64] >> (token % 64) & 1U) != 0;
  }
  __device__ Mass mass(int token) const {
    return mass_of(weight_of(logits[token], largest, temperature));
  }
};

// Penalties, biases and bans, on a copy of the row; the row itself if there are none.
__device__ const float* adjust(const SampleRow& row, const SamplerLists& lists, const float* logits,
                               float* adjusted, int vocab_size) {
  const DrawParams& params = row.params;
  const bool has_penalties = params.repetition_penalty != 1.0F || params.presence_penalty != 0.0F ||
                             params.frequency_penalty != 0.0F;
  const bool has_bias = row.bias_begin < row.bias_end;
  const bool has_bans = row.banned_begin < row.banned_end;
  if (!has_penalties && !has_bias && !has_bans) return logits;
  const int thread = thread_index();
  for (int i = thread; i < vocab_size; i += kThreads) adjusted[i] = logits[i];
  __syncthreads();
  for (int i = row.seen_begin + thread; has_penalties && i < row.seen_end; i += kThreads) {
    float& logit = adjusted[lists.seen[i].token];
    logit = logit > 0.0F ? __fdiv_rn(logit, params.repetition_penalty)
                         : __fmul_rn(logit, params.repetition_penalty);
    const int count = lists.seen[i].count;
    if (count == 0) continue;
    const float paid = __fadd_rn(__fmul_rn(params.frequency_penalty, static_cast<float>(count)),
                                 params.presence_penalty);
    logit = __fadd_rn(logit, -paid);
  }
  __syncthreads();
  for (int i = row.bias_begin + thread; i < row.bias_end; i += kThreads) {
    float& logit = adjusted[lists.biases[i].token];
    logit = __fadd_rn(logit, lists.biases[i].bias);
  }
  __syncthreads();
  for (int i = row.banned_begin + thread; i < row.banned_end; i += kThreads) {
    adjusted[lists.banned[i]] = -INFINITY;
  }
  __syncthreads();
  return adjusted;
}

// The earliest in rank of the row's tokens that rank after `before`; 0 if there is none.
__device__ Mass next_in_rank(const Row& row, Mass before, const Shared& shared) {
  Mass best = 0;
  for (int token = thread_index(); token < row.vocab_size; token += kThreads) {
    if (!row.allows(token)) continue;
    const Mass rank = rank_of(row.logits[token], token);
    if (rank < before && rank > best) best = rank;
  }
  return largest_of_all(best, shared);
}

// Whether an allowed logit is a NaN.
__device__ bool has_nan(const Row& row, const Shared& shared) {
  bool any = false;
  for (int token = thread_index(); token < row.vocab_size; token += kThreads) {
    const float logit = row.logits[token];
    any |= row.allows(token) && logit != logit;
  }
  return total_of_all(any ? 1 : 0, shared) != 0;
}

// The last token in rank that is kept, as its rank: the first at which the tokens so far are
// `count` or their masses reach `wanted`. All are kept if neither ever is.
struct Cut {
  int count;
  Mass wanted;
};

// Chooses the bucket in which the cut falls, by the sums of those above it. Thread 0's.
__device__ void choose_bucket(const Shared& shared, Cut& cut, std::uint32_t& prefix) {
  int bucket = kBuckets - 1;
  for (; bucket > 0; --bucket) {
    if (shared.counts[bucket] >= cut.count || shared.masses[bucket] >= cut.wanted) break;
    cut.count -= shared.counts[bucket];
    cut.wanted -= shared.masses[bucket];
  }
  prefix = prefix << 8 | static_cast<std::uint32_t>(bucket);
}

__device__ Mass last_kept(const Row& row, Cut cut, const Shared& shared) {
  std::uint32_t prefix = 0;
  for (int shift = 24; shift >= 0; shift -= 8) {
    for (int i = thread_index(); i < kBuckets; i += kThreads) {
      shared.masses[i] = 0;
      shared.counts[i] = 0;
    }
    __syncthreads();
    for (int token = thread_index(); token < row.vocab_size; token += kThreads) {
      if (!row.allows(token)) continue;
      const std::uint32_t bits = ascending_bits(row.logits[token]);
      if (shift < 24 && bits >> (shift + 8) != prefix) continue;
      const int bucket = static_cast<int>(bits >> shift & 255U);
      atomicAdd(&shared.masses[bucket], row.mass(token));
      atomicAdd(&shared.counts[bucket], 1);
    }
    __syncthreads();
    if (thread_index() == 0) {
      choose_bucket(shared, cut, prefix);
      shared.told[0] = static_cast<Mass>(prefix) << 32 | static_cast<std::uint32_t>(cut.count);
      shared.told[1] = cut.wanted;
    }
    __syncthreads();
    prefix = static_cast<std::uint32_t>(shared.told[0] >> 32);
    cut.count = static_cast<int>(shared.told[0] & 0xFFFFFFFFU);
    cut.wanted = shared.told[1];
    __syncthreads();
  }
  // Equals now, of one mass each: the cut is at the n-th by id.
  if (warp_index() == 0) {
    int left = 0;
    Mass last = 0;
    for (int first = 0; first < row.vocab_size; first += kWarpLanes) {
      const int token = first + lane_index();
      const bool is_one = token < row.vocab_size && row.allows(token) &&
                          ascending_bits(row.logits[token]) == prefix;
      const unsigned lanes = __ballot_sync(kFullMask, is_one ? 1 : 0);
      if (lanes == 0) continue;
      if (left == 0) {  // the first of them says how many are wanted
        const int owner = __ffs(static_cast<int>(lanes)) - 1;
        const Mass mass = row.mass(first + owner);
        const Mass by_mass =
            mass == 0 ? ~Mass{0} : cut.wanted / mass + (cut.wanted % mass != 0 ? 1 : 0);
        left = cut.count;
        if (by_mass < static_cast<Mass>(left)) left = static_cast<int>(by_mass);
        if (left < 1) left = 1;
      }
      const int found = __popc(lanes);
      unsigned rest = lanes;
      const int taken = found < left ? found : left;
      for (int i = 1; i < taken; ++i) rest &= rest - 1;
      last = rank_of(row.logits[first + __ffs(static_cast<int>(rest)) - 1],
                     first + __ffs(static_cast<int>(rest)) - 1);
      left -= taken;
      if (left == 0) break;
    }
    if (lane_index() == 0) shared.told[0] = last;
  }
  __syncthreads();
  const Mass last = shared.told[0];
  __syncthreads();
  return last;
}

// What top_k and top_p keep, as the rank of the last token; 0 if they keep all.
__device__ Mass cut_at(const Row& row, const DrawParams& params, const Shared& shared) {
  constexpr Mass kNever = ~Mass{0};
  Mass last = 0;
  if (params.top_k > 0 && params.top_k < row.vocab_size) {
    last = last_kept(row, {params.top_k, kNever}, shared);
  }
  if (params.top_p >= 1.0F) return last;
  Mass kept = 0;
  for (int token = thread_index(); token < row.vocab_size; token += kThreads) {
    if (row.allows(token) && rank_of(row.logits[token], token) >= last) kept += row.mass(token);
  }
  const Mass total = total_of_all(kept, shared);
  const Mass by_mass = last_kept(row, {row.vocab_size, mass_to_reach(params.top_p, total)}, shared);
  return by_mass > last ? by_mass : last;
}

// The mass with which a token may be drawn.
struct Drawn {
  const Row* row;
  Mass last;   // in rank
  Mass least;  // min_p's

  __device__ Mass mass(int token) const {
    if (token >= row->vocab_size || !row->allows(token)) return 0;
    if (rank_of(row->logits[token], token) < last) return 0;
    const Mass mass = row->mass(token);
    return mass < least ? 0 : mass;
  }
};

// The first token, by id, at which the running mass passes the seed's share of the total. A warp
// has an adjacent part of the vocabulary, whose masses it has added up before.
__device__ int draw(const Drawn& drawn, const DrawParams& params, int best, const Shared& shared) {
  const int vocab_size = drawn.row->vocab_size;
  const int part = divided_up(vocab_size, kThreads) * kWarpLanes;
  const int begin = warp_index() * part;
  const int end = min(begin + part, vocab_size);
  Mass own = 0;
  for (int token = begin + lane_index(); token < end; token += kWarpLanes) own += drawn.mass(token);
  own = warp_total(own);
  if (lane_index() == 0) shared.warps[warp_index()] = own;
  if (thread_index() == 0) shared.told[0] = static_cast<Mass>(best);
  __syncthreads();
  Mass before = 0;
  Mass total = 0;
  for (int warp = 0; warp < kWarps; ++warp) {
    if (warp < warp_index()) before += shared.warps[warp];
    total += shared.warps[warp];
  }
  const Mass wanted = share_of(total, uniform_bits(params.seed, params.position));
  if (before <= wanted && wanted < before + own) {
    for (int first = begin; first < end; first += kWarpLanes) {
      const Mass up_to = before + warp_prefix(drawn.mass(first + lane_index()));
      const unsigned passed = __ballot_sync(kFullMask, up_to > wanted ? 1 : 0);
      if (passed != 0) {
        if (lane_index() == 0) {
          shared.told[0] = static_cast<Mass>(first + __ffs(static_cast<int>(passed)) - 1);
        }
        break;
      }
      before = __shfl_sync(kFullMask, up_to, kWarpLanes - 1);
    }
  }
  __syncthreads();
  const int token = static_cast<int>(shared.told[0]);
  __syncthreads();
  return token;
}

// What log-probabilities are made of: the model's own logits.
__device__ void tell_logits(const float* logits, int vocab_size, int num_top, const Shared& shared,
                            DrawnToken& sampled) {
  Row row = {logits, nullptr, vocab_size, 0.0, 1.0};
  Mass rank = next_in_rank(row, ~Mass{0}, shared);
  const float largest = logits[token_of(rank)];
  row.largest = static_cast<double>(largest);
  Mass mass = 0;
  for (int token = thread_index(); token < vocab_size; token += kThreads) mass += row.mass(token);
  const Mass total = total_of_all(mass, shared);
  const int count = min(min(num_top, kMaxTopLogits), vocab_size);
  for (int i = 0; i < count; ++i) {
    if (i > 0) rank = next_in_rank(row, rank, shared);
    if (thread_index() != 0) continue;
    sampled.top[static_cast<std::size_t>(i)] = token_of(rank);
    sampled.top_logits[static_cast<std::size_t>(i)] = logits[token_of(rank)];
  }
  if (thread_index() != 0) return;
  sampled.logit = logits[sampled.token];
  sampled.largest = largest;
  sampled.total = total;
  sampled.num_top = count;
}

__global__ void __launch_bounds__(kThreads) sample_kernel(const __grid_constant__ SamplerParams p) {
  TESSERA_SHARED(Mass, warps, kWarps);
  TESSERA_SHARED(Mass, masses, kBuckets);
  TESSERA_SHARED(int, counts, kBuckets);
  TESSERA_SHARED(Mass, told, 2);
  const Shared shared = {warps, masses, counts, told};
  const SamplerCall& call = p.call;
  const int index = static_cast<int>(blockIdx.x);
  const SampleRow& sampled_row = call.rows[index];
  const DrawParams& params = sampled_row.params;
  const auto width = static_cast<std::size_t>(call.vocab_size);
  const float* model_logits = call.logits + static_cast<std::size_t>(sampled_row.row) * width;
  const std::size_t mask_words = static_cast<std::size_t>(divided_up(call.vocab_size, 64));
  Row row = {adjust(sampled_row, call.lists, model_logits,
                    call.adjusted + static_cast<std::size_t>(index) * width, call.vocab_size),
             sampled_row.mask < 0
                 ? nullptr
                 : call.lists.masks + static_cast<std::size_t>(sampled_row.mask) * mask_words,
             call.vocab_size, 0.0, static_cast<double>(params.temperature)};
  DrawnToken& sampled = call.sampled[index];
  const bool is_broken = has_nan(row, shared);
  const Mass best_rank = next_in_rank(row, ~Mass{0}, shared);
  const int best = token_of(best_rank);
  if (is_broken || best_rank == 0 || !is_finite(row.logits[best])) {
    if (thread_index() == 0) sampled.token = -1;
    return;
  }
  int token = best;
  if (params.temperature > 0.0F) {
    row.largest = static_cast<double>(row.logits[best]);
    const Drawn drawn = {&row, cut_at(row, params, shared),
                         mass_of(static_cast<double>(params.min_p))};
    token = draw(drawn, params, best, shared);
  }
  if (thread_index() == 0) sampled.token = token;
  if (params.num_logprobs >= 0) {
    tell_logits(model_logits, call.vocab_size, params.num_logprobs, shared, sampled);
  }
}

}  // namespace

void sample(CudaStream& stream, const SamplerCall& call) {
  if (call.num_rows == 0) return;
  launch(stream, "sample", sample_kernel,
         {{static_cast<unsigned>(call.num_rows)}, {static_cast<unsigned>(kThreads)}}, {call});
}

}  // namespace tessera
