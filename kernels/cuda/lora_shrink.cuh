// lora_shrink.cuh — z = A x, in planes of some thousand features of x.
//
// Rows of x are the sixteen rows of the matrix instruction, a page's ranks its eight columns. It
// multiplies bf16; x is fp32 and goes through it in two parts, its bf16 and the bf16 of what that
// leaves, seventeen bits of it. A page lies as (features, 8), so that thirty-two features are 512
// bytes: a warp takes them to shared memory and reads them back transposed.
//
// Few rows take a page at a time, to make many units of little work; many take four, so that x is
// not read for each. An element of z is the same products in the same order in both: which plane
// and which of eight warps a feature belongs to is a function of in_features alone.
#pragma once

#include "kernels/cuda/lora_plan.cuh"

namespace tessera::cuda {

inline constexpr int kShrinkThreads = kShrinkWarps * kWarpLanes;

struct ShrinkForm {
  int tiles;  // of kTokenTile rows
  int pages;
};
inline constexpr ShrinkForm kFewRows = {1, 1};
inline constexpr ShrinkForm kManyRows = {2, 4};

struct ShrinkParams {
  LoraPlan plan;
  LoraTable table;
  LowRank low_rank;
  LoraModules modules;
};

// What a CTA does at a time: some pages and rows of one term at one site, in one plane.
struct ShrinkUnit {
  const LoraEntry* entry;
  const std::int32_t* rows;  // of x
  int num_rows;
  int first_page;
  int first_feature;
  float* z;  // of the first row
};

__device__ inline ShrinkForm shrink_form(int num_rows) {
  if (num_rows <= kTokenTile) return {kFewRows.tiles, kFewRows.pages};
  return {kManyRows.tiles, kManyRows.pages};
}

__device__ inline int shrink_units(const LoraSegment& segment, const LoraEntry& entry,
                                   int in_features) {
  const ShrinkForm form = shrink_form(segment.num_rows);
  return shrink_cut(in_features).planes * divided_up(num_pages(entry), form.pages) *
         divided_up(segment.num_rows, kTokenTile * form.tiles);
}

// Of all terms and sites.
__device__ inline int shrink_units(const LoraSegment& segment, const ShrinkParams& p) {
  int units = 0;
  for (int site = 0; site < p.modules.count; ++site) {
    for (int t = 0; t < segment.num_terms; ++t) {
      const LoraEntry& entry = entry_at(p.table, p.modules, segment, t, site);
      units += shrink_units(segment, entry, p.modules.in_features);
    }
  }
  return units;
}

// Unit `local` of a segment: sites, terms, planes, pages and, fastest, rows.
__device__ inline ShrinkUnit shrink_unit_at(int local, const LoraSegment& segment,
                                            const ShrinkParams& p) {
  const ShrinkForm form = shrink_form(segment.num_rows);
  const ShrinkCut cut = shrink_cut(p.modules.in_features);
  int site = 0;
  int term = 0;
  const LoraEntry* entry = nullptr;
  for (;;) {
    entry = &entry_at(p.table, p.modules, segment, term, site);
    const int units = shrink_units(segment, *entry, p.modules.in_features);
    if (local < units) break;
    local -= units;
    term = (term + 1) % segment.num_terms;
    if (term == 0) ++site;
  }
  const int row_tiles = divided_up(segment.num_rows, kTokenTile * form.tiles);
  const int page_groups = divided_up(num_pages(*entry), form.pages);
  const int first_row = local % row_tiles * kTokenTile * form.tiles;
  const int plane = local / row_tiles / page_groups;
  return {entry,
          p.plan.rows + segment.first_entry + first_row,
          min(segment.num_rows - first_row, kTokenTile * form.tiles),
          local / row_tiles % page_groups * form.pages,
          plane * cut.warp_tiles * kShrinkWarps * kTileFeatures,
          p.low_rank.at(site * cut.planes + plane,
                        segment.first_z + term * segment.num_rows + first_row)};
}

// Two adjacent features of a row of x; zeros where there is no such row or feature.
__device__ inline float2 load_pair(const float* x, int row, int feature, int in_features) {
  if (row < 0 || feature >= in_features) return make_float2(0.0F, 0.0F);
  const float* from = x + static_cast<std::size_t>(row) * static_cast<std::size_t>(in_features) +
                      static_cast<std::size_t>(feature);
  if (in_features % 2 == 0) return *reinterpret_cast<const float2*>(from);
  return make_float2(from[0], feature + 1 < in_features ? from[1] : 0.0F);
}

// Both parts of sixteen rows by sixteen features of x from `feature` on, a lane's two rows given.
struct SplitRows {
  std::uint32_t high[4];
  std::uint32_t rest[4];

  __device__ void load(const float* x, const int (&rows)[2], int feature, int in_features) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const float2 pair =
          load_pair(x, rows[i % 2], feature + lane_index() % 4 * 2 + i / 2 * 8, in_features);
      split_bf16(pair.x, pair.y, high[i], rest[i]);
    }
  }
};

// Lane l's row of thirty-two features by eight ranks: feature + l. Zeros where there is no page.
__device__ inline uint4 load_a_row(const std::byte* page, PageType type, int feature,
                                   int in_features) {
  const int own = feature + lane_index();
  if (page == nullptr || own >= in_features) return {0, 0, 0, 0};
  return load_eight(page, type, static_cast<std::size_t>(own) * kRanksPerPage, kRanksPerPage, true);
}

// sums[page][tile] += x A of the warp's part of the plane.
template <int kTiles, int kPages>
__device__ void multiply_warp_part(const ShrinkUnit& unit, const ShrinkParams& p, uint4* staged,
                                   float (&sums)[kPages][kTiles][4]) {
  const int in_features = p.modules.in_features;
  const int warp_features = shrink_cut(in_features).warp_tiles * kTileFeatures;
  const int begin = unit.first_feature + warp_index() * warp_features;
  const int end = min(begin + warp_features, in_features);
  int rows[kTiles][2];
#pragma unroll
  for (int i = 0; i < 2 * kTiles; ++i) {
    const int at = i * 8 + lane_index() / 4;
    int row = at < unit.num_rows ? unit.rows[at] : -1;
    if (row >= 0 && p.modules.x_rows != nullptr) row = p.modules.x_rows[row];
    rows[i / 2][i % 2] = row;
  }
  const PageType type = unit.entry->type;
  const std::byte* pages[kPages];
  uint4 next[kPages];
#pragma unroll
  for (int page = 0; page < kPages; ++page) {
    const int at = unit.first_page + page;
    pages[page] = at < num_pages(*unit.entry) ? unit.entry->pages[at].a : nullptr;
    next[page] = load_a_row(pages[page], type, begin, in_features);
  }
  for (int feature = begin; feature < end; feature += kTileFeatures) {
#pragma unroll
    for (int page = 0; page < kPages; ++page) {
      staged[page * kWarpLanes + lane_index()] = next[page];
      next[page] = load_a_row(pages[page], type, feature + kTileFeatures,
                              feature + kTileFeatures < end ? in_features : 0);
    }
    __syncwarp();
    std::uint32_t a[kPages][4];
#pragma unroll
    for (int page = 0; page < kPages; ++page) {
      load_matrix_x4_transposed(a[page], &staged[page * kWarpLanes + lane_index()]);
    }
    __syncwarp();
#pragma unroll
    for (int half = 0; half < 2; ++half) {
#pragma unroll
      for (int tile = 0; tile < kTiles; ++tile) {
        SplitRows x;
        x.load(p.modules.x, rows[tile], feature + half * 16, in_features);
#pragma unroll
        for (int page = 0; page < kPages; ++page) {
          const std::uint32_t pair[2] = {a[page][2 * half], a[page][2 * half + 1]};
          mma_bf16(sums[page][tile], x.high, pair);
          mma_bf16(sums[page][tile], x.rest, pair);
        }
      }
    }
  }
}

template <int kTiles, int kPages>
__device__ void shrink_unit(const ShrinkUnit& unit, const ShrinkParams& p, float* shared) {
  constexpr int kElements = kPages * kTiles * kWarpLanes * 4;
  float sums[kPages][kTiles][4] = {};
  multiply_warp_part<kTiles, kPages>(
      unit, p, reinterpret_cast<uint4*>(shared) + warp_index() * kPages * kWarpLanes, sums);
  __syncthreads();
#pragma unroll
  for (int i = 0; i < kPages * kTiles * 4; ++i) {
    shared[warp_index() * kElements + i * kWarpLanes + lane_index()] =
        sums[i / 4 / kTiles][i / 4 % kTiles][i % 4];
  }
  __syncthreads();
  // The warps' sums, added in the order of the warps.
  for (int element = thread_index(); element < kElements; element += kShrinkThreads) {
    float sum = 0.0F;
    for (int warp = 0; warp < kShrinkWarps; ++warp) sum += shared[warp * kElements + element];
    const int lane = element % kWarpLanes;
    const int i = element / kWarpLanes;
    const int row = i / 4 % kTiles * kTokenTile + i % 4 / 2 * 8 + lane / 4;
    const int page = unit.first_page + i / 4 / kTiles;
    if (page < num_pages(*unit.entry) && row < unit.num_rows) {
      const int rank = page * kRanksPerPage + lane % 4 * 2 + i % 2;
      unit.z[static_cast<std::size_t>(row) * static_cast<std::size_t>(p.low_rank.max_rank) +
             static_cast<std::size_t>(rank)] = sum;
    }
  }
  __syncthreads();
}

// What a linear that adds B z itself asks (linear_lora.cu). Not the plan's: an adapter's modules
// come into the table layer by layer, while the step runs. A warp's.
__device__ inline void mark_changed(const ShrinkParams& p) {
#pragma unroll 1
  for (int site = 0; site < p.modules.count; ++site) {
    bool any = false;
#pragma unroll 1
    for (int at = lane_index(); at < *p.plan.num_segments; at += kWarpLanes) {
      const LoraSegment& segment = p.plan.segments[at];
#pragma unroll 1
      for (int t = 0; t < segment.num_terms; ++t) {
        any |= changes(entry_at(p.table, p.modules, segment, t, site));
      }
    }
    const bool is_changed = __ballot_sync(kFullMask, any ? 1 : 0) != 0;
    if (lane_index() == 0) p.plan.is_changed[site] = is_changed ? 1 : 0;
  }
}

// Dynamic shared memory: a number for each segment there may be, and one.
__global__ void __launch_bounds__(kShrinkThreads, 2)
    shrink_kernel(const __grid_constant__ ShrinkParams p) {
  TESSERA_SHARED(float, shared, kShrinkWarps* kManyRows.pages* kManyRows.tiles* kWarpLanes * 4);
  auto* offsets = reinterpret_cast<std::int32_t*>(dynamic_shared());
  const int num_units = count_units(
      p.plan, offsets, [&](const LoraSegment& segment) { return shrink_units(segment, p); });
  for (int index = static_cast<int>(blockIdx.x); index < num_units;
       index += static_cast<int>(gridDim.x)) {
    const int at = range_of(offsets, *p.plan.num_segments, index);
    const LoraSegment& segment = p.plan.segments[at];
    const ShrinkUnit unit = shrink_unit_at(index - offsets[at], segment, p);
    if (segment.num_rows <= kTokenTile) {
      shrink_unit<kFewRows.tiles, kFewRows.pages>(unit, p, shared);
    } else {
      shrink_unit<kManyRows.tiles, kManyRows.pages>(unit, p, shared);
    }
  }
  if (blockIdx.x == 0 && warp_index() == kShrinkWarps - 1) mark_changed(p);
}

}  // namespace tessera::cuda
