// device.hpp — what launch.cuh needs of an emulated stream.
//
// A stream does nothing until somebody waits for it: whoever reads too early, or overwrites memory
// that a copy has yet to read, sees the difference.
#pragma once

#include <functional>

#include "kernels/cuda/device.hpp"

namespace tessera::emulation {

void enqueue(CudaStream& stream, std::function<void()> work);

}  // namespace tessera::emulation
