// expert_linear.cu — the linears of experts (expert_kernels.hpp): the matrix and the rows are the
// unit's.
#include "kernels/cuda/expert_kernels.hpp"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/linear_tile.cuh"

namespace tessera {
namespace {

using namespace cuda;

struct ExpertParams {
  ExpertLinears linears;
  int tiles;  // of each matrix
};

template <PackedForm kForm, int kSteps>
__device__ bool has_form(const PackedMatrix& m) {
  return m.form == kForm && (kForm == PackedForm::kHalf || steps_of_group(m.group) == kSteps);
}

// How many of an expert's linears have the form.
template <PackedForm kForm, int kSteps>
__device__ int count_linears(const ExpertLinears& p, int expert) {
  int count = 0;
  for (int i = 0; i < p.count; ++i) {
    const PackedMatrix& m = p.matrices[expert * kNumExpertLinears + p.first + i];
    if (has_form<kForm, kSteps>(m)) ++count;
  }
  return count;
}

// The `index`-th of them.
template <PackedForm kForm, int kSteps>
__device__ int linear_at(const ExpertLinears& p, int expert, int index) {
  for (int i = 0; i < p.count; ++i) {
    const PackedMatrix& m = p.matrices[expert * kNumExpertLinears + p.first + i];
    if (has_form<kForm, kSteps>(m) && index-- == 0) return i;
  }
  return 0;
}

// Fills offsets[0 .. num_experts] with the units (tiles of weights by tiles of places) before each
// expert's, and in all. All threads call it.
template <PackedForm kForm, int kTokens, int kSteps>
__device__ int count_expert_units(const ExpertParams& params, std::int32_t* offsets) {
  const ExpertRouting& routing = params.linears.routing;
  if (threadIdx.x / kWarpSize == 0) {
    int before = 0;
    for (int begin = 0; begin < routing.num_experts; begin += cuda::kWarpLanes) {
      const int expert = begin + cuda::lane_index();
      int own = 0;
      if (expert < routing.num_experts) {
        const int places = routing.first[expert + 1] - routing.first[expert];
        own = cuda::divided_up(places, kTokens) * params.tiles *
              (places > 0 ? count_linears<kForm, kSteps>(params.linears, expert) : 0);
      }
      const int up_to = cuda::warp_prefix(own);
      if (expert < routing.num_experts) offsets[expert] = before + up_to - own;
      before += __shfl_sync(kFullMask, up_to, cuda::kWarpLanes - 1);
    }
    if (cuda::lane_index() == 0) offsets[routing.num_experts] = before;
  }
  __syncthreads();
  return offsets[routing.num_experts];
}

__device__ bool has_same_book(const PackedMatrix& a, const PackedMatrix& b) {
  bool same = true;
  for (int i = 0; i < 16; ++i) same = same && a.book[i] == b.book[i];
  return same;
}

// Grid: persistent over the units of all experts.
template <PackedForm kForm, int kTokens, int kSteps>
__global__ void __launch_bounds__(kLinearThreads, kTokens == 64 ? 1 : 2)
    expert_linear_kernel(const __grid_constant__ ExpertParams params) {
  TESSERA_SHARED(std::int32_t, offsets, kMaxExperts + 1);
  const ExpertLinears& p = params.linears;
  constexpr int kPairs = kForm == PackedForm::kBook16 ? kTableBytes : 0;
  std::byte* const shared = dynamic_shared();
  auto* const map = reinterpret_cast<float*>(shared + kPairs);
  auto* const sums = reinterpret_cast<float*>(shared + kPairs + kMapBytes);
  const Tables tables = {shared, threadIdx.x % kWarpSize * 4, map};
  for (unsigned i = threadIdx.x; kForm != PackedForm::kHalf && i < 256; i += kLinearThreads) {
    map[i] = p.matrices[0].dynamic_map[i];
  }
  const int num_units = count_expert_units<kForm, kTokens, kSteps>(params, offsets);
  LinearGroup group;
  group.x = p.x;
  group.x_rows = p.x_rows;
  group.y = p.y;
  group.y_stride = p.y_stride;
  const PackedMatrix* filled = nullptr;  // whose pairs are in the table
  for (int unit = static_cast<int>(blockIdx.x); unit < num_units;
       unit += static_cast<int>(gridDim.x)) {
    const int expert = cuda::range_of(offsets, p.routing.num_experts, unit);
    const int first = p.routing.first[expert];
    const int end = p.routing.first[expert + 1];
    const int place_tiles = cuda::divided_up(end - first, kTokens);
    const int local = unit - offsets[expert];
    const int first_row = first + local % place_tiles * kTokens;
    const int tile = local / place_tiles % params.tiles;
    const int which = linear_at<kForm, kSteps>(p, expert, local / place_tiles / params.tiles);
    const PackedMatrix& m = p.matrices[expert * kNumExpertLinears + p.first + which];
    if (kForm == PackedForm::kBook16 && (filled == nullptr || !has_same_book(*filled, m))) {
      fill_pairs(m, shared);
      filled = &m;
      __syncthreads();
    }
    multiply_tile<kForm, kTokens, kSteps, true>(group, m, tables, sums, tile,
                                                which * p.shape.out_features, first_row, end);
  }
}

template <PackedForm kForm, int kTokens, int kSteps>
void start_experts(CudaStream& stream, const ExpertParams& params, int capacity) {
  constexpr int kPairs = kForm == PackedForm::kBook16 ? kTableBytes : 0;
  const ExpertLinears& p = params.linears;
  const int places = capacity * p.routing.per_row;
  const int most_tiles =
      static_cast<int>(divide_up(places, kTokens)) + min(p.routing.num_experts, places);
  const auto units = static_cast<unsigned>(most_tiles * params.tiles * p.count);
  const unsigned blocks = min(units, static_cast<unsigned>(2 * num_multiprocessors()));
  launch(stream, "expert_linear", expert_linear_kernel<kForm, kTokens, kSteps>,
         {{blocks},
          {kLinearThreads},
          static_cast<std::size_t>(kPairs + kMapBytes + kSumBytes<kTokens>)},
         params);
}

// As many places at a time as an expert has on average: what a row comes to is the same in all.
template <PackedForm kForm, int kSteps>
void choose_places(CudaStream& stream, const ExpertParams& params, int capacity) {
  const ExpertRouting& routing = params.linears.routing;
  const int average = capacity * routing.per_row / routing.num_experts;
  if (capacity <= 8 || average <= 8) {
    return start_experts<kForm, 8, kSteps>(stream, params, capacity);
  }
  if constexpr (kSteps > 1) {  // a scale for each step leaves no registers for as many
    if (average > 16) return start_experts<kForm, 64, kSteps>(stream, params, capacity);
  }
  start_experts<kForm, 16, kSteps>(stream, params, capacity);
}

template <PackedForm kForm>
void choose_expert_steps(CudaStream& stream, const ExpertParams& params, int steps, int capacity) {
  if (steps == 4) return choose_places<kForm, 4>(stream, params, capacity);
  if (steps == 2) return choose_places<kForm, 2>(stream, params, capacity);
  choose_places<kForm, 1>(stream, params, capacity);
}

}  // namespace

ExpertForm form_of(const PackedMatrix& matrix) {
  const bool is_half = matrix.form == PackedForm::kHalf;
  return {matrix.form, is_half ? 4 : steps_of_group(matrix.group)};
}

void multiply_experts(CudaStream& stream, const ExpertLinears& linears, ExpertForm form,
                      int capacity) {
  const ExpertParams params{linears, (linears.shape.out_features + kTileRows - 1) / kTileRows};
  switch (form.form) {
    case PackedForm::kBook16:
      return choose_expert_steps<PackedForm::kBook16>(stream, params, form.steps, capacity);
    case PackedForm::kInt8:
      return choose_expert_steps<PackedForm::kInt8>(stream, params, form.steps, capacity);
    case PackedForm::kHalf:
      return choose_places<PackedForm::kHalf, 4>(stream, params, capacity);
  }
}

}  // namespace tessera
