// packed_matrix_test.cpp — where a matrix's codes lie for tensor cores; needs no device.
#include "kernels/cuda/packed_matrix.hpp"

#include <algorithm>
#include <stdexcept>
#include <vector>

#include <gtest/gtest.h>

namespace tessera {
namespace {

TEST(PackedMatrix, EveryCodeHasAPlaceOfItsOwn) {
  for (const PackedForm form : {PackedForm::kBook16, PackedForm::kInt8, PackedForm::kHalf}) {
    PackedMatrix matrix;
    matrix.form = form;
    matrix.rows = 48;
    matrix.cols = 192;
    const std::size_t unit = form == PackedForm::kHalf ? 2 : 1;
    const std::size_t codes = static_cast<std::size_t>(3 * 3 * tile_bytes(form)) *
                              (form == PackedForm::kBook16 ? 2U : 1U) / unit;
    std::vector<int> taken(codes);
    for (int n = 0; n < matrix.rows; ++n) {
      for (int k = 0; k < matrix.cols; ++k) ++taken.at(matrix.code_index(n, k));
    }
    EXPECT_EQ(std::count(taken.begin(), taken.end(), 1), static_cast<std::ptrdiff_t>(codes));
  }
}

TEST(PackedMatrix, ActivationsArePermutedWithinBlocksOfSixtyFour) {
  std::vector<int> taken(128);
  for (int k = 0; k < 128; ++k) {
    const int position = fragment_position(k);
    EXPECT_EQ(position / 64, k / 64);
    ++taken[static_cast<std::size_t>(position)];
  }
  EXPECT_EQ(std::count(taken.begin(), taken.end(), 1), 128);
}

TEST(PackedMatrix, RefusesWhatNoTensorCoreTakes) {
  std::vector<Bf16> weights(40 * 2);
  EXPECT_THROW(pack_matrix(bf16_matrix(weights.data(), 2, 40)), std::invalid_argument);
}

}  // namespace
}  // namespace tessera
