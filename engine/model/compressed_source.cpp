// compressed_source.cpp — compressed-tensors' integer modules (integer_sources.hpp).
#include <optional>
#include <utility>

#include "engine/model/affine_source.hpp"
#include "engine/model/integer_sources.hpp"

namespace tessera {
namespace {

constexpr int kWordBits = 32;
constexpr std::int64_t kDimensionMax = std::int64_t{1} << 24;

struct Module {
  StoredTensor codes = {};                 // words (out, in * bits / 32), or I8 (out, in)
  StoredTensor scales = {};                // (out, groups)
  std::optional<StoredTensor> zeros = {};  // words (out * bits / 32, groups)
  bool packed = false;
};

class CompressedSource : public AffineSource {
 public:
  static Result<TensorSourcePtr> make(Layout layout, const Module& module) {
    std::unique_ptr<CompressedSource> source(new CompressedSource(std::move(layout), module));
    if (auto prepared = source->prepare(); !prepared) {
      return Error{Code::kCorrupt, module.codes.name + ": " + prepared.error().message};
    }
    return TensorSourcePtr(std::move(source));
  }

 private:
  CompressedSource(Layout layout, const Module& module)
      : AffineSource(std::move(layout), {module.codes.bytes, module.scales.bytes}),
        module_(module),
        in_word_(kWordBits / this->layout().bits),
        mask_((1U << static_cast<unsigned>(this->layout().bits)) - 1U) {}

  void unpack(int row, int rows, std::span<std::uint8_t> codes) const override {
    const auto first = static_cast<std::size_t>(row) * static_cast<std::size_t>(layout().cols);
    if (!module_.packed) {
      for (std::size_t i = 0; i < codes.size(); ++i) {
        codes[i] = std::to_integer<std::uint8_t>(module_.codes.bytes[first + i]) ^ 0x80U;
      }
      return;
    }
    const std::int64_t words = module_.codes.shape[1];
    std::size_t at = 0;
    for (int n = row; n < row + rows; ++n) {
      for (int k = 0; k < layout().cols; ++k, ++at) {
        const std::uint32_t word = word_at(module_.codes, n * words + k / in_word_);
        codes[at] = static_cast<std::uint8_t>(word >> shift(k) & mask_);
      }
    }
  }

  float scale(int row, int group) const override {
    return float_at(module_.scales, std::int64_t{row} * layout().groups + group);
  }

  int zero(int row, int group) const override {
    if (!module_.zeros) return 1 << (layout().bits - 1);
    const std::int64_t at = std::int64_t{row / in_word_} * layout().groups + group;
    return static_cast<int>(word_at(*module_.zeros, at) >> shift(row) & mask_);
  }

  unsigned shift(int index) const {
    return static_cast<unsigned>(index % in_word_ * layout().bits);
  }

  Module module_;
  int in_word_;
  unsigned mask_;
};

// (out, groups), from the scales.
Result<const StoredTensor*> find_scales(const RawTensors& tensors, const std::string& name) {
  const StoredTensor* found = find_tensor(tensors, name);
  auto scales =
      need_floats(tensors, name, found == nullptr ? std::vector<std::int64_t>{} : found->shape);
  if (!scales) return scales;
  const auto& shape = (*scales)->shape;
  if (shape.size() != 2 || shape[0] < 1 || shape[1] < 1 || shape[0] > kDimensionMax ||
      shape[1] > kDimensionMax) {
    return misfit(**scales, "a quantised module");
  }
  return scales;
}

// The number of inputs, which weight_shape alone knows for certain.
Result<std::int64_t> inputs_of(const RawTensors& tensors, const std::string& module) {
  const auto name = module + ".weight_shape";
  const StoredTensor* shape = find_tensor(tensors, name);
  const bool wide = shape != nullptr && shape->dtype == Dtype::kI64;
  auto found = need_tensor(tensors, name, wide ? Dtype::kI64 : Dtype::kI32, 1);
  if (!found) return found.error();
  if ((*found)->shape[0] != 2) return misfit(**found, "a matrix");
  const std::int64_t cols = word_at(**found, wide ? 2 : 1);  // little-endian: the low half
  if (cols < 1 || cols > kDimensionMax) {
    return Error{Code::kCorrupt, "tensor " + name + " tells of an impossible number of inputs"};
  }
  return cols;
}

Result<std::vector<std::int32_t>> find_groups(const RawTensors& tensors, const std::string& name,
                                              std::int64_t cols) {
  if (find_tensor(tensors, name) == nullptr) return std::vector<std::int32_t>{};
  auto tensor = need_tensor(tensors, name, Dtype::kI32, 1);
  if (!tensor) return tensor.error();
  if ((*tensor)->shape[0] != cols) return misfit(**tensor, "the module's inputs");
  return read_int32(**tensor);
}

}  // namespace

Result<TensorSourcePtr> make_packed_source(const RawTensors& tensors, const std::string& module) {
  auto codes = need_tensor(tensors, module + ".weight_packed", Dtype::kI32, 2);
  if (!codes) return codes.error();
  auto scales = find_scales(tensors, module + ".weight_scale");
  if (!scales) return scales.error();
  auto cols = inputs_of(tensors, module);
  if (!cols) return cols.error();
  const std::int64_t rows = (*scales)->shape[0];
  const std::int64_t groups = (*scales)->shape[1];
  const auto& shape = (*codes)->shape;
  const std::int64_t bits = shape[1] <= kDimensionMax ? shape[1] * kWordBits / *cols : 0;
  if (bits != 4 && bits != 8) {
    return Error{Code::kUnsupportedModel, "tensor " + (*codes)->name + " is of " +
                                              std::to_string(bits) +
                                              "-bit codes; 4 and 8 bits are supported"};
  }
  if (shape[0] != rows || shape[1] * kWordBits != *cols * bits) {
    return misfit(**codes, "weight_shape and weight_scale");
  }
  Module found{.codes = **codes, .scales = **scales, .packed = true};
  if (find_tensor(tensors, module + ".weight_zero_point") != nullptr) {
    auto zeros = need_tensor(tensors, module + ".weight_zero_point", Dtype::kI32, 2);
    if (!zeros) return zeros.error();
    const std::int64_t words = (rows * bits + kWordBits - 1) / kWordBits;
    if ((*zeros)->shape != std::vector<std::int64_t>{words, groups}) {
      return misfit(**zeros, "weight_scale");
    }
    found.zeros = **zeros;
  }
  auto group_of = find_groups(tensors, module + ".weight_g_idx", *cols);
  if (!group_of) return group_of.error();
  return CompressedSource::make({.name = "compressed-tensors",
                                 .rows = static_cast<int>(rows),
                                 .cols = static_cast<int>(*cols),
                                 .bits = static_cast<int>(bits),
                                 .groups = static_cast<int>(groups),
                                 .group_of = std::move(*group_of)},
                                found);
}

Result<TensorSourcePtr> make_int8_source(const RawTensors& tensors, const std::string& module) {
  auto codes = need_tensor(tensors, module + ".weight", Dtype::kI8, 2);
  if (!codes) return codes.error();
  auto scales = find_scales(tensors, module + ".weight_scale");
  if (!scales) return scales.error();
  if (find_tensor(tensors, module + ".weight_zero_point") != nullptr) {
    return Error{Code::kUnsupportedModel,
                 "tensor " + module +
                     ".weight_zero_point: int8 weights with zero points are not "
                     "supported"};
  }
  const auto& shape = (*codes)->shape;
  if (shape[0] != (*scales)->shape[0] || shape[1] < 1 || shape[1] > kDimensionMax) {
    return misfit(**codes, "weight_scale");
  }
  return CompressedSource::make({.name = "compressed-tensors",
                                 .rows = static_cast<int>(shape[0]),
                                 .cols = static_cast<int>(shape[1]),
                                 .bits = 8,
                                 .groups = static_cast<int>((*scales)->shape[1])},
                                {.codes = **codes, .scales = **scales});
}

}  // namespace tessera
