// linear_lora.cu — linear_lora.hpp. When a tile's outputs are in y, each warp takes every eighth
// segment; a segment has no row that another has, so they change y without waiting for each other.
#include "kernels/cuda/linear_lora.hpp"
#include "kernels/cuda/linear_narrow.cuh"
#include "kernels/cuda/lora_workspace.cuh"

namespace tessera {
namespace {

using namespace cuda;

constexpr int kOutputTiles = kTileRows / 8;
constexpr int kWarpPages = kTokenTile * kPageStride<kOutputTiles>;  // of sixteen bytes
constexpr std::size_t kPagesBytes = std::size_t{kLinearWarps} * kWarpPages * 16;

// What a lane takes of z for sixteen ranks, as expand gathers it: planes added in their order,
// times the term's weight and the scales of 8 bits; zeros beyond the last row or rank.
__device__ void load_low_rank(const LoraSegment& segment, int site, int term,
                              const LoraEntry& entry, int first_rank, const ExpandParams& p,
                              float2 (&z)[4]) {
  const float* from[4];
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const int rank = first_rank + rank_of_pair(i);
    const bool is_there = row_of_pair(i) < segment.num_rows && rank < entry.rank;
    const int z_row = segment.first_z + term * segment.num_rows + row_of_pair(i);
    from[i] = is_there ? p.low_rank.at(site * p.planes, z_row) + rank : nullptr;
    z[i] = make_float2(0.0F, 0.0F);
  }
#pragma unroll 1
  for (int plane = 0; plane < p.planes; ++plane) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if (from[i] == nullptr) continue;
      const float2 part = *reinterpret_cast<const float2*>(from[i]);
      z[i] = make_float2(z[i].x + part.x, z[i].y + part.y);
      from[i] += p.low_rank.plane_floats();
    }
  }
  const float weight = segment.terms[term].weight;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const int rank = first_rank + rank_of_pair(i);
    z[i] = make_float2(z[i].x * weight, z[i].y * weight);
    if (entry.type == PageType::kInt8 && from[i] != nullptr) {
      z[i] = make_float2(z[i].x * entry.scales[rank], z[i].y * entry.scales[rank + 1]);
    }
    if (rank + 1 >= entry.rank) z[i].y = 0.0F;
  }
}

// All terms of a segment, for sixteen outputs.
__device__ void add_segment(const ExpandUnit& unit, const ExpandParams& p, uint4* pages) {
  for (int term = 0; term < unit.segment->num_terms; ++term) {
    const LoraEntry& entry = entry_at(p.table, p.modules, *unit.segment, term, unit.site);
    if (!changes(entry)) continue;
    float sums[kOutputTiles][4] = {};
    for (int rank = 0; rank < entry.rank; rank += kTokenTile) {
      float2 z[4];
      load_low_rank(*unit.segment, unit.site, term, entry, rank, p, z);
      add_ranks(
          entry, rank, unit.first_output, p.modules.out_features[unit.site],
          [&](int i) { return z[i]; }, pages, sums);
    }
    change_outputs(unit, entry, unit.first_output, p, sums);
  }
}

struct LinearLoraParams : LinearParams {
  ExpandParams expand;
  int first_site;

  __device__ void after_tile(int which, int tile, std::byte* shared) const {
    const int site = first_site + which;
    if (expand.plan.is_changed[site] == 0) return;
    auto* const pages = reinterpret_cast<uint4*>(shared) + warp_index() * kWarpPages;
    for (int at = warp_index(); at < *expand.plan.num_segments; at += kLinearWarps) {
      add_segment({&expand.plan.segments[at], site, 0, tile * kTileRows}, expand, pages);
    }
  }
};

}  // namespace

void multiply_with_lora(CudaStream& stream, const LinearGroup& group, const AddedLowRank& added,
                        int capacity) {
  const LinearLoraParams params = {linear_params(group), expand_params(added.work, added.modules),
                                   added.first_site};
  choose_narrow<16>(group, capacity, [&]<PackedForm kForm, int kTokens, int kSteps>() {
    launch(stream, "linear_lora", linear_kernel<kForm, kTokens, kSteps, LinearLoraParams>,
           narrow_shape<kForm, kTokens>(params, capacity, kPagesBytes), params);
  });
}

}  // namespace tessera
