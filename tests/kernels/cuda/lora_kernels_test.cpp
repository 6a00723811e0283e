// lora_kernels_test.cpp — segmented LoRA's kernels against the reference's loops, at random shapes,
// and rows alone against rows in company (P2).
#include "kernels/cuda/lora_kernels.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <deque>
#include <memory>
#include <string>

#include <gtest/gtest.h>

#include "kernels/bf16.hpp"
#include "kernels/lora_int8.hpp"
#include "kernels/reference/reference_math.hpp"
#include "tests/kernels/cuda/device_arrays.hpp"
#include "tests/kernels/random_model.hpp"

namespace tessera {
namespace {

// Of an output, as a fraction of the largest of the row, or of what the base had put there: x and z
// have seventeen bits each.
constexpr double kTolerance = 1e-4;
constexpr int kEmbedding = 3;  // of the modules: three that share x, the embedding, the head
constexpr int kHead = 4;
constexpr int kNumModules = 5;
constexpr float kUntouched = -7.25F;

struct Shapes {
  int in_features;
  int out_features[3];
  int hidden;
  int vocab_size;

  LinearShape of(int module) const {
    if (module < 3) return {out_features[module], in_features};
    return module == kEmbedding ? LinearShape{hidden, vocab_size} : LinearShape{vocab_size, hidden};
  }
};

Shapes random_shapes(Random& random) {
  const int ins[] = {7, 32, 72, 101, 1024, 1120, 2200};
  const int outs[] = {1, 8, 33, 256, 264, 301};
  const auto out = [&] { return outs[uniform(random, 0, 5)]; };
  return {ins[uniform(random, 0, 6)],
          {out(), out(), out()},
          uniform(random, 3, 40) * 2,
          uniform(random, 30, 90)};
}

// One adapter's modules, in host memory that it owns.
struct Adapter {
  PageType type = PageType::kBf16;
  bool has_pairs_alone = false;
  LoraModule modules[kNumModules];
  RowOverrides embed_rows;
  RowOverrides head_rows;
  std::deque<std::vector<std::byte>> bytes;
  std::deque<std::vector<float>> floats;
  std::deque<std::vector<TokenId>> ids;

  const std::byte* keep(const void* data, std::size_t size) {
    const auto* from = static_cast<const std::byte*>(data);
    return bytes.emplace_back(from, from + size).data();
  }
};

std::vector<Bf16> rounded(const std::vector<float>& values) {
  std::vector<Bf16> halves;
  for (const float value : values) halves.push_back(float_to_bf16(value));
  return halves;
}

// Random values in the page layout, zeros in the unused ranks.
std::vector<float> random_half(Random& random, int features, int rank, bool is_a) {
  const int ranks = pages_of_rank(rank) * kRanksPerPage;
  auto values = normal_values(random, static_cast<std::size_t>(features * ranks), 0.3F);
  for (int r = rank; r < ranks; ++r) {
    for (int k = 0; k < features; ++k) {
      const int at = is_a ? (r / kRanksPerPage * features + k) * kRanksPerPage + r % kRanksPerPage
                          : r * features + k;
      values[static_cast<std::size_t>(at)] = 0.0F;
    }
  }
  for (float& value : values) value = bf16_to_float(float_to_bf16(value));
  return values;
}

void add_pair(Random& random, Adapter& adapter, LoraModule& module, LinearShape shape, int rank) {
  module.rank = rank;
  const auto a = random_half(random, shape.in_features, rank, true);
  const auto b = random_half(random, shape.out_features, rank, false);
  if (adapter.type == PageType::kBf16) {
    module.a = adapter.keep(rounded(a).data(), a.size() * 2);
    module.b = adapter.keep(rounded(b).data(), b.size() * 2);
    return;
  }
  LoraModule exact = module;
  exact.a = reinterpret_cast<const std::byte*>(a.data());
  exact.b = reinterpret_cast<const std::byte*>(b.data());
  std::vector<std::int8_t> a8(a.size());
  std::vector<std::int8_t> b8(b.size());
  auto& scales =
      adapter.floats.emplace_back(static_cast<std::size_t>(pages_of_rank(rank) * kRanksPerPage));
  quantise_pages(exact, shape, a8, b8, scales);
  module.scales = scales.data();
  module.a = adapter.keep(a8.data(), a8.size());
  module.b = adapter.keep(b8.data(), b8.size());
}

RowOverrides random_rows(Random& random, Adapter& adapter, const Shapes& shapes) {
  auto& ids = adapter.ids.emplace_back();
  for (TokenId id = 0; id < shapes.vocab_size; ++id) {
    if (chance(random, 0.2)) ids.push_back(id);
  }
  const auto rows =
      rounded(normal_values(random, ids.size() * static_cast<std::size_t>(shapes.hidden), 1.0F));
  return {ids, adapter.keep(rows.data(), rows.size() * sizeof(Bf16))};
}

void draw_adapter(Random& random, const Shapes& shapes, bool pairs_alone, Adapter& adapter) {
  adapter.type = chance(random, 0.4) ? PageType::kInt8 : PageType::kBf16;
  adapter.has_pairs_alone = pairs_alone;
  for (int i = 0; i < kNumModules; ++i) {
    LoraModule& module = adapter.modules[i];
    const LinearShape shape = shapes.of(i);
    const int rank = chance(random, 0.25) ? 0 : uniform(random, 1, chance(random, 0.2) ? 72 : 20);
    if (rank > 0) add_pair(random, adapter, module, shape, rank);
    if (pairs_alone) continue;
    const auto size = static_cast<std::size_t>(shape.out_features);
    const auto draw = [&] {
      return adapter.floats.emplace_back(normal_values(random, size, 1.0F)).data();
    };
    if (chance(random, 0.3)) module.out_scale = draw();
    if (chance(random, 0.3)) module.bias = draw();
  }
  if (pairs_alone) return;
  adapter.embed_rows = random_rows(random, adapter, shapes);
  adapter.head_rows = random_rows(random, adapter, shapes);
}

// A step of rows that each have a list of terms.
struct Case {
  Shapes shapes;
  std::shared_ptr<const std::deque<Adapter>> adapters;
  std::vector<std::vector<MixTerm>> terms;  // of each row
  std::vector<TokenId> tokens;
  std::vector<float> x;  // (rows, in_features)
  std::vector<std::int32_t> head_rows;

  int num_rows() const { return static_cast<int>(terms.size()); }
  const Adapter& adapter(const MixTerm& term) const {
    return (*adapters)[static_cast<std::size_t>(term.slot)];
  }
  // Some of its rows as a step of their own.
  Case only(const std::vector<int>& rows) const;
};

std::vector<MixTerm> random_terms(Random& random, const std::deque<Adapter>& adapters) {
  if (chance(random, 0.2)) return {};
  const int num_adapters = static_cast<int>(adapters.size());
  if (chance(random, 0.7)) return {{uniform(random, 0, num_adapters - 1), 1.0F}};
  std::vector<MixTerm> terms;
  for (int slot = 0; slot < num_adapters && terms.size() < kMaxMixTerms; ++slot) {
    const bool taken =
        adapters[static_cast<std::size_t>(slot)].has_pairs_alone && chance(random, 0.7);
    if (taken) terms.push_back({slot, 0.25F * static_cast<float>(uniform(random, 1, 6))});
  }
  return terms;
}

Case random_case(std::uint32_t seed) {
  Random random(seed);
  Case drawn;
  drawn.shapes = random_shapes(random);
  const auto adapters = std::make_shared<std::deque<Adapter>>();
  for (int i = 0; i < 5; ++i) {
    draw_adapter(random, drawn.shapes, i % 2 == 0, adapters->emplace_back());
  }
  drawn.adapters = adapters;
  // Sometimes one adapter has many rows, so that both forms of shrink are used.
  const bool is_crowded = chance(random, 0.4);
  const int num_rows = is_crowded ? uniform(random, 40, 70) : uniform(random, 1, 12);
  const auto shared = random_terms(random, *adapters);
  for (int row = 0; row < num_rows; ++row) {
    drawn.terms.push_back(is_crowded && chance(random, 0.7) ? shared
                                                            : random_terms(random, *adapters));
    drawn.tokens.push_back(uniform(random, 0, drawn.shapes.vocab_size - 1));
    if (chance(random, 0.4)) drawn.head_rows.push_back(row);
  }
  drawn.x =
      normal_values(random, static_cast<std::size_t>(num_rows * drawn.shapes.in_features), 1.0F);
  return drawn;
}

Case Case::only(const std::vector<int>& rows) const {
  Case part;
  part.shapes = shapes;
  part.adapters = adapters;
  for (const int row : rows) {
    const auto r = static_cast<std::size_t>(row);
    part.terms.push_back(terms[r]);
    part.tokens.push_back(tokens[r]);
    const auto* from = x.data() + row * shapes.in_features;
    part.x.insert(part.x.end(), from, from + shapes.in_features);
    if (std::find(head_rows.begin(), head_rows.end(), row) != head_rows.end()) {
      part.head_rows.push_back(static_cast<std::int32_t>(part.terms.size()) - 1);
    }
  }
  return part;
}

// The adapters and the step in device memory.
class OnDevice {
 public:
  explicit OnDevice(const Case& drawn) : case_(drawn), arrays_(stream_) {
    for (const Adapter& adapter : *drawn.adapters) add(adapter);
    work_.table = {arrays_.keep(entries_), arrays_.keep(embed_rows_), arrays_.keep(head_rows_),
                   kNumModules, static_cast<std::int32_t>(drawn.adapters->size())};
    work_.limits = {drawn.num_rows(), 72, std::max(drawn.shapes.in_features, drawn.shapes.hidden)};
    workspace_ = poisoned<std::byte>(stream_, lora_workspace_bytes(work_.limits));
    work_.workspace = workspace_.data();
    std::vector<MixTerm> terms;
    for (const auto& row : drawn.terms) {
      for (std::size_t t = 0; t < kMaxMixTerms; ++t) {
        terms.push_back(t < row.size() ? row[t] : MixTerm{});
      }
    }
    const StepCounts counts{drawn.num_rows(), 1, static_cast<std::int32_t>(drawn.head_rows.size())};
    work_.step.counts = arrays_.keep(std::vector<StepCounts>{counts});
    work_.step.tokens = arrays_.keep(drawn.tokens);
    work_.step.head_rows = arrays_.keep(drawn.head_rows);
    work_.step.terms = arrays_.keep(terms);
    plan_lora(stream_, work_, drawn.num_rows());
  }

  // y of the three sites that share x: kUntouched and what adapters add to it.
  std::vector<float> apply() {
    const Shapes& shapes = case_.shapes;
    const int stride = *std::max_element(shapes.out_features, shapes.out_features + 3) + 5;
    const DeviceBuffer<float> x = to_device(stream_, case_.x);
    auto y = to_device(
        stream_,
        std::vector<float>(static_cast<std::size_t>(3 * case_.num_rows() * stride), kUntouched));
    LoraModules modules;
    modules.count = 3;
    modules.in_features = shapes.in_features;
    modules.x = x.data();
    modules.y_stride = stride;
    for (int site = 0; site < 3; ++site) {
      modules.out_features[site] = shapes.out_features[site];
      modules.y[site] = y.data() + site * case_.num_rows() * stride;
    }
    apply_lora(stream_, work_, modules, case_.num_rows());
    return to_host(stream_, y);
  }

  std::vector<float> embed(const std::vector<float>& base) {
    auto x = to_device(stream_, base);
    apply_lora_to_embedding(stream_, work_, case_.shapes.vocab_size, case_.shapes.hidden, x.data(),
                            case_.num_rows());
    return to_host(stream_, x);
  }

  std::vector<float> head(const std::vector<float>& normed, const std::vector<float>& base) {
    const DeviceBuffer<float> x = to_device(stream_, normed);
    auto y = to_device(stream_, base);
    const auto count = static_cast<int>(case_.head_rows.size());
    replace_logits(stream_, work_, case_.shapes.vocab_size, case_.shapes.hidden, x.data(), y.data(),
                   count);
    LoraModules modules;
    modules.first_module = kHead;
    modules.in_features = case_.shapes.hidden;
    modules.out_features[0] = case_.shapes.vocab_size;
    modules.x = x.data();
    modules.y[0] = y.data();
    modules.y_stride = case_.shapes.vocab_size;
    modules.of_head_rows = true;
    apply_lora(stream_, work_, modules, count);
    return to_host(stream_, y);
  }

 private:
  void add(const Adapter& adapter) {
    for (int i = 0; i < kNumModules; ++i) {
      const LoraModule& module = adapter.modules[i];
      const LinearShape shape = case_.shapes.of(i);
      const int ranks = pages_of_rank(module.rank) * kRanksPerPage;
      LoraEntry entry;
      entry.rank = module.rank;
      entry.type = adapter.type;
      entry.pages = pages_of(module, adapter.type, shape);
      entry.scales = copied(module.scales, static_cast<std::size_t>(ranks));
      entry.out_scale = copied(module.out_scale, static_cast<std::size_t>(shape.out_features));
      entry.bias = copied(module.bias, static_cast<std::size_t>(shape.out_features));
      entries_.push_back(entry);
    }
    embed_rows_.push_back(own_rows(adapter.embed_rows));
    head_rows_.push_back(own_rows(adapter.head_rows));
  }
  // Each half of each page in memory of its own.
  const LoraPage* pages_of(const LoraModule& module, PageType type, LinearShape shape) {
    const auto bytes = [&](int features) {
      return static_cast<std::size_t>(features * kRanksPerPage) * element_bytes(type);
    };
    std::vector<LoraPage> pages(static_cast<std::size_t>(pages_of_rank(module.rank)));
    for (std::size_t i = 0; i < pages.size(); ++i) {
      const std::size_t a_bytes = bytes(shape.in_features);
      const std::size_t b_bytes = bytes(shape.out_features);
      pages[i] = {copied(module.a + i * a_bytes, a_bytes), copied(module.b + i * b_bytes, b_bytes)};
    }
    return arrays_.keep(pages);
  }
  template <class T>
  const T* copied(const T* data, std::size_t count) {
    return data == nullptr ? nullptr : arrays_.keep(std::vector<T>(data, data + count));
  }
  LoraRows own_rows(const RowOverrides& rows) {
    if (rows.ids.empty()) return {};
    const auto count = rows.ids.size() * static_cast<std::size_t>(case_.shapes.hidden);
    return {copied(rows.ids.data(), rows.ids.size()),
            copied(reinterpret_cast<const std::uint16_t*>(rows.rows), count),
            static_cast<std::int32_t>(rows.ids.size())};
  }

  const Case& case_;
  CudaStream stream_;
  DeviceArrays arrays_;
  std::vector<LoraEntry> entries_;
  std::vector<LoraRows> embed_rows_;
  std::vector<LoraRows> head_rows_;
  DeviceBuffer<std::byte> workspace_;
  LoraWork work_;
};

using reference::Row;

// y as the reference makes it of z.
void expand_reference(const Adapter& adapter, int index, const Shapes& shapes, float weight,
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

void change_reference(const Case& drawn, int row, int index, reference::ConstRow x, Row y) {
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
    const Case drawn = random_case(seed);
    const auto y = OnDevice(drawn).apply();
    const Shapes& shapes = drawn.shapes;
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
    const Case drawn = random_case(seed);
    const auto together = OnDevice(drawn).apply();
    in_every_order([&] { EXPECT_EQ(OnDevice(drawn).apply(), together); });
    const std::size_t site = together.size() / 3;
    const std::size_t stride = site / static_cast<std::size_t>(drawn.num_rows());
    for (int row = 0; row<drawn.num_rows(); row += drawn.num_rows()> 12 ? 11 : 1) {
      const Case one = drawn.only({row});
      const auto alone = OnDevice(one).apply();
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
  Case drawn = random_case(3);
  drawn.terms.assign(drawn.terms.size(), {});
  const auto y = OnDevice(drawn).apply();
  EXPECT_TRUE(std::all_of(y.begin(), y.end(), [](float v) { return v == kUntouched; }));
}

TEST_F(LoraKernels, AgreeWithTheReferenceAtTheEmbedding) {
  for (std::uint32_t seed = 61; seed <= 70; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    const Case drawn = random_case(seed);
    Random random(seed);
    const auto hidden = static_cast<std::size_t>(drawn.shapes.hidden);
    const auto base =
        normal_values(random, static_cast<std::size_t>(drawn.num_rows()) * hidden, 1.0F);
    const auto actual = OnDevice(drawn).embed(base);
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
    const Case drawn = random_case(seed);
    if (drawn.head_rows.empty()) continue;
    Random random(seed);
    const auto hidden = static_cast<std::size_t>(drawn.shapes.hidden);
    const auto vocab = static_cast<std::size_t>(drawn.shapes.vocab_size);
    const auto x = normal_values(random, drawn.head_rows.size() * hidden, 1.0F);
    const auto base = normal_values(random, drawn.head_rows.size() * vocab, 1.0F);
    const auto actual = OnDevice(drawn).head(x, base);
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
