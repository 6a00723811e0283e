#include "adapters/tensor_values.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cassert>
#include <cmath>
#include <cstring>
#include <numeric>

#include "adapters/f16.hpp"
#include "kernels/bf16.hpp"

namespace tessera {
namespace {

// Calls visit(i, value) for each value. The bytes are not aligned, hence the copies.
template <class Stored, class Convert, class Visit>
void visit_as(std::span<const std::byte> bytes, Convert convert, Visit visit) {
  const std::size_t count = bytes.size() / sizeof(Stored);
  for (std::size_t i = 0; i < count; ++i) {
    Stored stored;
    std::memcpy(&stored, bytes.data() + i * sizeof stored, sizeof stored);
    visit(i, convert(stored));
  }
}

template <class Visit>
void visit_values(Dtype dtype, std::span<const std::byte> bytes, Visit visit) {
  assert(is_adapter_dtype(dtype));
  if (dtype == Dtype::kF32) {
    visit_as<float>(
        bytes, [](float value) { return value; }, visit);
  } else if (dtype == Dtype::kF16) {
    visit_as<std::uint16_t>(bytes, f16_to_float, visit);
  } else {
    visit_as<Bf16>(bytes, bf16_to_float, visit);
  }
}

}  // namespace

bool is_adapter_dtype(Dtype dtype) {
  return dtype == Dtype::kF32 || dtype == Dtype::kF16 || dtype == Dtype::kBf16;
}

std::vector<float> read_values(const StoredTensor& tensor) {
  std::vector<float> values(tensor.bytes.size() * 8 /
                            static_cast<std::size_t>(dtype_bits(tensor.dtype)));
  read_values_into(tensor.dtype, tensor.bytes, values);
  return values;
}

void read_values_into(Dtype dtype, std::span<const std::byte> bytes, std::span<float> values) {
  assert(bytes.size() * 8 == values.size() * static_cast<std::size_t>(dtype_bits(dtype)));
  visit_values(dtype, bytes, [&](std::size_t i, float value) { values[i] = value; });
}

// In lanes of their own, so that a vector unit takes them side by side.
ValueStats stats_of(std::span<const float> values) {
  constexpr std::size_t kLanes = 16;
  constexpr std::uint32_t kExponent = 0x7F800000U;  // all of it set: no number
  std::array<double, kLanes> squares{};
  std::array<float, kLanes> largest{};
  std::array<std::uint32_t, kLanes> not_finite{};
  const auto take = [&](std::size_t lane, float value) {
    const std::uint32_t bits = std::bit_cast<std::uint32_t>(value);
    const float magnitude = std::fabs(value);
    not_finite[lane] |= (bits & kExponent) == kExponent ? 1U : 0U;
    largest[lane] = magnitude > largest[lane] ? magnitude : largest[lane];  // a NaN is not
    squares[lane] += static_cast<double>(value) * static_cast<double>(value);
  };
  std::size_t i = 0;
  for (; i + kLanes <= values.size(); i += kLanes) {
    for (std::size_t lane = 0; lane < kLanes; ++lane) take(lane, values[i + lane]);
  }
  for (std::size_t lane = 0; i + lane < values.size(); ++lane) take(lane, values[i + lane]);
  return {.all_finite = std::ranges::count(not_finite, 0U) == kLanes,
          .max_magnitude = std::ranges::max(largest),
          .norm = std::sqrt(std::accumulate(squares.begin(), squares.end(), 0.0))};
}

bool holds_exactly(const StoredTensor& tensor, std::span<const std::uint16_t> bf16_values) {
  if (!is_adapter_dtype(tensor.dtype)) return false;
  const std::size_t count =
      tensor.bytes.size() * 8 / static_cast<std::size_t>(dtype_bits(tensor.dtype));
  if (count != bf16_values.size()) return false;
  bool is_equal = true;
  visit_values(tensor.dtype, tensor.bytes, [&](std::size_t i, float value) {
    is_equal &= value == bf16_to_float(bf16_values[i]);
  });
  return is_equal;
}

}  // namespace tessera
