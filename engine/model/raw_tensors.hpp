// raw_tensors.hpp — the tensors of a safetensors checkpoint as they are stored, and how the formats
// of quantised checkpoints read them: every dtype and shape is asked for before it is used.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "adapters/safetensors.hpp"
#include "storage/result.hpp"

namespace tessera {

using RawTensors = std::map<std::string, StoredTensor, std::less<>>;

// The tensor of that name, or null.
const StoredTensor* find_tensor(const RawTensors& tensors, std::string_view name);

// Errors: kCorrupt naming the tensor, if it is missing, or of another dtype or rank.
Result<const StoredTensor*> need_tensor(const RawTensors& tensors, const std::string& name,
                                        Dtype dtype, std::size_t rank);

// A tensor of that shape in F32, F16 or BF16. Errors: kCorrupt naming it.
Result<const StoredTensor*> need_floats(const RawTensors& tensors, const std::string& name,
                                        const std::vector<std::int64_t>& shape);

// Element `index` of a tensor of 32-bit integers, or of one of F32, F16, BF16.
std::uint32_t word_at(const StoredTensor& tensor, std::int64_t index);
float float_at(const StoredTensor& tensor, std::int64_t index);

// All of an I32 tensor's values.
std::vector<std::int32_t> read_int32(const StoredTensor& tensor);

// "tensor NAME has shape [2, 3], which does not fit WHAT"
Error misfit(const StoredTensor& tensor, const std::string& what);

}  // namespace tessera
