// tensor_source.hpp — one tensor of a checkpoint, whatever it is kept in: the seam between the
// formats that models come in and the packed file.
//
// A source has rows and columns as Hugging Face's tensor of the same name has (leading dimensions
// count as rows) and gives any of its rows either as fp32 values or, if it is kept quantised in a
// way that WeightMatrix knows, as such a matrix with every code unchanged. What the factories of
// the formats hand out has been checked: shapes fit, bytes are there. Sources point into mapped
// files (ModelSource owns both). Immutable and thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "adapters/safetensors.hpp"
#include "kernels/weight_buffers.hpp"
#include "storage/result.hpp"

namespace tessera {

class TensorSource {
 public:
  // shape: Hugging Face's. stored: where its bytes lie.
  TensorSource(std::vector<std::int64_t> shape, std::vector<std::span<const std::byte>> stored);
  virtual ~TensorSource() = default;
  TensorSource(const TensorSource&) = delete;
  TensorSource& operator=(const TensorSource&) = delete;

  const std::vector<std::int64_t>& shape() const { return shape_; }
  std::int64_t rows() const { return rows_; }
  std::int64_t cols() const { return cols_; }
  const std::vector<std::span<const std::byte>>& stored() const { return stored_; }
  std::size_t stored_bytes() const;

  // What it is kept in, in the format's own words: "BF16", "GPTQ 4-bit", "Q4_K".
  virtual std::string form() const = 0;
  virtual bool is_quantised() const = 0;

  // The values of rows [row, row + n): (n, cols), n as `values` is long.
  // Errors: kUnsupportedModel if it holds no weights (indices, say).
  virtual Result<void> read(std::int64_t row, std::span<float> values) const = 0;

  // The same rows with their codes unchanged; nothing if WeightMatrix has no such form. The answer
  // is the same for all rows.
  virtual std::optional<WeightBuffers> take(std::int64_t row, int rows) const;

 private:
  std::vector<std::int64_t> shape_;
  std::vector<std::span<const std::byte>> stored_;
  std::int64_t rows_ = 1;
  std::int64_t cols_ = 1;
};

using TensorSourcePtr = std::unique_ptr<TensorSource>;

// read() for sources that can always take().
void read_taken(const TensorSource& source, std::int64_t row, std::span<float> values);

// A tensor of plain numbers: F32, F16 and BF16 can be read.
TensorSourcePtr make_plain_source(const StoredTensor& tensor);

// The same of bytes that are in no safetensors file.
TensorSourcePtr make_plain_source(std::vector<std::int64_t> shape, Dtype dtype,
                                  std::span<const std::byte> bytes);

}  // namespace tessera
