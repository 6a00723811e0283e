#include "engine/model/raw_tensors.hpp"

#include <cstring>

#include "adapters/f16.hpp"
#include "adapters/tensor_values.hpp"
#include "kernels/bf16.hpp"

namespace tessera {
namespace {

template <class T>
T element(const StoredTensor& tensor, std::int64_t index) {
  T value;
  std::memcpy(&value, tensor.bytes.data() + static_cast<std::size_t>(index) * sizeof value,
              sizeof value);
  return value;
}

Result<const StoredTensor*> need(const RawTensors& tensors, const std::string& name) {
  const StoredTensor* tensor = find_tensor(tensors, name);
  if (tensor == nullptr) return Error{Code::kCorrupt, "tensor " + name + " is missing"};
  return tensor;
}

}  // namespace

const StoredTensor* find_tensor(const RawTensors& tensors, std::string_view name) {
  const auto found = tensors.find(name);
  return found == tensors.end() ? nullptr : &found->second;
}

Result<const StoredTensor*> need_tensor(const RawTensors& tensors, const std::string& name,
                                        Dtype dtype, std::size_t rank) {
  auto tensor = need(tensors, name);
  if (!tensor) return tensor;
  if ((*tensor)->dtype != dtype || (*tensor)->shape.size() != rank) {
    return Error{Code::kCorrupt,
                 "tensor " + name + " is " + std::string(dtype_name((*tensor)->dtype)) + ' ' +
                     shape_text((*tensor)->shape) + ", not " + std::string(dtype_name(dtype)) +
                     " of " + std::to_string(rank) + " dimensions"};
  }
  return tensor;
}

Result<const StoredTensor*> need_floats(const RawTensors& tensors, const std::string& name,
                                        const std::vector<std::int64_t>& shape) {
  auto tensor = need(tensors, name);
  if (!tensor) return tensor;
  if (!is_adapter_dtype((*tensor)->dtype) || (*tensor)->shape != shape) {
    return Error{Code::kCorrupt,
                 "tensor " + name + " is " + std::string(dtype_name((*tensor)->dtype)) + ' ' +
                     shape_text((*tensor)->shape) + ", not F32, F16 or BF16 " + shape_text(shape)};
  }
  return tensor;
}

std::uint32_t word_at(const StoredTensor& tensor, std::int64_t index) {
  return element<std::uint32_t>(tensor, index);
}

float float_at(const StoredTensor& tensor, std::int64_t index) {
  if (tensor.dtype == Dtype::kF32) return element<float>(tensor, index);
  const auto bits = element<std::uint16_t>(tensor, index);
  return tensor.dtype == Dtype::kF16 ? f16_to_float(bits) : bf16_to_float(bits);
}

std::vector<std::int32_t> read_int32(const StoredTensor& tensor) {
  std::vector<std::int32_t> values(tensor.bytes.size() / sizeof(std::int32_t));
  if (!values.empty()) std::memcpy(values.data(), tensor.bytes.data(), tensor.bytes.size());
  return values;
}

Error misfit(const StoredTensor& tensor, const std::string& what) {
  return {Code::kCorrupt, "tensor " + tensor.name + " has shape " + shape_text(tensor.shape) +
                              ", which does not fit " + what};
}

}  // namespace tessera
