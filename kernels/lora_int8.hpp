// lora_int8.hpp — an adapter's pages in eight bits, and what that costs.
//
// Each rank of A, and each rank of B, is divided by a 127th of its largest magnitude and rounded to
// nearest, ties to even: as many numbers to a scale as a module has features. Smaller groups would
// halve the error where a few features stand out, but their scales could not be moved out of the
// products: so a rank's two scales are one number beside it (lora.hpp), and a step reads half the
// bytes of bf16 and nothing else. The error is measured pair by pair and told, so that whoever
// packs can refuse it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "kernels/lora.hpp"
#include "kernels/model_spec.hpp"

namespace tessera {

// How far products with pages of 8 bits are from those with the pages they were made of: sums of
// squares, which may be added up over the modules of an adapter.
struct PageError {
  double error = 0.0;  // |B A x - (the same of 8 bits)|^2
  double whole = 0.0;  // |B A x|^2

  // Root mean square of the error as a fraction of what it is an error of; 0 where nothing is.
  double relative() const;
  PageError& operator+=(const PageError& other);
};

// Makes a module's pages of 8 bits from its pages of fp32 (module.a, module.b; the rest is left
// alone). `a` and `b` have as many elements as those, `scales` pages * 8. A rank with an element
// that is not finite becomes a rank of NaNs. Returns the error over a few random x, always the
// same.
//
// On one core of Zen 5, about 3.5 ns for each element of the two.
PageError quantise_pages(const LoraModule& module, LinearShape shape, std::span<std::int8_t> a,
                         std::span<std::int8_t> b, std::span<float> scales);

}  // namespace tessera
