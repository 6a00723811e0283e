// linear_lora_test.cpp — a linear with what adapters add to it in one launch has the bits of both
// launches, whatever the weights' form, the adapters and the order of threads and blocks.
#include "kernels/cuda/linear_lora.hpp"

#include <cmath>
#include <deque>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/kernels/cuda/device_matrix.hpp"
#include "tests/kernels/cuda/lora_case.hpp"

namespace tessera {
namespace {

enum class Launches { kApart, kInOne };

// Three matrices that read the x of a case, their outputs one behind the other.
class Linears {
 public:
  Linears(Random& random, const MatrixForm& form, const LoraCase& drawn, LoraOnDevice& adapters)
      : rows_(drawn.num_rows()), stream_(adapters.stream()), work_(adapters.work()), map_(256) {
    const auto in = static_cast<std::size_t>(drawn.shapes.in_features);
    copy<float>(stream_, map_, kDynamicMap);
    modules_.count = 3;
    modules_.in_features = drawn.shapes.in_features;
    for (int i = 0; i < 3; ++i) {
      const int out = drawn.shapes.out_features[i];
      const RandomMatrix matrix(random, form, out, drawn.shapes.in_features);
      const PackedBuffers packed = pack_matrix(matrix.view());
      matrices_.emplace_back(packed, map_.data(), stream_);
      stream_.synchronize();
      modules_.out_features[i] = out;
      modules_.y_stride += out;
    }
    x_ = to_device(stream_, drawn.x);
    modules_.x = x_.data();
    halves_ = DeviceBuffer<std::uint16_t>(static_cast<std::size_t>(rows_) * in);
    scales_ = DeviceBuffer<float>(static_cast<std::size_t>(rows_));
    sums_ = DeviceBuffer<float>(static_cast<std::size_t>(rows_) * in / 16);
  }

  // (rows, outputs of all), launched for `capacity` rows; matrices of one order go together.
  std::vector<float> run(Launches launches, int capacity) {
    y_ = poisoned<float>(stream_, static_cast<std::size_t>(rows_ * modules_.y_stride));
    int columns = 0;
    for (int i = 0; i < 3; ++i) {
      modules_.y[i] = y_.data() + columns;
      columns += modules_.out_features[i];
    }
    if (launches == Launches::kInOne) shrink_lora(stream_, work_, modules_, rows_);
    const bool have_order = matrices_[0].view().order != nullptr;
    for (int i = 0; i < 3; i += have_order ? 1 : 3) {
      const LinearGroup group = group_of(i, have_order ? 1 : 3);
      if (launches == Launches::kInOne) {
        multiply_with_lora(stream_, group, {work_, modules_, i}, capacity);
      } else {
        multiply(stream_, group, capacity);
      }
    }
    if (launches == Launches::kApart) apply_lora(stream_, work_, modules_, rows_);
    return to_host(stream_, y_);
  }

 private:
  LinearGroup group_of(int first, int count) {
    LinearGroup group;
    group.count = count;
    for (int i = 0; i < count; ++i) {
      group.matrices[i] = matrices_[static_cast<std::size_t>(first + i)].view();
    }
    group.x = {halves_.data(), scales_.data(), sums_.data()};
    group.y = modules_.y[first];
    group.y_stride = modules_.y_stride;
    group.num_rows = &work_.step.counts->rows;
    stage_rows(stream_,
               {group.num_rows, x_.data(), group.matrices[0].order, modules_.in_features, group.x},
               rows_);
    return group;
  }

  int rows_;
  CudaStream& stream_;
  const LoraWork& work_;
  LoraModules modules_;
  DeviceBuffer<float> map_;
  std::deque<PackedOnDevice> matrices_;
  DeviceBuffer<float> x_;
  DeviceBuffer<std::uint16_t> halves_;
  DeviceBuffer<float> scales_;
  DeviceBuffer<float> sums_;
  DeviceBuffer<float> y_;
};

class LinearWithLora : public testing::Test {
 protected:
  void SetUp() override {
    if (num_devices() == 0) GTEST_SKIP() << "no CUDA device on this machine";
  }
};

LoraShapes shapes_of(const MatrixForm& form) {
  return {form.group == 128 ? 256 : 64 * 9, {100, 33, 264}, 8, 30};
}

std::size_t count_different(const std::vector<float>& a, const std::vector<float>& b) {
  std::size_t count = 0;
  for (std::size_t i = 0; i < a.size(); ++i) count += a[i] != b[i];
  return count;
}

TEST_F(LinearWithLora, HasTheBitsOfBothLaunches) {
  for (const MatrixForm& form : kMatrixForms) {
    std::size_t added = 0;  // outputs to which adapters have added
    for (std::uint32_t seed = 1; seed <= 4; ++seed) {
      SCOPED_TRACE(std::string(form.name) + " seed " + std::to_string(seed));
      Random random(seed);
      LoraCase drawn = random_lora_case(random, shapes_of(form), false);
      LoraOnDevice adapters(drawn);
      Linears linears(random, form, drawn, adapters);
      const auto apart = linears.run(Launches::kApart, kMaxRowsWithLora);
      for (const int capacity : {drawn.num_rows(), kMaxRowsWithLora}) {
        const auto in_one = linears.run(Launches::kInOne, capacity);
        for (std::size_t i = 0; i < apart.size(); ++i) {
          ASSERT_FALSE(std::isnan(in_one[i])) << i;
          ASSERT_EQ(in_one[i], apart[i]) << "element " << i << " of " << apart.size();
        }
      }
      for (auto& terms : drawn.terms) terms.clear();
      LoraOnDevice none(drawn);
      Random same_weights(seed);
      random_lora_case(same_weights, shapes_of(form), false);
      Linears base(same_weights, form, drawn, none);
      added += count_different(base.run(Launches::kInOne, kMaxRowsWithLora), apart);
    }
    EXPECT_GT(added, 1000);
  }
}

TEST_F(LinearWithLora, TakesSixteenRowsOfAsManyAdaptersInEveryOrder) {
  Random random(9);
  const MatrixForm& form = kMatrixForms[1];
  LoraCase drawn = random_lora_case(random, shapes_of(form), false);
  drawn.terms.clear();
  drawn.tokens.assign(kMaxRowsWithLora, 0);
  drawn.head_rows.clear();
  // A segment for each row, of five adapters and of mixes that differ in their weights.
  for (int row = 0; row < kMaxRowsWithLora; ++row) {
    const float weight = row < 5 ? 1.0F : 0.25F * static_cast<float>(row);
    drawn.terms.push_back({{row < 5 ? row : row % 3 * 2, weight}});
  }
  drawn.x = normal_values(
      random, static_cast<std::size_t>(kMaxRowsWithLora * drawn.shapes.in_features), 1.0F);
  LoraOnDevice adapters(drawn);
  Linears linears(random, form, drawn, adapters);
  const auto apart = linears.run(Launches::kApart, kMaxRowsWithLora);
  in_every_order([&] { EXPECT_EQ(linears.run(Launches::kInOne, kMaxRowsWithLora), apart); });
}

}  // namespace
}  // namespace tessera
