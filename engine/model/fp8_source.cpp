#include "engine/model/fp8_source.hpp"

#include <array>
#include <cmath>
#include <limits>
#include <utility>

namespace tessera {
namespace {

constexpr std::int64_t kDimensionMax = std::int64_t{1} << 24;

std::array<float, 256> make_table() {
  std::array<float, 256> table;
  for (std::size_t i = 0; i < table.size(); ++i) {
    table[i] = e4m3_to_float(static_cast<std::uint8_t>(i));
  }
  return table;
}

// How many rows and columns of the matrix share each scale.
struct Grid {
  std::int64_t rows;
  std::int64_t cols;
};

class Fp8Source : public TensorSource {
 public:
  Fp8Source(const StoredTensor& codes, const StoredTensor& scales, const Grid& grid)
      : TensorSource(codes.shape, {codes.bytes, scales.bytes}),
        codes_(codes),
        scales_(scales),
        grid_(grid) {}

  std::string form() const override { return "FP8"; }
  bool is_quantised() const override { return true; }

  Result<void> read(std::int64_t row, std::span<float> values) const override {
    static const std::array<float, 256> table = make_table();
    const std::int64_t across = (cols() + grid_.cols - 1) / grid_.cols;
    const auto first = static_cast<std::size_t>(row * cols());
    for (std::size_t i = 0; i < values.size(); ++i) {
      const std::int64_t at = static_cast<std::int64_t>(first + i);
      const std::int64_t scale = at / cols() / grid_.rows * across + at % cols() / grid_.cols;
      values[i] =
          table[std::to_integer<std::size_t>(codes_.bytes[first + i])] * float_at(scales_, scale);
    }
    return {};
  }

 private:
  StoredTensor codes_;
  StoredTensor scales_;
  Grid grid_;
};

// What the scales' shape means, or an Error.
Result<Grid> find_grid(const StoredTensor& codes, const StoredTensor& scales,
                       const Fp8Blocks& blocks) {
  const std::int64_t rows = codes.shape[0];
  const std::int64_t cols = codes.shape[1];
  using Shape = std::vector<std::int64_t>;
  const Shape& shape = scales.shape;
  if (shape.empty() || shape == Shape{1} || shape == Shape{1, 1}) return Grid{rows, cols};
  if (shape == Shape{rows} || shape == Shape{rows, 1}) return Grid{1, cols};
  const Shape blocked = {(rows + blocks.rows - 1) / blocks.rows,
                         (cols + blocks.cols - 1) / blocks.cols};
  if (shape == blocked) return Grid{blocks.rows, blocks.cols};
  return misfit(scales, "the weight's " + shape_text(codes.shape));
}

}  // namespace

float e4m3_to_float(std::uint8_t code) {
  const int exponent = code >> 3U & 15;
  const int mantissa = code & 7;
  float magnitude = std::ldexp(static_cast<float>(exponent == 0 ? mantissa : 8 + mantissa),
                               (exponent == 0 ? 1 : exponent) - 10);
  if ((code & 0x7FU) == 0x7FU) magnitude = std::numeric_limits<float>::quiet_NaN();
  return (code & 0x80U) != 0 ? -magnitude : magnitude;
}

Result<TensorSourcePtr> make_fp8_source(const RawTensors& tensors, const std::string& module,
                                        const Fp8Blocks& blocks) {
  auto codes = need_tensor(tensors, module + ".weight", Dtype::kF8E4M3, 2);
  if (!codes) return codes.error();
  const auto& shape = (*codes)->shape;
  if (shape[0] < 1 || shape[1] < 1 || shape[0] > kDimensionMax || shape[1] > kDimensionMax) {
    return misfit(**codes, "a matrix");
  }
  std::string name = module + ".weight_scale_inv";
  if (find_tensor(tensors, name) == nullptr) name = module + ".weight_scale";
  const StoredTensor* found = find_tensor(tensors, name);
  auto scales =
      need_floats(tensors, name, found == nullptr ? std::vector<std::int64_t>{} : found->shape);
  if (!scales) return scales.error();
  auto grid = find_grid(**codes, **scales, blocks);
  if (!grid) return grid.error();
  return TensorSourcePtr(std::make_unique<Fp8Source>(**codes, **scales, *grid));
}

}  // namespace tessera
