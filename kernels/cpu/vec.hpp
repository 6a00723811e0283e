// vec.hpp — what the kernels compute with: sixteen fp32 lanes.
//
// The kernels (linear_kernels.hpp, lora_kernels.hpp, ...) are written once, as templates over a
// "vec": a struct of types and static functions on sixteen lanes. There are three, VecPortable,
// VecAvx2 and VecAvx512, and they agree bit for bit, because every operation is either exact or
// rounded once as IEEE 754 says, and sums across lanes are taken in one fixed order.
//
// One-definition rule: the files that instantiate the kernels are compiled for different machines,
// so an inline function that two of them share could end up in the program with instructions that
// the machine lacks. Everything in these headers is a template over a vec, or a member of one.
#pragma once

namespace tessera {

inline constexpr int kLanes = 16;

}  // namespace tessera
