#include "adapters/packed_adapter.hpp"

#include <cstdint>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/bf16.hpp"
#include "tests/adapters/test_package.hpp"

namespace tessera {
namespace {

float element(const std::byte* pages, PageType type, std::size_t i) {
  if (type == PageType::kF32) {
    float value = 0.0F;
    std::memcpy(&value, pages + i * sizeof value, sizeof value);
    return value;
  }
  Bf16 value = 0;
  std::memcpy(&value, pages + i * sizeof value, sizeof value);
  return bf16_to_float(value);
}

float rounded(float value, PageType type) {
  return type == PageType::kF32 ? value : bf16_to_float(float_to_bf16(value));
}

// Every element of a module's pages, against the formula in kernels/lora.hpp.
void expect_pages(const LoraModule& pages, const AdapterModule& module, PageType type) {
  SCOPED_TRACE(module.base.path);
  ASSERT_EQ(pages.rank, module.rank);
  const auto in = static_cast<std::size_t>(module.base.shape.in_features);
  const auto out = static_cast<std::size_t>(module.base.shape.out_features);
  const auto rank = static_cast<std::size_t>(module.rank);
  for (std::size_t p = 0; p < static_cast<std::size_t>(pages_of_rank(module.rank)); ++p) {
    for (std::size_t j = 0; j < kRanksPerPage; ++j) {
      const std::size_t r = p * kRanksPerPage + j;
      for (std::size_t k = 0; k < in; ++k) {
        const float expected = r < rank ? rounded(module.a[r * in + k], type) : 0.0F;
        ASSERT_EQ(element(pages.a, type, (p * in + k) * kRanksPerPage + j), expected);
      }
      for (std::size_t n = 0; n < out; ++n) {
        const float expected =
            r < rank ? rounded(module.scale * module.b[n * rank + r], type) : 0.0F;
        ASSERT_EQ(element(pages.b, type, (p * kRanksPerPage + j) * out + n), expected);
      }
    }
  }
}

// Every module of the base, with ranks on both sides of a page's edge and values that bf16 rounds.
Adapter adapter_of_all_modules() {
  Adapter adapter{.num_layers = 2};
  std::mt19937 random(5);
  std::normal_distribution<float> normal;
  int rank = 0;
  for (BaseModule& base : base_modules(test_base().spec)) {
    rank = rank % 17 + 1;
    const auto values = [&](int rows, int cols) {
      std::vector<float> out(static_cast<std::size_t>(rows) * static_cast<std::size_t>(cols));
      for (float& value : out) value = normal(random);
      return out;
    };
    AdapterModule module{.rank = rank, .scale = 0.3F};
    module.a = values(rank, base.shape.in_features);
    module.b = values(base.shape.out_features, rank);
    module.base = std::move(base);
    adapter.modules.push_back(std::move(module));
  }
  return adapter;
}

const LoraModule& module_of(const LoraView& view, const BaseModule& base) {
  if (base.kind == ModuleKind::kEmbed) return view.embed;
  if (base.kind == ModuleKind::kHead) return view.head;
  return view.layers[static_cast<std::size_t>(base.layer)][static_cast<std::size_t>(base.linear)];
}

class PackedAdapterOf : public testing::TestWithParam<PageType> {};

TEST_P(PackedAdapterOf, EveryModuleFollowsThePageLayout) {
  const Adapter adapter = adapter_of_all_modules();
  const auto packed = pack_adapter(adapter, GetParam());
  EXPECT_EQ(packed->view().type, GetParam());
  for (const AdapterModule& module : adapter.modules) {
    expect_pages(module_of(packed->view(), module.base), module, GetParam());
  }
}

TEST_P(PackedAdapterOf, PagesBeginOnCacheLinesAndAreCounted) {
  const Adapter adapter = adapter_of_all_modules();
  const auto packed = pack_adapter(adapter, GetParam());
  std::size_t needed = 0;
  for (const AdapterModule& module : adapter.modules) {
    const LoraModule& pages = module_of(packed->view(), module.base);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(pages.a) % 64, 0U);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(pages.b) % 64, 0U);
    needed +=
        static_cast<std::size_t>(pages_of_rank(module.rank) * kRanksPerPage) *
        static_cast<std::size_t>(module.base.shape.in_features + module.base.shape.out_features) *
        element_bytes(GetParam());
  }
  EXPECT_EQ(packed->bytes(), layout_of(adapter, GetParam()).bytes);
  EXPECT_GE(packed->bytes(), needed);
  EXPECT_LT(packed->bytes(), needed + adapter.modules.size() * 2 * 64);
}

INSTANTIATE_TEST_SUITE_P(Types, PackedAdapterOf, testing::Values(PageType::kF32, PageType::kBf16),
                         [](const auto& test) {
                           return std::string(test.param == PageType::kF32 ? "F32" : "Bf16");
                         });

TEST(PackedAdapter, PagesOfEightBitsAreMadeOfThoseOfFp32AndTellWhatThatCosts) {
  Adapter adapter = adapter_of_all_modules();
  adapter.modules[0].out_scale.assign(
      static_cast<std::size_t>(adapter.modules[0].base.shape.out_features), 0.5F);
  const auto exact = pack_adapter(adapter, PageType::kF32);
  PageError told;
  const auto packed = pack_adapter(adapter, PageType::kInt8, &told);
  EXPECT_EQ(packed->view().type, PageType::kInt8);
  EXPECT_LT(packed->bytes(), exact->bytes() / 3);
  PageError error;
  for (const AdapterModule& module : adapter.modules) {
    SCOPED_TRACE(module.base.path);
    const LoraModule& pages = module_of(packed->view(), module.base);
    ASSERT_EQ(pages.rank, module.rank);
    const auto ranks = static_cast<std::size_t>(pages_of_rank(module.rank)) * kRanksPerPage;
    std::vector<std::int8_t> a(ranks * static_cast<std::size_t>(module.base.shape.in_features));
    std::vector<std::int8_t> b(ranks * static_cast<std::size_t>(module.base.shape.out_features));
    std::vector<float> scales(ranks);
    error += quantise_pages(module_of(exact->view(), module.base), module.base.shape, a, b, scales);
    EXPECT_EQ(std::memcmp(pages.a, a.data(), a.size()), 0);
    EXPECT_EQ(std::memcmp(pages.b, b.data(), b.size()), 0);
    EXPECT_EQ(std::vector<float>(pages.scales, pages.scales + ranks), scales);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(pages.scales) % 64, 0U);
  }
  EXPECT_EQ(module_of(packed->view(), adapter.modules[0].base).out_scale[1], 0.5F);
  EXPECT_EQ(told.relative(), error.relative());
  EXPECT_GT(told.relative(), 0.001);
  EXPECT_LT(told.relative(), 0.02);
}

TEST(PackedAdapter, RowsBesidePagesOfEightBitsAreBf16) {
  Adapter adapter = adapter_of_all_modules();
  adapter.embed_rows.ids = {1, 3};
  for (int i = 0; i < 2 * test_base().spec.hidden; ++i) {
    adapter.embed_rows.rows.push_back(0.1F * static_cast<float>(i));
  }
  const auto packed = pack_adapter(adapter, PageType::kInt8);
  const RowOverrides& rows = packed->view().embed_rows;
  ASSERT_EQ(rows.ids.size(), 2U);
  for (std::size_t i = 0; i < adapter.embed_rows.rows.size(); ++i) {
    ASSERT_EQ(element(rows.rows, PageType::kBf16, i),
              rounded(adapter.embed_rows.rows[i], PageType::kBf16));
  }
}

TEST(PackedAdapter, AbsentModulesHaveNoPages) {
  const auto validation = TestPackage().validate();
  const auto packed = pack_adapter(*validation.adapter, PageType::kBf16);
  ASSERT_EQ(packed->view().layers.size(), 2U);
  EXPECT_TRUE(packed->view().layers[1][static_cast<std::size_t>(Linear::kQ)]);
  EXPECT_FALSE(packed->view().layers[1][static_cast<std::size_t>(Linear::kK)]);
  EXPECT_FALSE(packed->view().embed);
  EXPECT_FALSE(packed->view().head);
  EXPECT_EQ(packed->max_rank(), 4);
}

TEST(AdapterDigest, IsOfWhatTheAdapterMeansAndOfTheBase) {
  const BaseDigest base = test_base().digest;
  const Adapter adapter = *TestPackage().validate().adapter;
  const AdapterDigest digest = adapter_digest(adapter, base);
  EXPECT_EQ(adapter_digest(adapter, base), digest);

  Adapter other = adapter;
  other.modules[3].b.back() += 1.0F;
  EXPECT_NE(adapter_digest(other, base), digest);
  other = adapter;
  other.modules[0].scale *= 2.0F;
  EXPECT_NE(adapter_digest(other, base), digest);
  other = adapter;
  other.modules.pop_back();
  EXPECT_NE(adapter_digest(other, base), digest);
  BaseDigest other_base = base;
  other_base.bytes[0] ^= 1;
  EXPECT_NE(adapter_digest(adapter, other_base), digest);
}

TEST(AdapterDigest, TheSameMeaningInAnotherSpellingIsTheSameAdapter) {
  TestPackage package;
  const auto digest = adapter_digest(*package.validate().adapter, {});
  package.config["lora_alpha"] = 8.0;
  package.config["peft_version"] = "0.1";
  package.config["target_modules"] = R"(.*\.(q|v)_proj)";
  EXPECT_EQ(adapter_digest(*package.validate().adapter, {}), digest);
  package.config["lora_alpha"] = 16;
  EXPECT_NE(adapter_digest(*package.validate().adapter, {}), digest);
}

}  // namespace
}  // namespace tessera
