// linear.cu — linear.hpp: the tiles of a step's linears, and which form of kernel a launch takes.
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/linear_tile.cuh"
#include "kernels/cuda/linear_wide.hpp"

namespace tessera {
namespace {

using namespace cuda;

// A wide launch with blocks for an eighth of the multiprocessors takes as long as a narrow one that
// has blocks for all of them and reads x sixteen times as often: an estimate, to be measured.
constexpr int kWideOccupancy = 8;

struct LinearParams {
  LinearGroup group;
  int first_tile[4];  // of each matrix, and the number of all
};

// Grid: x persistent over the tiles of all matrices, y over the rows.
template <PackedForm kForm, int kTokens, int kSteps>
__global__ void __launch_bounds__(kLinearThreads, kTokens == 64 ? 1 : 2)
    linear_kernel(const __grid_constant__ LinearParams params) {
  const LinearGroup& p = params.group;
  const int num_rows = *p.num_rows;
  const int first_row = static_cast<int>(blockIdx.y) * kTokens;
  if (first_row >= num_rows) return;
  constexpr int kPairs = kForm == PackedForm::kBook16 ? kTableBytes : 0;
  std::byte* const shared = dynamic_shared();
  auto* const map = reinterpret_cast<float*>(shared + kPairs);
  auto* const sums = reinterpret_cast<float*>(shared + kPairs + kMapBytes);
  const Tables tables = {shared, threadIdx.x % kWarpSize * 4, map};
  for (unsigned i = threadIdx.x; kForm != PackedForm::kHalf && i < 256; i += kLinearThreads) {
    map[i] = p.matrices[0].dynamic_map[i];
  }
  int filled = -1;  // the matrix whose pairs are in the table
  __syncthreads();
  for (int at = static_cast<int>(blockIdx.x); at < params.first_tile[3];
       at += static_cast<int>(gridDim.x)) {
    const int which = at >= params.first_tile[2] ? 2 : at >= params.first_tile[1] ? 1 : 0;
    const PackedMatrix& m = p.matrices[which];
    if (kForm == PackedForm::kBook16 && filled != which) {
      fill_pairs(m, shared);
      filled = which;
      __syncthreads();
    }
    const int column = which == 0   ? 0
                       : which == 1 ? p.matrices[0].rows
                                    : p.matrices[0].rows + p.matrices[1].rows;
    multiply_tile<kForm, kTokens, kSteps, false>(p, m, tables, sums, at - params.first_tile[which],
                                                 column, first_row, num_rows);
  }
}

int steps_of(const LinearGroup& group) {
  int least = 4;
  for (int i = 0; i < group.count; ++i) {
    least = min(least, steps_of_group(group.matrices[i].group));
  }
  return least;
}

template <PackedForm kForm, int kTokens, int kSteps>
void start(CudaStream& stream, const LinearParams& params, int capacity) {
  constexpr int kPairs = kForm == PackedForm::kBook16 ? kTableBytes : 0;
  const auto tiles = static_cast<unsigned>(params.first_tile[3]);
  const unsigned blocks = min(tiles, static_cast<unsigned>(2 * num_multiprocessors()));
  launch(stream, "linear", linear_kernel<kForm, kTokens, kSteps>,
         {{blocks, divide_up(capacity, kTokens)},
          {kLinearThreads},
          static_cast<std::size_t>(kPairs + kMapBytes + kSumBytes<kTokens>)},
         params);
}

template <PackedForm kForm, int kSteps>
void choose_tokens(CudaStream& stream, const LinearParams& params, int capacity) {
  if (capacity <= 8) return start<kForm, 8, kSteps>(stream, params, capacity);
  if (capacity <= 16) return start<kForm, 16, kSteps>(stream, params, capacity);
  start<kForm, 64, kSteps>(stream, params, capacity);
}

template <PackedForm kForm>
void choose_steps(CudaStream& stream, const LinearParams& params, int steps, int capacity) {
  if (steps == 4) return choose_tokens<kForm, 4>(stream, params, capacity);
  if (steps == 2) return choose_tokens<kForm, 2>(stream, params, capacity);
  choose_tokens<kForm, 1>(stream, params, capacity);
}

void multiply_narrow(CudaStream& stream, const LinearGroup& group, int steps, int capacity) {
  LinearParams params{group, {}};
  for (int i = 0; i < 3; ++i) {
    params.first_tile[i + 1] =
        params.first_tile[i] + (i < group.count ? group.matrices[i].tiles() : 0);
  }
  switch (group.matrices[0].form) {
    case PackedForm::kBook16:
      return choose_steps<PackedForm::kBook16>(stream, params, steps, capacity);
    case PackedForm::kInt8:
      return choose_steps<PackedForm::kInt8>(stream, params, steps, capacity);
    case PackedForm::kHalf:
      return choose_tokens<PackedForm::kHalf, 4>(stream, params, capacity);
  }
}

// Many rows and enough outputs: then the wide form reads x a sixteenth as often.
bool is_for_wide(const LinearGroup& group, int capacity) {
  return capacity > 16 && kWideOccupancy * wide_blocks(group, capacity) >= num_multiprocessors();
}

}  // namespace

void multiply(CudaStream& stream, const LinearGroup& group, int capacity, LinearWidth width) {
  const int steps = steps_of(group);
  const bool is_wanted = width == LinearWidth::kWide ||
                         (width == LinearWidth::kChosen && is_for_wide(group, capacity));
  if (is_wanted && steps > 1) return multiply_wide(stream, group, steps, capacity);
  multiply_narrow(stream, group, steps, capacity);
}

}  // namespace tessera
