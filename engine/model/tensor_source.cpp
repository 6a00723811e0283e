#include "engine/model/tensor_source.hpp"

#include <cassert>

#include "adapters/tensor_values.hpp"

namespace tessera {
namespace {

class PlainSource : public TensorSource {
 public:
  PlainSource(std::vector<std::int64_t> shape, Dtype dtype, std::span<const std::byte> bytes)
      : TensorSource(std::move(shape), {bytes}), dtype_(dtype), bytes_(bytes) {}

  std::string form() const override { return std::string(dtype_name(dtype_)); }
  bool is_quantised() const override { return false; }

  Result<void> read(std::int64_t row, std::span<float> values) const override {
    if (!is_adapter_dtype(dtype_)) {
      return Error{Code::kUnsupportedModel,
                   "it is " + form() + "; F32, F16 and BF16 are supported"};
    }
    const std::size_t size = static_cast<std::size_t>(dtype_bits(dtype_)) / 8;
    const std::size_t first = static_cast<std::size_t>(row * cols()) * size;
    read_values_into(dtype_, bytes_.subspan(first, values.size() * size), values);
    return {};
  }

 private:
  Dtype dtype_;
  std::span<const std::byte> bytes_;
};

}  // namespace

TensorSource::TensorSource(std::vector<std::int64_t> shape,
                           std::vector<std::span<const std::byte>> stored)
    : shape_(std::move(shape)), stored_(std::move(stored)) {
  if (!shape_.empty()) cols_ = shape_.back();
  for (std::size_t i = 0; i + 1 < shape_.size(); ++i) rows_ *= shape_[i];
}

std::size_t TensorSource::stored_bytes() const {
  std::size_t bytes = 0;
  for (const auto part : stored_) bytes += part.size();
  return bytes;
}

std::optional<WeightBuffers> TensorSource::take(std::int64_t, int) const {
  return std::nullopt;
}

void read_taken(const TensorSource& source, std::int64_t row, std::span<float> values) {
  const auto rows = static_cast<int>(values.size() / static_cast<std::size_t>(source.cols()));
  const auto taken = source.take(row, rows);
  assert(taken);
  dequantize(taken->view(), values);
}

TensorSourcePtr make_plain_source(const StoredTensor& tensor) {
  return make_plain_source(tensor.shape, tensor.dtype, tensor.bytes);
}

TensorSourcePtr make_plain_source(std::vector<std::int64_t> shape, Dtype dtype,
                                  std::span<const std::byte> bytes) {
  return std::make_unique<PlainSource>(std::move(shape), dtype, bytes);
}

}  // namespace tessera
