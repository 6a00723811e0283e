// cuda_backend.hpp — a Backend on an NVIDIA GPU (or on the emulated machine).
//
// A step is one copy of its numbers to the device and then launches that depend on nothing but a
// bucket of rows; so the stages of a small step are not launched one by one but, at head(), as one
// graph that was captured for the bucket when the backend was made, with LoRA or without. A stage
// is therefore only noted until head() or until somebody looks at the residual stream. Logits come
// back by one copy, which logits() waits for: the only wait of a step.
//
// Linears compute from fp16 activations with a power of two a row, sums in fp32; keys and values
// are fp16 or 8 bits; the residual stream is fp32. Of what ModelSpec can describe, experts are left
// to the CPU.
#pragma once

#include <cstddef>
#include <memory>

#include "kernels/backend.hpp"

namespace tessera {

struct CudaOptions {
  int device = 0;
  int max_slots = 256;  // adapters on the device at once
  // The pool has room for the KV blocks and for so many bytes of adapters, or all that is left.
  std::size_t adapter_bytes = 0;
  bool takes_all = false;
  int max_graph_rows = 256;  // steps of more rows are launched kernel by kernel; 0: all are
};

// Throws std::invalid_argument for a model that the GPU does not take, CudaError if the device
// fails or its memory is too small, in one line that says how it would be divided.
std::unique_ptr<Backend> make_cuda_backend(const ModelWeights& weights, const BackendLimits& limits,
                                           const CudaOptions& options = {});

}  // namespace tessera
