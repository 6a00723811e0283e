// nf4_dequantize.cuh — NF4 back to fp32 on the device, the specification of every CUDA kernel that
// decodes weights.
//
//   w[i] = values[code[i]] * (map[absmax_code[i / 64]] * absmax_scale[i / 64 / 256] + offset)
//
// Rounding is pinned (no fused multiply-add), so the result is bit-equal to dequantize_nf4() on the
// host. Bound by the bytes written. One thread decodes two weights: one byte of codes.
#pragma once

#include "kernels/cuda/device.hpp"
#include "kernels/nf4.hpp"

namespace tessera {

// `matrix` holds device pointers; `weights` (rows * cols,) is device memory. Enqueued on `stream`.
void dequantize_nf4_on_device(const Nf4Matrix& matrix, float* weights, CudaStream& stream);

}  // namespace tessera
