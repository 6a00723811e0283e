// reference_math.hpp — the formulas of a decoder layer on single rows, as plain loops.
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
void scale_by(Row y, float factor);

// y = x / sqrt(mean(x^2) + eps) * weight; y may be x.
void rms_norm(ConstRow x, const float* weight, float eps, Row y);

// The same of every `width` elements by themselves, in place; they share the weights (width,).
void rms_norm_each(Row x, std::size_t width, const float* weight, float eps);

// Rotates the pairs (x[i], x[i + n]) of every head by the angle position * inv_freq[i], where n is
// the number of frequencies; what is beyond the first 2n elements of a head stays. Cosines and
// sines are multiplied by `scale`.
void rotate(Row x, int head_dim, int position, std::span<const float> inv_freq, float scale);

float silu(float x);
float gelu_tanh(float x);  // x/2 * (1 + tanh(sqrt(2/pi) * (x + 0.044715 x^3)))

// gate = act(gate) * up
void apply_gate(Activation activation, Row gate, ConstRow up);

// cap * tanh(x / cap), or x if cap is 0.
float soft_cap(float x, float cap);

void softmax(Row scores);

// An expert that a token is sent to, and its share in the sum.
struct Route {
  int expert;
  float weight;
};

// Softmax over the logits of all experts, of which the largest routes.size() are kept, the lower
// expert among equals, and scaled to a sum of 1 if so said. In ascending order of the expert.
// `logits` is overwritten.
void choose_experts(Row logits, bool normalise, std::span<Route> routes);

// An element of memory that is of that type; of kInt8, the integer.
float element(const std::byte* data, PageType type, std::size_t index);

// One adapter's module: A and B looked up by the page layout of lora.hpp, the scales of 8 bits in
// B.
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
