#include "adapters/tensor_values.hpp"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <cstring>

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

ValueStats stats_of(std::span<const float> values) {
  ValueStats stats;
  double sum_of_squares = 0.0;
  for (const float value : values) {
    stats.all_finite &= std::isfinite(value);
    stats.max_magnitude = std::max(stats.max_magnitude, std::fabs(value));
    sum_of_squares += static_cast<double>(value) * static_cast<double>(value);
  }
  stats.norm = std::sqrt(sum_of_squares);
  return stats;
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
