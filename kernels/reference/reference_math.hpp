// reference_math.hpp — the formulas of a Llama layer on single rows, as plain loops.
//
// Activations are fp32; sums are accumulated in fp64 in ascending order.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "kernels/lora.hpp"

namespace tessera::reference {

using Row = std::span<float>;
using ConstRow = std::span<const float>;

double dot(ConstRow a, ConstRow b);

// y[n] = sum_k w[n][k] * x[k]
void multiply(std::span<const float> weights, ConstRow x, Row y);

void add_to(Row y, ConstRow x);

// y = x / sqrt(mean(x^2) + eps) * weight
void rms_norm(ConstRow x, const float* weight, float eps, Row y);

// Rotates the pairs (x[i], x[i + dim / 2]) of every head by position * theta^(-2i / dim).
void rotate(Row x, int head_dim, int position, float theta);

float silu(float x);

void softmax(Row scores);

// One adapter's module: A and B looked up by the page layout of lora.hpp.
class LoraWeights {
 public:
  LoraWeights(const LoraModule& module, PageType type, int in_features, int out_features);

  float a(std::size_t rank, std::size_t k) const;
  float b(std::size_t n, std::size_t rank) const;

  void shrink(ConstRow x, std::span<float> z) const;   // z = A x, z (rank,)
  void expand(std::span<const float> z, Row y) const;  // y += B z

 private:
  const LoraModule& module_;
  PageType type_;
  std::size_t in_;
  std::size_t out_;
};

}  // namespace tessera::reference
