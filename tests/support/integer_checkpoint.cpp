#include "tests/support/integer_checkpoint.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>

#include "adapters/f16.hpp"
#include "tests/support/gguf_writer.hpp"

namespace tessera::testing_integers {
namespace {

// Codes (rows, cols) and zero points (rows, groups), one a byte.
struct Rounded {
  std::vector<std::uint8_t> codes;
  std::vector<std::uint8_t> zeros;
  std::vector<std::uint16_t> scales;  // (rows, groups)
};

void round_group(std::span<const float> values, std::span<std::uint8_t> codes, Rounded& out) {
  const float low = std::min(*std::ranges::min_element(values), 0.0F);
  const float high = std::max(*std::ranges::max_element(values), 0.0F);
  const std::uint16_t half = testing_gguf::float_to_f16(std::max((high - low) / 15.0F, 1e-6F));
  const float scale = f16_to_float(half);
  const float zero = std::clamp(std::nearbyint(-low / scale), 1.0F, 15.0F);  // 0: see gptq_source
  for (std::size_t i = 0; i < values.size(); ++i) {
    const float code = std::clamp(std::nearbyint(values[i] / scale) + zero, 0.0F, 15.0F);
    codes[i] = static_cast<std::uint8_t>(code);
  }
  out.zeros.push_back(static_cast<std::uint8_t>(zero));
  out.scales.push_back(half);
}

Rounded round_to_nearest(std::span<const float> weights, int group) {
  Rounded out;
  out.codes.resize(weights.size());
  const auto width = static_cast<std::size_t>(group);
  for (std::size_t at = 0; at < weights.size(); at += width) {
    round_group(weights.subspan(at, width), std::span(out.codes).subspan(at, width), out);
  }
  return out;
}

std::int32_t as_word(std::uint32_t bits) {
  return static_cast<std::int32_t>(bits);
}

std::vector<std::uint16_t> transposed(const std::vector<std::uint16_t>& scales, std::size_t rows) {
  const std::size_t groups = scales.size() / rows;
  std::vector<std::uint16_t> out(scales.size());
  for (std::size_t n = 0; n < rows; ++n) {
    for (std::size_t g = 0; g < groups; ++g) out[g * rows + n] = scales[n * groups + g];
  }
  return out;
}

}  // namespace

Module quantize_gptq(std::span<const float> weights, int rows, int cols, int group) {
  const Rounded rounded = round_to_nearest(weights, group);
  const auto out = static_cast<std::size_t>(rows);
  const auto in = static_cast<std::size_t>(cols);
  const auto groups = static_cast<std::size_t>(cols / group);
  Module module{.qweight = {},
                .qzeros = {},
                .scales = transposed(rounded.scales, out),
                .groups = cols / group};
  for (std::size_t k = 0; k < in; k += 8) {
    for (std::size_t n = 0; n < out; ++n) {
      std::uint32_t word = 0;
      for (std::size_t j = 0; j < 8; ++j) {
        word |= static_cast<std::uint32_t>(rounded.codes[n * in + k + j]) << 4 * j;
      }
      module.qweight.push_back(as_word(word));
    }
  }
  for (std::size_t g = 0; g < groups; ++g) {
    for (std::size_t n = 0; n < out; n += 8) {
      std::uint32_t word = 0;
      for (std::size_t j = 0; j < 8; ++j) {
        word |= static_cast<std::uint32_t>(rounded.zeros[(n + j) * groups + g]) << 4 * j;
      }
      module.qzeros.push_back(as_word(word - 0x11111111U));
    }
  }
  return module;
}

Module quantize_awq(std::span<const float> weights, int rows, int cols, int group) {
  constexpr std::array<std::size_t, 8> kOrder = {0, 2, 4, 6, 1, 3, 5, 7};
  const Rounded rounded = round_to_nearest(weights, group);
  const auto out = static_cast<std::size_t>(rows);
  const auto in = static_cast<std::size_t>(cols);
  const auto groups = static_cast<std::size_t>(cols / group);
  Module module{.qweight = {},
                .qzeros = {},
                .scales = transposed(rounded.scales, out),
                .groups = cols / group};
  const auto pack = [&](const std::vector<std::uint8_t>& from, std::size_t stride, std::size_t at,
                        std::vector<std::int32_t>& to) {
    for (std::size_t n = 0; n < out; n += 8) {
      std::uint32_t word = 0;
      for (std::size_t j = 0; j < 8; ++j) {
        word |= static_cast<std::uint32_t>(from[(n + kOrder[j]) * stride + at]) << 4 * j;
      }
      to.push_back(as_word(word));
    }
  };
  for (std::size_t k = 0; k < in; ++k) pack(rounded.codes, in, k, module.qweight);
  for (std::size_t g = 0; g < groups; ++g) pack(rounded.zeros, groups, g, module.qzeros);
  return module;
}

}  // namespace tessera::testing_integers
