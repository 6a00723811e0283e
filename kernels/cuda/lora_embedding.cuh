// lora_embedding.cuh — what adapters do where x is one-hot, and the rows of the embedding and the
// head that they have of their own.
#pragma once

#include "kernels/cuda/lora_plan.cuh"

namespace tessera::cuda {

inline constexpr int kOwnRowThreads = 256;

struct EmbeddingParams {
  DeviceStep step;
  LoraPlan plan;
  LoraTable table;
  LowRank low_rank;
  float* x;  // (rows, hidden)
  std::int32_t hidden;
  std::int32_t vocab_size;
  std::int32_t module;
};

// Where `token` is in an adapter's own ids, which ascend; -1: nowhere.
__device__ inline int find_id(const LoraRows& rows, TokenId token) {
  int low = 0;
  int high = rows.count;
  while (low < high) {
    const int middle = (low + high) / 2;
    if (rows.ids[middle] < token) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low < rows.count && rows.ids[low] == token ? low : -1;
}

__device__ inline float bf16_at(const std::uint16_t* values, std::size_t i) {
  return __uint_as_float(static_cast<std::uint32_t>(values[i]) << 16);
}

// A CTA a row: x = the adapter's own row of the embedding, if it has one for the token. Of a mix
// the last term that has one decides, as in the reference.
__global__ void __launch_bounds__(kOwnRowThreads)
    own_embeddings_kernel(const __grid_constant__ EmbeddingParams p) {
  const int row = static_cast<int>(blockIdx.x);
  if (row >= p.step.counts->rows) return;
  const MixTerm* terms = terms_of(p.step, false, row);
  const auto hidden = static_cast<std::size_t>(p.hidden);
  for (int t = 0; t < count_terms(terms); ++t) {
    const LoraRows& own = p.table.embed_rows[terms[t].slot];
    const int at = find_id(own, p.step.tokens[row]);
    if (at < 0) continue;
    for (int k = thread_index(); k < p.hidden; k += kOwnRowThreads) {
      p.x[static_cast<std::size_t>(row) * hidden + static_cast<std::size_t>(k)] =
          bf16_at(own.rows, static_cast<std::size_t>(at) * hidden + static_cast<std::size_t>(k));
    }
  }
}

// A warp a row and term, over the segments: z = column `token` of A.
__global__ void __launch_bounds__(kOwnRowThreads)
    shrink_embedding_kernel(const __grid_constant__ EmbeddingParams p) {
  constexpr int kWarps = kOwnRowThreads / kWarpLanes;
  const int first = static_cast<int>(blockIdx.x) * kWarps + warp_index();
  for (int s = 0; s < *p.plan.num_segments; ++s) {
    const LoraSegment& segment = p.plan.segments[s];
    const int num_z_rows = segment.num_rows * segment.num_terms;
    for (int i = first; i < num_z_rows; i += static_cast<int>(gridDim.x) * kWarps) {
      const LoraEntry& entry =
          entry_at(p.table, segment.terms[i / segment.num_rows].slot, p.module);
      const int row = p.plan.rows[segment.first_entry + i % segment.num_rows];
      float* z = p.low_rank.at(0, segment.first_z + i);
      for (int rank = lane_index(); rank < entry.rank; rank += kWarpLanes) {
        const std::byte* page = entry.pages[rank / kRanksPerPage].a;
        const std::size_t at = static_cast<std::size_t>(p.step.tokens[row]) * kRanksPerPage +
                               static_cast<std::size_t>(rank % kRanksPerPage);
        z[rank] = entry.type == PageType::kBf16
                      ? bf16_at(reinterpret_cast<const std::uint16_t*>(page), at)
                      : static_cast<float>(reinterpret_cast<const std::int8_t*>(page)[at]);
      }
    }
  }
}

struct OwnLogitsParams {
  DeviceStep step;
  LoraTable table;
  const float* x;  // (head_rows, hidden)
  float* logits;   // (head_rows, vocab_size)
  std::int32_t hidden;
  std::int32_t vocab_size;
};

// The CTAs of one grid column make one row's logits anew, a warp an id. A lane adds every
// thirty-second product, and the lanes' sums are added in a tree: an order that hidden alone gives.
__global__ void __launch_bounds__(kOwnRowThreads)
    own_logits_kernel(const __grid_constant__ OwnLogitsParams p) {
  constexpr int kWarps = kOwnRowThreads / kWarpLanes;
  const int at = static_cast<int>(blockIdx.x);
  if (at >= p.step.counts->head_rows) return;
  const MixTerm* terms = terms_of(p.step, true, at);
  const auto hidden = static_cast<std::size_t>(p.hidden);
  const float* x = p.x + static_cast<std::size_t>(at) * hidden;
  float* logits = p.logits + static_cast<std::size_t>(at) * static_cast<std::size_t>(p.vocab_size);
  for (int t = 0; t < count_terms(terms); ++t) {
    const LoraRows& own = p.table.head_rows[terms[t].slot];
    const int first = static_cast<int>(blockIdx.y) * kWarps + warp_index();
    for (int i = first; i < own.count; i += static_cast<int>(gridDim.y) * kWarps) {
      const std::uint16_t* weights = own.rows + static_cast<std::size_t>(i) * hidden;
      float sum = 0.0F;
      for (int k = lane_index(); k < p.hidden; k += kWarpLanes) {
        sum = __fmaf_rn(bf16_at(weights, static_cast<std::size_t>(k)), x[k], sum);
      }
      for (int bits = kWarpLanes / 2; bits > 0; bits /= 2) {
        sum = __fadd_rn(sum, __shfl_xor_sync(kFullMask, sum, bits));
      }
      if (lane_index() == 0) logits[own.ids[i]] = sum;
    }
  }
}

}  // namespace tessera::cuda
