// gguf_blocks.hpp — a GGUF tensor's blocks as a TensorSource; every quantised type that we read has
// a WeightMatrix of the same values.
//
//   Q4_0, Q4_1    4-bit codes in groups of 32, one scale; Q4_1 and Q5_1 add a minimum
//   Q5_0, Q5_1    5-bit codes in groups of 32, kept in 8 bits
//   Q8_0          8-bit codes in groups of 32
//   Q4_K, Q5_K    super-blocks of 256: eight groups of 32 with 6-bit scales and minimums
//   Q6_K          super-blocks of 256: sixteen groups of 16 with 8-bit scales
//
// A group's fp32 scale is the product that ggml's own dequantisation begins with (d * scale), its
// offset the minimum it subtracts, so the values are the same to the last bit.
// (ggml, ggml-quants.c and gguf-py, quants.py.)
#pragma once

#include <cstdint>
#include <vector>

#include "engine/model/gguf_file.hpp"
#include "engine/model/tensor_source.hpp"

namespace tessera {

// How many rows a head has whose pairs lie side by side (elements 2i and 2i + 1) in the file, and
// half a head apart for us; 0: rows are in our order. (llama.cpp permutes so the queries and keys
// of some architectures.)
struct RowOrder {
  std::int64_t head_dim = 0;

  // The file's row of our row.
  std::int64_t stored_row(std::int64_t row) const {
    if (head_dim == 0) return row;
    const std::int64_t in_head = row % head_dim;
    const std::int64_t half = head_dim / 2;
    return row - in_head + 2 * (in_head % half) + in_head / half;
  }
};

// A part of a tensor as (rows, cols): `first_row` on, `shape` long, the last entry being the
// tensor's cols. It must lie within the tensor.
TensorSourcePtr make_gguf_source(const GgufTensor& tensor, std::vector<std::int64_t> shape,
                                 std::int64_t first_row, RowOrder order);

}  // namespace tessera
