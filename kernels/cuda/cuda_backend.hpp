// cuda_backend.hpp — a Backend on an NVIDIA GPU (or on the emulated machine).
//
// A step is one copy of its numbers to the device and then launches that depend on nothing but a
// bucket of rows; so the stages of a small step are not launched one by one but, at head(), as one
// graph that was captured for the bucket when the backend was made, with LoRA or without. A stage
// is therefore only noted until head() or until somebody looks at the residual stream. Tokens are
// drawn on the device; waiting for them is the only wait of a step. Logits come back only to
// whoever asks for them.
//
// Linears compute from fp16 activations with a power of two a row, sums in fp32; keys and values
// are fp16 or 8 bits; the residual stream is fp32.
#pragma once

#include <cstddef>
#include <memory>

#include "kernels/backend.hpp"

namespace tessera {

struct CudaOptions {
  int max_graph_rows = 256;  // steps of more rows are launched kernel by kernel; 0: all are
  // From so many rows on, and not in graphs, linears go through a library's GEMM
  // (linear_dense.hpp), for whose sake a row's bits then depend on its company; its 48 MiB come out
  // of the reserve. 0: never, which P2 asks for.
  int dense_rows = 0;
};

// On the current device. Its free memory is divided as limits.memory wishes if limits.num_blocks is
// 0; else the pool has room for those blocks and limits.memory.adapter_bytes, and no more. Throws
// std::invalid_argument for a model that the GPU does not take, std::runtime_error if its memory is
// too small, in one line that says how it would be divided, CudaError if the device fails.
std::unique_ptr<Backend> make_cuda_backend(const ModelWeights& weights, const BackendLimits& limits,
                                           const CudaOptions& options = {});

}  // namespace tessera
