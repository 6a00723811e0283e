// device_matrix.hpp — random matrices of every form and what multiplies them on a device.
#pragma once

#include <algorithm>
#include <deque>
#include <numeric>
#include <optional>
#include <string>
#include <vector>

#include "kernels/cuda/device.hpp"
#include "kernels/cuda/linear.hpp"
#include "kernels/cuda/linear_dense.hpp"
#include "kernels/cuda/packed_matrix.hpp"
#include "kernels/cuda/row_kernels.hpp"
#include "tests/kernels/random_model.hpp"

namespace tessera {

struct MatrixForm {
  const char* name;
  WeightForm form;
  int group = 64;  // 0: a whole row
  bool offsets = false;
  bool nested = false;
  bool order = false;
};
inline constexpr MatrixForm kMatrixForms[] = {
    {"Bf16", WeightForm::kBf16},
    {"Nf4Nested", WeightForm::kBook16, 64, false, true},
    {"Nf4Group128", WeightForm::kBook16, 128, false, true},
    {"Q4_1", WeightForm::kBook16, 32, true},
    {"Group16", WeightForm::kBook16, 16},
    {"GptqActOrder", WeightForm::kBook16, 128, true, false, true},
    {"Int8PerRow", WeightForm::kInt8, 0},
    {"Q8_0", WeightForm::kInt8, 32},
    {"Q6_K", WeightForm::kInt8, 16, true},
};

// Owns what its view points to.
class RandomMatrix {
 public:
  RandomMatrix(Random& random, const MatrixForm& form, int rows, int cols) {
    const std::size_t size = static_cast<std::size_t>(rows) * static_cast<std::size_t>(cols);
    matrix_.rows = rows;
    matrix_.cols = cols;
    matrix_.form = form.form;
    if (form.form == WeightForm::kBf16) {
      for (const float value : normal_values(random, size, 0.05F)) {
        halves_.push_back(float_to_bf16(value));
      }
      matrix_.bf16 = halves_.data();
      return;
    }
    matrix_.group = form.group == 0 ? cols : form.group;
    matrix_.book = kNf4Values;
    codes_.resize(form.form == WeightForm::kInt8 ? size : size / 2);
    for (std::uint8_t& code : codes_) code = static_cast<std::uint8_t>(uniform(random, 0, 255));
    matrix_.codes = codes_.data();
    add_scales(random, form, size / static_cast<std::size_t>(matrix_.group));
    if (!form.order) return;
    order_.resize(static_cast<std::size_t>(cols));
    std::iota(order_.begin(), order_.end(), 0);
    std::shuffle(order_.begin(), order_.end(), random);
    matrix_.order = order_.data();
  }
  RandomMatrix(const RandomMatrix&) = delete;
  RandomMatrix& operator=(const RandomMatrix&) = delete;

  const WeightMatrix& view() const { return matrix_; }

 private:
  void add_scales(Random& random, const MatrixForm& form, std::size_t count) {
    const float largest = form.form == WeightForm::kInt8 ? 127.0F : 1.0F;
    scales_ = normal_values(random, count, 0.05F / largest);
    offsets_ = normal_values(random, count, 0.05F);
    if (form.offsets) matrix_.offsets = offsets_.data();
    if (!form.nested) {
      matrix_.scales = scales_.data();
      return;
    }
    absmax_codes_.resize(count);
    for (std::uint8_t& code : absmax_codes_) {
      code = static_cast<std::uint8_t>(uniform(random, 0, 255));
    }
    absmax_scales_ = normal_values(random, (count + kAbsmaxBlock - 1) / kAbsmaxBlock, 0.01F);
    matrix_.absmax_codes = absmax_codes_.data();
    matrix_.absmax_scales = absmax_scales_.data();
    matrix_.absmax_offset = 0.03F;
  }

  WeightMatrix matrix_;
  std::vector<Bf16> halves_;
  std::vector<std::uint8_t> codes_;
  std::vector<float> scales_;
  std::vector<float> offsets_;
  std::vector<std::uint8_t> absmax_codes_;
  std::vector<float> absmax_scales_;
  std::vector<std::int32_t> order_;
};

// Multiplies rows by one matrix, through staging, as the backend does.
class DeviceMatrix {
 public:
  explicit DeviceMatrix(const WeightMatrix& matrix)
      : host_(pack_matrix(matrix)), map_(kDynamicMap.size()) {
    copy<float>(stream_, map_, kDynamicMap);
    packed_ = PackedOnDevice(host_, map_.data(), stream_);
    stream_.synchronize();
  }

  const PackedMatrix& view() const { return packed_.view(); }
  CudaStream& stream() { return stream_; }

  // x (rows, cols) to y (rows, matrix rows); launched for `capacity` rows, of which the rest must
  // stay as they are.
  std::vector<float> multiply(const std::vector<float>& x, int rows, int capacity,
                              LinearWidth width = LinearWidth::kChosen) {
    return run(x, rows, capacity, [&](const LinearGroup& group) {
      tessera::multiply(stream_, group, capacity, width);
    });
  }
  // The same by a library's GEMM.
  std::vector<float> multiply(const std::vector<float>& x, int rows, DenseLinear& dense) {
    return run(x, rows, rows,
               [&](const LinearGroup& group) { dense.multiply(stream_, group, rows); });
  }

 private:
  template <class Multiply>
  std::vector<float> run(const std::vector<float>& x, int rows, int capacity,
                         const Multiply& multiply_group) {
    const auto cols = static_cast<std::size_t>(view().cols);
    const auto outputs = static_cast<std::size_t>(view().rows);
    const auto most = static_cast<std::size_t>(capacity);
    DeviceBuffer<float> input(most * cols);
    DeviceBuffer<float> scales(most);
    DeviceBuffer<std::uint16_t> halves(most * cols);
    DeviceBuffer<float> sums(most * cols / 16);
    DeviceBuffer<float> y(most * outputs);
    DeviceBuffer<std::int32_t> num_rows(1);
    const std::int32_t count = rows;
    stream_.copy_to_device(num_rows.data(), &count, sizeof count);
    stream_.copy_to_device(input.data(), x.data(), x.size() * sizeof(float));
    stream_.fill(y.data(), 0xFF, y.bytes());
    const StagedRows staged{halves.data(), scales.data(), sums.data()};
    stage_rows(stream_, {num_rows.data(), input.data(), view().order, view().cols, staged},
               capacity);
    LinearGroup group;
    group.matrices[0] = view();
    group.x = staged;
    group.y = y.data();
    group.y_stride = view().rows;
    group.num_rows = num_rows.data();
    multiply_group(group);
    std::vector<float> result(y.size());
    stream_.copy_to_host(result.data(), y.data(), y.bytes());
    stream_.synchronize();
    return result;
  }

  PackedBuffers host_;
  CudaStream stream_;
  DeviceBuffer<float> map_;
  PackedOnDevice packed_;
};

}  // namespace tessera
