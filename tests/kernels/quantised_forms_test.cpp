// quantised_forms_test.cpp — every form that a WeightMatrix can have, on every path, against its
// decoded weights multiplied in fp64, within what rounding can come to; and P2, bit for bit.
#include <algorithm>
#include <bit>
#include <cmath>
#include <numeric>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/cpu/activation_rows.hpp"
#include "kernels/cpu/cpu_path.hpp"
#include "kernels/cpu/tiled_matrix.hpp"
#include "tests/kernels/random_model.hpp"

namespace tessera {
namespace {

constexpr int kIn = 640;   // ten blocks: two chunks of many rows
constexpr int kOut = 100;  // seven tiles, the last not full

enum class Codes { kNf4, kFp4, kInt4, kUint4, kInt8, kBf16 };

struct Form {
  const char* name;
  Codes codes;
  int group = 64;
  bool has_offsets = false;
  bool is_nested = false;
  bool has_order = false;
};
constexpr Form kForms[] = {
    {"Bf16", Codes::kBf16},
    {"Nf4Nested", Codes::kNf4, 64, false, true},
    {"Nf4Plain", Codes::kNf4},
    {"Nf4Group128", Codes::kNf4, 128, false, true},
    {"Fp4", Codes::kFp4},
    {"Fp4Nested", Codes::kFp4, 64, false, true},
    {"Q4_0", Codes::kInt4, 32},
    {"Q4_1", Codes::kUint4, 32, true},
    {"Int4Group16", Codes::kInt4, 16},
    {"Uint4Group16WithOffsets", Codes::kUint4, 16, true},
    {"Gptq", Codes::kUint4, 128, true},
    {"GptqActOrder", Codes::kUint4, 128, true, false, true},
    {"GptqWholeRows", Codes::kUint4, kIn, true},
    {"Awq64", Codes::kUint4, 64, true},
    {"Int8PerRow", Codes::kInt8, kIn},
    {"Int8", Codes::kInt8},
    {"Q8_0", Codes::kInt8, 32},
    {"Q6_K", Codes::kInt8, 16},
    {"Q5_K", Codes::kInt8, 32, true},
    {"Gptq8ActOrder", Codes::kInt8, 128, true, false, true},
    {"Int8Group16WithOffsets", Codes::kInt8, 16, true},
};

std::array<float, 16> book_of(Codes codes) {
  std::array<float, 16> book = kNf4Values;
  constexpr std::array<float, 8> kFp4 = {0.0F,       0.0052083333F, 0.6666667F,  1.0F,
                                         0.3333333F, 0.5F,          0.16666667F, 0.25F};
  for (std::size_t i = 0; i < 16; ++i) {
    const auto integer = static_cast<float>(i);
    if (codes == Codes::kFp4) book[i] = i < 8 ? kFp4[i] : -kFp4[i - 8];
    if (codes == Codes::kInt4) book[i] = integer - 8.0F;
    if (codes == Codes::kUint4) book[i] = integer;
  }
  return book;
}

// A matrix of random codes, with scales such that weights are about 0.05.
class RandomMatrix {
 public:
  RandomMatrix(Random& random, const Form& form) {
    matrix_.rows = kOut;
    matrix_.cols = kIn;
    constexpr std::size_t kSize = std::size_t{kOut} * kIn;
    if (form.codes == Codes::kBf16) {
      for (const float value : normal_values(random, kSize, 0.05F)) {
        bf16_.push_back(float_to_bf16(value));
      }
      matrix_.bf16 = bf16_.data();
    } else {
      codes_.resize(form.codes == Codes::kInt8 ? kSize : kSize / 2);
      for (std::uint8_t& code : codes_) code = static_cast<std::uint8_t>(random());
      matrix_.form = form.codes == Codes::kInt8 ? WeightForm::kInt8 : WeightForm::kBook16;
      matrix_.codes = codes_.data();
      matrix_.group = form.group;
      if (form.codes != Codes::kInt8) matrix_.book = book_of(form.codes);
      add_scales(random, form);
    }
    if (!form.has_order) return;
    order_.resize(kIn);
    std::iota(order_.begin(), order_.end(), 0);
    std::shuffle(order_.begin(), order_.end(), random);
    matrix_.order = order_.data();
  }

  const WeightMatrix& view() const { return matrix_; }

 private:
  void add_scales(Random& random, const Form& form) {
    const auto count = static_cast<std::size_t>(kOut * matrix_.groups());
    const float largest = form.codes == Codes::kInt8                                  ? 128.0F
                          : form.codes == Codes::kInt4 || form.codes == Codes::kUint4 ? 8.0F
                                                                                      : 1.0F;
    scales_ = normal_values(random, count, 0.05F / largest);
    offsets_ = normal_values(random, count, 0.05F);
    if (form.has_offsets) matrix_.offsets = offsets_.data();
    if (!form.is_nested) {
      matrix_.scales = scales_.data();
      return;
    }
    absmax_codes_.resize(count);
    for (std::uint8_t& code : absmax_codes_) code = static_cast<std::uint8_t>(random());
    absmax_scales_.assign((count + kAbsmaxBlock - 1) / kAbsmaxBlock, 0.01F);
    matrix_.absmax_codes = absmax_codes_.data();
    matrix_.absmax_scales = absmax_scales_.data();
    matrix_.absmax_offset = 0.03F;
  }

  WeightMatrix matrix_;
  std::vector<Bf16> bf16_;
  std::vector<std::uint8_t> codes_;
  std::vector<float> scales_;
  std::vector<float> offsets_;
  std::vector<std::uint8_t> absmax_codes_;
  std::vector<float> absmax_scales_;
  std::vector<std::int32_t> order_;
};

using Matrix = std::vector<std::vector<float>>;

Matrix random_rows(Random& random, int count) {
  Matrix rows(static_cast<std::size_t>(count));
  for (auto& row : rows) {
    row = normal_values(random, kIn, 1.0F);
    row[70] = 100.0F;                                       // an outlier in the second block
    std::fill(row.begin() + 128, row.begin() + 192, 0.0F);  // and nothing in the third
  }
  return rows;
}

struct FormCase {
  CpuPath path;
  Form form;
};

class QuantisedForms : public testing::TestWithParam<FormCase> {
 protected:
  void SetUp() override {
    if (!machine_has(GetParam().path)) GTEST_SKIP() << "this machine has no such path";
  }

  static const KernelTable& kernels() { return kernels_of(GetParam().path); }

  // y (rows, kOut) = W x, in two calls as two threads would make them.
  Matrix multiply(const TiledMatrix& weights, const Matrix& x) {
    const int num_rows = static_cast<int>(x.size());
    StageOrders orders;
    const int order = orders.add(weights.order());
    StageRows rows(num_rows, kIn, kernels(), {.integers = true, .sums = weights.has_offsets()},
                   orders.size());
    for (int i = 0; i < num_rows; ++i) {
      std::ranges::copy(x[static_cast<std::size_t>(i)], rows.row(i));
      rows.finish(i, orders);
    }
    ActivationRows y(num_rows, 16 * 7);
    const Activations activations = rows.activations(order);
    weights.multiply()(weights.view(), 0, 3, activations, num_rows, y.view());
    weights.multiply()(weights.view(), 3, weights.tiles(), activations, num_rows, y.view());
    Matrix outputs;
    for (int i = 0; i < num_rows; ++i) outputs.emplace_back(y.row(i), y.row(i) + kOut);
    return outputs;
  }

  Random random_{20261121};
  ThreadPool pool_{1};
};

// What rounding may come to, at worst: of activations to half a unit of their block, where they
// become integers, of a book to half an integer, of every product and sum to fp32's precision.
class WorstCase {
 public:
  WorstCase(const WeightMatrix& matrix, const KernelTable& kernels)
      : matrix_(matrix),
        integers_(kernels.quantise != nullptr && matrix.form != WeightForm::kBf16) {
    if (integers_ && matrix.form == WeightForm::kBook16) {
      const Int16Book book = make_int16_book(matrix.book);
      for (std::size_t i = 0; i < 16; ++i) {
        const double value = static_cast<double>(matrix.book[i]);
        const double rounded = book.integers[i] / static_cast<double>(book.factor);
        book_error_ = std::max(book_error_, std::abs(value - rounded));
      }
    }
  }

  // `weights`, `scales` and x are those of one output and row.
  double error(const std::vector<float>& weights, const std::vector<float>& scales,
               const std::vector<float>& x) const {
    double bound = 0.0;
    for (int k = 0; k < kIn; ++k) {
      const double weight = weight_at(weights, k);
      const double value = x_at(x, k);
      const double scale = scales.empty() ? 0.0 : std::abs(scale_at(scales, k));
      // Products of codes and offsets cancel, so what is rounded may be larger than their sum.
      const double parts = std::abs(weight) + (matrix_.offsets == nullptr ? 0.0 : 32.0 * scale);
      bound += 2e-6 * parts * std::abs(value) + book_error_ * scale * std::abs(value);
      if (integers_) bound += 0.501 * unit_at(x, k) * (std::abs(weight) + book_error_ * scale);
    }
    return bound;
  }

 private:
  int feature(int k) const { return matrix_.order == nullptr ? k : matrix_.order[k]; }
  double weight_at(const std::vector<float>& weights, int k) const {
    return static_cast<double>(weights[static_cast<std::size_t>(feature(k))]);
  }
  double x_at(const std::vector<float>& x, int k) const {
    return static_cast<double>(x[static_cast<std::size_t>(feature(k))]);
  }
  double scale_at(const std::vector<float>& scales, int k) const {
    return static_cast<double>(scales[static_cast<std::size_t>(k / matrix_.group)]);
  }
  double unit_at(const std::vector<float>& x, int k) const {
    double largest = 0.0;
    const int first = k / kNf4Block * kNf4Block;
    for (int i = first; i < first + kNf4Block; ++i)
      largest = std::max(largest, std::abs(x_at(x, i)));
    return largest / kLargestActivation;
  }

  const WeightMatrix& matrix_;
  bool integers_;
  double book_error_ = 0.0;
};

TEST_P(QuantisedForms, AreMultipliedAsTheirDecodedWeightsAre) {
  const RandomMatrix source(random_, GetParam().form);
  const WeightMatrix& matrix = source.view();
  const Matrix x = random_rows(random_, 3);
  const Matrix y = multiply(TiledMatrix(matrix, kernels(), pool_), x);
  const WorstCase worst(matrix, kernels());
  std::vector<float> weights(kIn);
  std::vector<float> scales(
      matrix.form == WeightForm::kBf16 ? 0 : static_cast<std::size_t>(matrix.groups()));
  for (int n = 0; n < kOut; ++n) {
    decode_row(matrix, n, weights);
    if (!scales.empty()) decode_scales(matrix, n, 1, scales);
    for (std::size_t row = 0; row < x.size(); ++row) {
      double exact = 0.0;
      for (std::size_t k = 0; k < kIn; ++k) {
        exact += static_cast<double>(weights[k]) * static_cast<double>(x[row][k]);
      }
      ASSERT_NEAR(static_cast<double>(y[row][static_cast<std::size_t>(n)]), exact,
                  worst.error(weights, scales, x[row]))
          << "row " << row << " output " << n;
    }
  }
}

TEST_P(QuantisedForms, ARowIsBitIdenticalInACrowdOfAnySize) {
  const RandomMatrix source(random_, GetParam().form);
  const TiledMatrix weights(source.view(), kernels(), pool_);
  const Matrix x = random_rows(random_, 70);
  Matrix alone;
  for (const auto& row : x) alone.push_back(multiply(weights, {row})[0]);
  for (std::size_t count = 1; count <= x.size(); count += count < 20 ? 1 : 7) {
    const Matrix crowd = multiply(weights, {x.end() - static_cast<std::ptrdiff_t>(count), x.end()});
    for (std::size_t i = 0; i < count; ++i) {
      ASSERT_EQ(crowd[i], alone[x.size() - count + i]) << count << " rows, " << i;
    }
  }
}

TEST_P(QuantisedForms, PathsThatMultiplyFp32GiveTheSameBits) {
  if (kernels().quantise != nullptr) GTEST_SKIP() << "this one multiplies integers";
  const RandomMatrix source(random_, GetParam().form);
  const Matrix x = random_rows(random_, 5);
  const Matrix y = multiply(TiledMatrix(source.view(), kernels(), pool_), x);
  const KernelTable& portable = kernels_of(CpuPath::kPortable);
  const TiledMatrix weights(source.view(), portable, pool_);
  Matrix ordered = x;
  for (std::size_t i = 0; i < x.size(); ++i) {
    for (std::size_t k = 0; k < weights.order().size(); ++k) {
      ordered[i][k] = x[i][static_cast<std::size_t>(weights.order()[k])];
    }
    std::vector<float> expected(16 * 7);
    const Activations activations{.fp32 = {ordered[i].data(), kIn}, .int16 = {}, .split = {}};
    weights.multiply()(weights.view(), 0, weights.tiles(), activations, 1, {expected.data(), 112});
    expected.resize(kOut);
    EXPECT_EQ(y[i], expected) << i;
  }
}

std::vector<FormCase> all_cases() {
  std::vector<FormCase> cases;
  for (const CpuPath path :
       {CpuPath::kPortable, CpuPath::kAvx2, CpuPath::kAvx512, CpuPath::kAvx512Vnni}) {
    for (const Form& form : kForms) cases.push_back({path, form});
  }
  return cases;
}

std::string case_name(const testing::TestParamInfo<FormCase>& test) {
  constexpr const char* kNames[] = {"Portable", "Avx2", "Avx512", "Avx512Vnni"};
  return kNames[static_cast<std::size_t>(test.param.path)] + std::string(test.param.form.name);
}

INSTANTIATE_TEST_SUITE_P(Paths, QuantisedForms, testing::ValuesIn(all_cases()), case_name);

TEST(Int16Book, OfIntegersIsExact) {
  const Int16Book book = make_int16_book(book_of(Codes::kUint4));
  EXPECT_EQ(book.factor, 1.0F);
  for (std::size_t i = 0; i < 32; ++i) EXPECT_EQ(book.integers[i], i % 16);
}

TEST(Int16Book, OfNf4IsTheOneThatCostsLeastOfAllFactors) {
  const Int16Book nf4 = make_int16_book(kNf4Values);
  EXPECT_EQ(nf4.factor, kBookFactor);
  EXPECT_TRUE(std::equal(nf4.integers.begin(), nf4.integers.end(), kInt16Book));
  std::array<float, 16> doubled = kNf4Values;
  for (float& value : doubled) value *= 2.0F;
  const Int16Book searched = make_int16_book(doubled);  // NF4 itself is known and not searched for
  EXPECT_EQ(searched.factor, kBookFactor / 2.0F);
  EXPECT_EQ(searched.integers, nf4.integers);
}

TEST(Int16Book, NeverOverflowsASum) {
  Random random(3);
  for (int i = 0; i < 10; ++i) {
    std::array<float, 16> book;
    std::ranges::copy(normal_values(random, 16, std::pow(10.0F, static_cast<float>(i - 5))),
                      book.begin());
    for (const std::int16_t integer : make_int16_book(book).integers) {
      EXPECT_LE(std::abs(integer), kLargestInBook);
    }
  }
  EXPECT_EQ(make_int16_book({}).integers, (std::array<std::int16_t, 32>{}));
  EXPECT_LT(std::int64_t{kNf4Block} * kLargestInBook * kLargestActivation, std::int64_t{1} << 31);
}

}  // namespace
}  // namespace tessera
