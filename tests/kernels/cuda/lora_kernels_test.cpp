// lora_kernels_test.cpp — segmented LoRA's kernels against the reference's loops, at random shapes,
// and rows alone against rows in company (P2).
#include "kernels/cuda/lora_kernels.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <string>

#include <gtest/gtest.h>

#include "kernels/reference/reference_math.hpp"
#include "tests/kernels/cuda/lora_case.hpp"

namespace tessera {
namespace {

// Of an output, as a fraction of the largest of the row, or of what the base had put there: x and z
// have seventeen bits each.
constexpr double kTolerance = 1e-4;
constexpr float kUntouched = -7.25F;

using reference::Row;

// y as the reference makes it of z.
void expand_reference(const Adapter& adapter, int index, const LoraShapes& shapes, float weight,
                      std::vector<float> z, Row y) {
  const LoraModule& module = adapter.modules[index];
  const LinearShape shape = shapes.of(index);
  const reference::LoraWeights weights(module, adapter.type, shape.in_features, shape.out_features);
  for (float& value : z) value *= weight;
  weights.expand(z, y);
  for (std::size_t n = 0; n < y.size(); ++n) {
    if (module.out_scale != nullptr) y[n] *= module.out_scale[n];
    if (module.bias != nullptr) y[n] += module.bias[n];
  }
}

void change_reference(const LoraCase& drawn, int row, int index, reference::ConstRow x, Row y) {
  for (const MixTerm& term : drawn.terms[static_cast<std::size_t>(row)]) {
    const Adapter& adapter = drawn.adapter(term);
    const LoraModule& module = adapter.modules[index];
    const LinearShape shape = drawn.shapes.of(index);
    const reference::LoraWeights weights(module, adapter.type, shape.in_features,
                                         shape.out_features);
    std::vector<float> z(static_cast<std::size_t>(module.rank));
    weights.shrink(x, z);
    expand_reference(adapter, index, drawn.shapes, term.weight, z, y);
  }
}

double worst_error(const float* actual, const std::vector<float>& expected) {
  double largest = static_cast<double>(std::abs(kUntouched));
  double worst = 0.0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const double error =
        std::abs(static_cast<double>(actual[i]) - static_cast<double>(expected[i]));
    worst = std::isnan(error) ? 1e9 : std::max(worst, error);
    largest = std::max(largest, static_cast<double>(std::abs(expected[i])));
  }
  return worst / largest;
}

LoraShapes random_shapes(Random& random) {
  const int ins[] = {7, 32, 72, 101, 1024, 1120, 2200};
  const int outs[] = {1, 8, 33, 256, 264, 301};
  const auto out = [&] { return outs[uniform(random, 0, 5)]; };
  return {ins[uniform(random, 0, 6)],
          {out(), out(), out()},
          uniform(random, 3, 40) * 2,
          uniform(random, 30, 90)};
}

LoraCase random_case(std::uint32_t seed) {
  Random random(seed);
  const LoraShapes shapes = random_shapes(random);
  return random_lora_case(random, shapes, true);
}

class LoraKernels : public testing::Test {
 protected:
  void SetUp() override {
    if (num_devices() == 0) GTEST_SKIP() << "no CUDA device on this machine";
  }
};

TEST_F(LoraKernels, AgreeWithTheReferenceAtRandomShapes) {
  double worst = 0.0;
  for (std::uint32_t seed = 1; seed <= 24; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    const LoraCase drawn = random_case(seed);
    const auto y = LoraOnDevice(drawn).apply(kUntouched);
    const LoraShapes& shapes = drawn.shapes;
    const int stride = *std::max_element(shapes.out_features, shapes.out_features + 3) + 5;
    for (int i = 0; i < 3 * drawn.num_rows(); ++i) {
      const int site = i / drawn.num_rows();
      const int row = i % drawn.num_rows();
      std::vector<float> expected(static_cast<std::size_t>(shapes.out_features[site]), kUntouched);
      const reference::ConstRow x(drawn.x.data() + row * shapes.in_features,
                                  static_cast<std::size_t>(shapes.in_features));
      change_reference(drawn, row, site, x, expected);
      const float* actual = y.data() + i * stride;
      const double error = worst_error(actual, expected);
      ASSERT_LE(error, kTolerance) << "site " << site << " row " << row;
      worst = std::max(worst, error);
      for (int n = shapes.out_features[site]; n < stride; ++n) ASSERT_EQ(actual[n], kUntouched);
    }
  }
  RecordProperty("worst_error", std::to_string(worst));
  std::printf("    worst error of a row's largest: %.2e\n", worst);
}

TEST_F(LoraKernels, RowsAreTheSameBitsAloneAndInCompanyInEveryOrder) {
  for (std::uint32_t seed = 41; seed <= 46; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    const LoraCase drawn = random_case(seed);
    const auto together = LoraOnDevice(drawn).apply(kUntouched);
    in_every_order([&] { EXPECT_EQ(LoraOnDevice(drawn).apply(kUntouched), together); });
    const std::size_t site = together.size() / 3;
    const std::size_t stride = site / static_cast<std::size_t>(drawn.num_rows());
    for (int row = 0; row<drawn.num_rows(); row += drawn.num_rows()> 12 ? 11 : 1) {
      const LoraCase one = drawn.only({row});
      const auto alone = LoraOnDevice(one).apply(kUntouched);
      for (std::size_t s = 0; s < 3; ++s) {
        ASSERT_EQ(std::memcmp(alone.data() + s * stride,
                              together.data() + s * site + static_cast<std::size_t>(row) * stride,
                              stride * sizeof(float)),
                  0)
            << "row " << row << " site " << s;
      }
    }
  }
}

TEST_F(LoraKernels, RowsOfTheBaseAreNotTouchedWhateverTheyHold) {
  LoraCase drawn = random_case(3);
  drawn.terms.assign(drawn.terms.size(), {});
  const auto y = LoraOnDevice(drawn).apply(kUntouched);
  EXPECT_TRUE(std::all_of(y.begin(), y.end(), [](float v) { return v == kUntouched; }));
}

TEST_F(LoraKernels, AgreeWithTheReferenceAtTheEmbedding) {
  for (std::uint32_t seed = 61; seed <= 70; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    const LoraCase drawn = random_case(seed);
    Random random(seed);
    const auto hidden = static_cast<std::size_t>(drawn.shapes.hidden);
    const auto base =
        normal_values(random, static_cast<std::size_t>(drawn.num_rows()) * hidden, 1.0F);
    const auto actual = LoraOnDevice(drawn).embed(base);
    for (int row = 0; row < drawn.num_rows(); ++row) {
      const auto r = static_cast<std::size_t>(row);
      const auto token = static_cast<std::size_t>(drawn.tokens[r]);
      std::vector<float> expected(base.begin() + row * drawn.shapes.hidden,
                                  base.begin() + (row + 1) * drawn.shapes.hidden);
      for (const MixTerm& term : drawn.terms[r]) {
        const Adapter& adapter = drawn.adapter(term);
        const auto& ids = adapter.embed_rows.ids;
        const auto found = std::find(ids.begin(), ids.end(), drawn.tokens[r]);
        for (std::size_t k = 0; found != ids.end() && k < hidden; ++k) {
          const auto at = static_cast<std::size_t>(found - ids.begin()) * hidden + k;
          expected[k] = reference::element(adapter.embed_rows.rows, PageType::kBf16, at);
        }
      }
      for (const MixTerm& term : drawn.terms[r]) {
        const Adapter& adapter = drawn.adapter(term);
        const LoraModule& module = adapter.modules[kEmbedding];
        const reference::LoraWeights weights(module, adapter.type, drawn.shapes.vocab_size,
                                             drawn.shapes.hidden);
        std::vector<float> z(static_cast<std::size_t>(module.rank));
        for (std::size_t i = 0; i < z.size(); ++i) z[i] = weights.a(i, token);
        expand_reference(adapter, kEmbedding, drawn.shapes, term.weight, z, expected);
      }
      ASSERT_LE(worst_error(actual.data() + r * hidden, expected), kTolerance) << "row " << row;
    }
  }
}

TEST_F(LoraKernels, AgreeWithTheReferenceAtTheHeadAndItsOwnRows) {
  for (std::uint32_t seed = 81; seed <= 90; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    const LoraCase drawn = random_case(seed);
    if (drawn.head_rows.empty()) continue;
    Random random(seed);
    const auto hidden = static_cast<std::size_t>(drawn.shapes.hidden);
    const auto vocab = static_cast<std::size_t>(drawn.shapes.vocab_size);
    const auto x = normal_values(random, drawn.head_rows.size() * hidden, 1.0F);
    const auto base = normal_values(random, drawn.head_rows.size() * vocab, 1.0F);
    const auto actual = LoraOnDevice(drawn).head(x, base);
    for (std::size_t i = 0; i < drawn.head_rows.size(); ++i) {
      const int row = drawn.head_rows[i];
      const reference::ConstRow normed(x.data() + i * hidden, hidden);
      std::vector<float> expected(vocab);
      std::copy_n(base.data() + i * vocab, vocab, expected.data());
      for (const MixTerm& term : drawn.terms[static_cast<std::size_t>(row)]) {
        const RowOverrides& own = drawn.adapter(term).head_rows;
        for (std::size_t j = 0; j < own.ids.size(); ++j) {
          double sum = 0.0;
          for (std::size_t k = 0; k < hidden; ++k) {
            sum +=
                static_cast<double>(reference::element(own.rows, PageType::kBf16, j * hidden + k)) *
                static_cast<double>(normed[k]);
          }
          expected[static_cast<std::size_t>(own.ids[j])] = static_cast<float>(sum);
        }
      }
      change_reference(drawn, row, kHead, normed, expected);
      ASSERT_LE(worst_error(actual.data() + i * vocab, expected), kTolerance) << "row " << row;
    }
  }
}

}  // namespace
}  // namespace tessera
