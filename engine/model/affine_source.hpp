// affine_source.hpp — what GPTQ, AWQ and compressed-tensors have in common: integer codes of 4 or 8
// bits, and a scale and a zero point for each group of a row's columns.
//
//   w[n][k] = (code[n][k] - zero[n][g(k)]) * scale[n][g(k)]
//
// A derived class knows how its format packs the three; taking them as a WeightMatrix is the same
// for all: where every zero point is the middle of the range, codes are signed and there are no
// offsets; elsewhere offset = -zero * scale. In fp32 both are exact for the fp16 scales that such
// checkpoints have.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/model/tensor_source.hpp"

namespace tessera {

class AffineSource : public TensorSource {
 public:
  bool is_quantised() const override { return true; }
  std::string form() const override;
  Result<void> read(std::int64_t row, std::span<float> values) const override;
  std::optional<WeightBuffers> take(std::int64_t row, int rows) const override;

 protected:
  struct Layout {
    std::string name = {};  // "GPTQ"
    int rows = 0;
    int cols = 0;
    int bits = 4;
    int groups = 1;                           // of a row
    std::vector<std::int32_t> group_of = {};  // of each column; empty: groups lie side by side
  };

  AffineSource(Layout layout, std::vector<std::span<const std::byte>> stored);

  // To be called once by the derived class's factory, when the three below can be called: finds out
  // whether all zero points are the middle one. Errors: kCorrupt if a group is none.
  Result<void> prepare();

  // Codes of rows [row, row + rows), one a byte: (rows, cols).
  virtual void unpack(int row, int rows, std::span<std::uint8_t> codes) const = 0;
  virtual float scale(int row, int group) const = 0;
  virtual int zero(int row, int group) const = 0;

  const Layout& layout() const { return layout_; }

 private:
  int middle() const { return 1 << (layout_.bits - 1); }
  int group_at(int column) const;
  void take_order();
  void append_row(int row, std::span<const std::uint8_t> codes, WeightBuffers& out) const;

  Layout layout_;
  int group_ = 0;  // columns of each; 0: they differ, or no WeightMatrix has them
  bool symmetric_ = true;
  std::vector<std::int32_t> order_;  // of columns by their groups; empty: as they are
};

}  // namespace tessera
