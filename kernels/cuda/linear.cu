// linear.cu — linear.hpp: which form of kernel a launch takes.
#include "kernels/cuda/linear_narrow.cuh"
#include "kernels/cuda/linear_wide.hpp"

namespace tessera {
namespace {

using namespace cuda;

// A wide launch with blocks for an eighth of the multiprocessors takes as long as a narrow one that
// has blocks for all of them and reads x sixteen times as often: an estimate, to be measured.
constexpr int kWideOccupancy = 8;

void multiply_narrow(CudaStream& stream, const LinearGroup& group, int capacity) {
  const LinearParams params = linear_params(group);
  choose_narrow<64>(group, capacity, [&]<PackedForm kForm, int kTokens, int kSteps>() {
    launch(stream, "linear", linear_kernel<kForm, kTokens, kSteps, LinearParams>,
           narrow_shape<kForm, kTokens>(params, capacity), params);
  });
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
  multiply_narrow(stream, group, capacity);
}

}  // namespace tessera
