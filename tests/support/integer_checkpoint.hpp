// integer_checkpoint.hpp — GPTQ and AWQ modules by rounding to nearest, for tests and benches.
//
// The layouts are told in engine/model/integer_sources.hpp. No calibration: what GPTQ and AWQ gain
// by it is theirs, so the errors here are an upper bound of theirs.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace tessera::testing_integers {

struct Module {
  std::vector<std::int32_t> qweight;
  std::vector<std::int32_t> qzeros;
  std::vector<std::uint16_t> scales;  // F16 (groups, out)
  std::int64_t groups = 0;
};

// `weights` (rows, cols), 4-bit codes with zero points; `group` divides cols, 8 divides both.
Module quantize_gptq(std::span<const float> weights, int rows, int cols, int group);
Module quantize_awq(std::span<const float> weights, int rows, int cols, int group);

}  // namespace tessera::testing_integers
