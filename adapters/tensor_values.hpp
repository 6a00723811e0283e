// tensor_values.hpp — a stored tensor's numbers, as fp32, and what a validator asks of them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "adapters/safetensors.hpp"

namespace tessera {

// F32, F16 and BF16: what adapters may be stored in.
bool is_adapter_dtype(Dtype dtype);

// The tensor's values in fp32, all exactly. Its dtype must be one of the above.
std::vector<float> read_values(const StoredTensor& tensor);

// The same of `bytes` in one of those dtypes into `values`, one for each.
void read_values_into(Dtype dtype, std::span<const std::byte> bytes, std::span<float> values);

struct ValueStats {
  bool all_finite = true;
  float max_magnitude = 0.0F;
  double norm = 0.0;  // Frobenius
};

ValueStats stats_of(std::span<const float> values);

// Whether the tensor is `values`, number for number. Reads it without a copy.
bool holds_exactly(const StoredTensor& tensor, std::span<const std::uint16_t> bf16_values);

}  // namespace tessera
