// linear_lora.hpp — y = out_scale * (W x + B z) + bias of few rows in one launch.
//
// Where a step is a few rows of many adapters, a launch for each linear's B z costs more than the
// bytes of B: so the block that has made sixteen outputs of W x adds their B z before it goes on.
// The bits are those of multiply() and then apply_lora() (P2): the same products in the same order,
// and W x rounded to fp32 between.
#pragma once

#include "kernels/cuda/linear.hpp"
#include "kernels/cuda/lora_kernels.hpp"

namespace tessera {

// What adapters add to a group's outputs. Matrix i of the group is site first_site + i of
// `modules`, which are of all rows of the step, and its outputs are where that site's y is.
struct AddedLowRank {
  const LoraWork& work;
  const LoraModules& modules;
  int first_site = 0;
};

inline constexpr int kMaxRowsWithLora = 16;

// For `capacity` rows, at most kMaxRowsWithLora, after plan_lora() and shrink_lora() of the
// modules.
void multiply_with_lora(CudaStream& stream, const LinearGroup& group, const AddedLowRank& added,
                        int capacity);

}  // namespace tessera
