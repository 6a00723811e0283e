// adapter_meaning_test.cpp — what it means on every backend that an adapter has more than pairs,
// that it begins in the middle of a prompt, and that a sequence mixes several: each claim without
// the help of another backend.
#include <algorithm>
#include <deque>
#include <limits>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include <gtest/gtest.h>

#include "kernels/cpu/cpu_path.hpp"
#include "tests/kernels/crowd.hpp"

namespace tessera {
namespace {

std::size_t area(std::size_t rows, int cols) {
  return rows * static_cast<std::size_t>(cols);
}

std::unique_ptr<Backend> make_backend(std::string_view name, const ModelWeights& weights,
                                      const BackendLimits& limits) {
  if (name == "reference") return make_reference_backend(weights, limits);
  return make_cpu_backend(weights, limits, name);
}

// A model of bf16 matrices, and an adapter that comes to another base: the scales of its outputs
// are powers of two, so that the matrices with scaled rows are bf16 too.
class ChangedBase {
 public:
  explicit ChangedBase(Random& random) : model_(random, RandomModel::random_llama_spec(random)) {
    base_ = changed_ = model_.weights();
    adapter_.layers.resize(spec().layers.size());
    for (std::size_t layer = 0; layer < spec().layers.size(); ++layer) {
      for (const Linear linear : kAllLinears) change(random, layer, linear);
    }
    change_tables(random);
  }
  ChangedBase(const ChangedBase&) = delete;
  ChangedBase& operator=(const ChangedBase&) = delete;

  const ModelSpec& spec() const { return model_.spec(); }
  const ModelWeights& base() const { return base_; }
  const ModelWeights& changed() const { return changed_; }
  LoraView adapter(PageType type) const {
    LoraView view = adapter_;
    view.type = type;
    const bool bf16 = type == PageType::kBf16;
    view.embed_rows.rows = bytes(bf16 ? static_cast<const void*>(embed_rows_.data())
                                      : static_cast<const void*>(embed_rows_fp32_.data()));
    view.head_rows.rows = bytes(bf16 ? static_cast<const void*>(head_rows_.data())
                                     : static_cast<const void*>(head_rows_fp32_.data()));
    return view;
  }

 private:
  static const std::byte* bytes(const void* data) { return static_cast<const std::byte*>(data); }
  static std::vector<float> powers_of_two(Random& random, int count) {
    constexpr float kPowers[] = {0.5F, 1.0F, 2.0F, -1.0F};
    std::vector<float> values(static_cast<std::size_t>(count));
    for (float& value : values) value = kPowers[uniform(random, 0, 3)];
    return values;
  }
  const float* keep(std::vector<float> values) {
    return floats_.emplace_back(std::move(values)).data();
  }
  WeightMatrix keep(const std::vector<float>& values, int rows, int cols) {
    std::vector<Bf16>& kept = halves_.emplace_back(values.size());
    std::transform(values.begin(), values.end(), kept.begin(), float_to_bf16);
    return bf16_matrix(kept.data(), rows, cols);
  }

  void change(Random& random, std::size_t layer, Linear linear) {
    const auto index = static_cast<std::size_t>(linear);
    const auto [out, in] = spec().shape(linear);
    std::vector<float> values(area(static_cast<std::size_t>(out), in));
    dequantize(model_.weights().layers[layer].linears[index], values);
    base_.layers[layer].linears[index] = keep(values, out, in);
    const std::vector<float> scales = powers_of_two(random, out);
    for (std::size_t i = 0; i < values.size(); ++i) {
      values[i] *= scales[i / static_cast<std::size_t>(in)];
    }
    changed_.layers[layer].linears[index] = keep(values, out, in);

    std::vector<float> bias = normal_values(random, static_cast<std::size_t>(out), 0.3F);
    adapter_.layers[layer][index].out_scale = keep(scales);
    adapter_.layers[layer][index].bias = keep(bias);
    const float* base_bias = base_.layers[layer].biases[index];
    for (std::size_t n = 0; base_bias != nullptr && n < bias.size(); ++n) bias[n] += base_bias[n];
    changed_.spec.layers[layer].set_bias(linear);
    changed_.layers[layer].biases[index] = keep(std::move(bias));
  }

  // Rows of the embedding, and rows and an output scale of the head. The head has its own rows also
  // where the base's is its embedding.
  void change_tables(Random& random) {
    changed_.spec.tied_embeddings = false;
    const int vocab = spec().vocab_size;
    std::vector<float> embedding(area(static_cast<std::size_t>(vocab), spec().hidden));
    std::vector<float> head(embedding.size());
    dequantize(base_.embedding, embedding);
    dequantize(base_.head, head);
    replace(random, {3, 7, vocab - 1}, 1.0F, embedding, embed_rows_, embed_rows_fp32_);
    replace(random, {0, 7, vocab - 2}, 0.1F, head, head_rows_, head_rows_fp32_);
    const std::vector<float> scales = powers_of_two(random, vocab);
    for (std::size_t i = 0; i < head.size(); ++i) {
      head[i] *= scales[i / static_cast<std::size_t>(spec().hidden)];
    }
    changed_.embedding = keep(embedding, vocab, spec().hidden);
    changed_.head = keep(head, vocab, spec().hidden);
    adapter_.embed_rows.ids = ids_.emplace_back(std::vector<TokenId>{3, 7, vocab - 1});
    adapter_.head_rows.ids = ids_.emplace_back(std::vector<TokenId>{0, 7, vocab - 2});
    adapter_.head.out_scale = keep(scales);
  }
  void replace(Random& random, const std::vector<TokenId>& ids, float deviation,
               std::vector<float>& table, std::vector<Bf16>& bf16, std::vector<float>& fp32) {
    const auto hidden = static_cast<std::size_t>(spec().hidden);
    for (const float value : normal_values(random, ids.size() * hidden, deviation)) {
      bf16.push_back(float_to_bf16(value));
      fp32.push_back(bf16_to_float(bf16.back()));
    }
    for (std::size_t i = 0; i < ids.size(); ++i) {
      std::copy_n(
          fp32.begin() + static_cast<std::ptrdiff_t>(i * hidden), hidden,
          table.begin() + static_cast<std::ptrdiff_t>(static_cast<std::size_t>(ids[i]) * hidden));
    }
  }

  RandomModel model_;
  ModelWeights base_;
  ModelWeights changed_;
  LoraView adapter_;
  std::deque<std::vector<float>> floats_;
  std::deque<std::vector<Bf16>> halves_;
  std::deque<std::vector<TokenId>> ids_;
  std::vector<Bf16> embed_rows_;
  std::vector<Bf16> head_rows_;
  std::vector<float> embed_rows_fp32_;
  std::vector<float> head_rows_fp32_;
};

class AdapterMeaning : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    if (is_reference()) return;
    try {
      choose_cpu_path(GetParam());
    } catch (const std::invalid_argument& unavailable) {
      GTEST_SKIP() << unavailable.what();
    }
  }
  static bool is_reference() { return std::string_view(GetParam()) == "reference"; }
  static bool integers() {
    return !is_reference() && kernels_of(choose_cpu_path(GetParam())).quantise != nullptr;
  }
  static std::unique_ptr<Backend> make(const Crowd& crowd) {
    BackendLimits limits = crowd.limits(2);
    limits.max_rank = kMaxMixTerms * 33;
    auto backend = make_backend(GetParam(), crowd.weights(), limits);
    crowd.add_adapters(*backend);
    return backend;
  }
  static std::vector<Logits> run(Backend& backend, const ModelSpec& spec, TestSequence sequence) {
    const Chunk whole[] = {{&sequence, sequence.left()}};
    run_step(backend, spec, whole);
    return sequence.logits;
  }
  static void expect_close(const std::vector<Logits>& actual, const std::vector<Logits>& expected,
                           double tolerance) {
    ASSERT_EQ(actual.size(), expected.size());
    for (std::size_t i = 0; i < actual.size(); ++i) {
      EXPECT_LE(relative_error(actual[i], expected[i]), tolerance) << "position " << i;
    }
  }
};

TEST_P(AdapterMeaning, ScalesBiasesAndRowsComeToAnotherBase) {
  for (std::uint32_t seed = 1; seed <= 6; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Random random(seed);
    const ChangedBase model(random);
    TestSequence sequence;
    for (int i = 0; i < 12; ++i) {
      sequence.tokens.push_back(i % 3 == 0 ? 7 : uniform(random, 0, model.spec().vocab_size - 1));
    }
    sequence.blocks = {0};
    const BackendLimits limits{.max_rows = 16, .max_logit_rows = 16, .num_blocks = 1};
    const auto changed = make_backend(GetParam(), model.changed(), limits);
    const auto expected = run(*changed, model.spec(), sequence);

    const auto backend = make_backend(GetParam(), model.base(), limits);
    const auto base = run(*backend, model.spec(), sequence);
    sequence.slot = backend->add_adapter(model.adapter(backend->page_type()));
    expect_close(run(*backend, model.spec(), sequence), expected, is_reference() ? 1e-5 : 1e-3);
    EXPECT_GT(relative_error(base.back(), expected.back()), 0.1) << "it changed nothing";
  }
}

// x = embedding_scale * (out_scale * (row + B A[token]) + bias)
TEST_P(AdapterMeaning, TheModelScalesTheEmbeddingAfterAllThatTheAdapterDoesToIt) {
  Random random(3);
  ModelSpec spec = RandomModel::random_llama_spec(random);
  spec.embedding_scale = 8.0F;
  const RandomModel model(random, spec);
  const auto hidden = static_cast<std::size_t>(spec.hidden);
  const auto vocab = static_cast<std::size_t>(spec.vocab_size);
  const TokenId ids[] = {5};
  std::vector<Bf16> row(hidden);
  std::vector<Bf16> a(vocab * kRanksPerPage);
  std::vector<Bf16> b(hidden * kRanksPerPage);
  std::vector<float> out_scale(hidden);
  std::vector<float> bias(hidden);
  for (std::size_t i = 0; i < hidden; ++i) {
    row[i] = float_to_bf16(static_cast<float>(i));
    b[i] = float_to_bf16(0.5F * static_cast<float>(i % 7));
    out_scale[i] = i % 2 == 0 ? 2.0F : -0.5F;
    bias[i] = static_cast<float>(i % 5);
  }
  for (const std::size_t token : {5U, 6U}) a[token * kRanksPerPage] = float_to_bf16(3.0F);
  const auto floats = [](const std::vector<Bf16>& values) {
    std::vector<float> widened(values.size());
    std::transform(values.begin(), values.end(), widened.begin(), bf16_to_float);
    return widened;
  };
  const auto [row32, a32, b32] = std::tuple(floats(row), floats(a), floats(b));
  const auto backend = make_backend(GetParam(), model.weights(), {.max_rows = 4, .num_blocks = 1});
  const bool bf16 = backend->page_type() == PageType::kBf16;
  const auto page = [&](const auto& halves, const auto& singles) {
    return bf16 ? reinterpret_cast<const std::byte*>(halves.data())
                : reinterpret_cast<const std::byte*>(singles.data());
  };
  LoraView view;
  view.type = backend->page_type();
  view.layers.resize(spec.layers.size());
  view.embed = {.rank = 1,
                .a = page(a, a32),
                .b = page(b, b32),
                .out_scale = out_scale.data(),
                .bias = bias.data()};
  view.embed_rows = {.ids = ids, .rows = page(row, row32)};

  const TokenId tokens[] = {5, 6};
  const std::int32_t positions[] = {0, 1};
  const std::int32_t seq_indptr[] = {0, 2};
  const BlockId blocks[] = {0};
  const std::int32_t block_indptr[] = {0, 1};
  const AdapterSlot slots[] = {backend->add_adapter(view)};
  backend->begin({tokens, positions, seq_indptr, blocks, block_indptr, slots, {}});
  backend->embed();
  std::vector<float> base(hidden);
  decode_row(model.weights().embedding, 6, base);
  for (std::size_t i = 0; i < hidden; ++i) {
    const float delta = 3.0F * b32[i];
    const float own = 8.0F * (out_scale[i] * (row32[i] + delta) + bias[i]);
    const float shared = 8.0F * (out_scale[i] * (base[i] + delta) + bias[i]);
    EXPECT_FLOAT_EQ(backend->residual()[i], own) << i;
    EXPECT_FLOAT_EQ(backend->residual()[hidden + i], shared) << i;
  }
}

TEST_P(AdapterMeaning, RowsBeforeTheStartAreTheBasesInEveryRespect) {
  for (std::uint32_t seed = 1; seed <= 6; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Crowd crowd(seed, {.parts = AdapterParts::kAll,
                       .num_adapters = 2,
                       .max_sequences = 2,
                       .min_tokens = 12,
                       .max_tokens = 12});
    const auto backend = make(crowd);
    const ModelSpec& spec = crowd.model().spec();
    TestSequence sequence = crowd.sequence(0);
    sequence.mix.clear();
    sequence.slot = 1;
    for (const int start : {0, 1, 5, 11, 12, std::numeric_limits<std::int32_t>::max()}) {
      TestSequence in_two = sequence;
      in_two.lora_start = 0;
      in_two.slot = kNoAdapter;
      const Chunk before[] = {{&in_two, std::min(start, 12)}};
      if (start > 0) run_step(*backend, spec, before);
      in_two.slot = 1;
      const Chunk after[] = {{&in_two, in_two.left()}};
      if (in_two.left() > 0) run_step(*backend, spec, after);

      sequence.lora_start = start;
      EXPECT_EQ(run(*backend, spec, sequence), in_two.logits) << "start " << start;
    }
  }
}

TEST_P(AdapterMeaning, AMixIsTheAdapterOfAllItsRanks) {
  for (std::uint32_t seed = 1; seed <= 8; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Crowd crowd(seed, {.is_attention_silent = seed % 2 == 0, .num_adapters = 4, .max_tokens = 20});
    const auto backend = make(crowd);
    const ModelSpec& spec = crowd.model().spec();
    const int count = 1 + static_cast<int>(seed) % kMaxMixTerms;
    constexpr float kWeights[kMaxMixTerms] = {0.5F, -1.0F, 2.0F, 0.25F};
    std::vector<const RandomAdapter*> adapters;
    TestSequence mixed = crowd.sequence(0);
    mixed.slot = kNoAdapter;
    for (int i = 0; i < count; ++i) {
      const int slot = (i + static_cast<int>(seed)) % kMaxMixTerms;
      adapters.push_back(&crowd.adapter(static_cast<std::size_t>(slot)));
      mixed.mix.push_back({slot, kWeights[i]});
    }
    const RandomAdapter joined(spec, adapters, std::span(kWeights).first(adapters.size()));
    LoraView view = joined.view(backend->page_type());
    crowd.silence(view);
    TestSequence alone = crowd.sequence(0);
    alone.slot = backend->add_adapter(view);
    const auto expected = run(*backend, spec, alone);
    const LayerSpec& layer = spec.layers.front();
    const bool steep = !layer.pre_norms && layer.qk_norm == QkNorm::kNone;
    const bool silent = seed % 2 == 0;
    const double close = is_reference() ? 1e-5 : !silent ? 1e-3 : integers() ? 1e-4 : 1e-5;
    if (!steep || silent) expect_close(run(*backend, spec, mixed), expected, close);
  }
}

TEST_P(AdapterMeaning, AMixOfOneTakenOnceIsTheAdapterToTheBit) {
  for (std::uint32_t seed = 11; seed <= 14; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Crowd crowd(seed, {.num_adapters = 2});
    const auto backend = make(crowd);
    TestSequence sequence = crowd.sequence(0);
    sequence.slot = 1;
    const auto alone = run(*backend, crowd.model().spec(), sequence);
    sequence.slot = kNoAdapter;
    sequence.mix = {{1, 1.0F}};
    EXPECT_EQ(run(*backend, crowd.model().spec(), sequence), alone);
    sequence.mix = {{1, 0.0F}};
    const auto nothing = run(*backend, crowd.model().spec(), sequence);
    sequence.mix.clear();
    EXPECT_EQ(run(*backend, crowd.model().spec(), sequence), nothing);
  }
}

// The terms are added in the order of the mix, which is not the order of the slots, nor that in
// which the step meets the adapters.
TEST_P(AdapterMeaning, AMixIsTheSameToTheBitWhateverElseUsesItsAdapters) {
  for (std::uint32_t seed = 21; seed <= 24; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Crowd crowd(seed, {.num_adapters = 4, .max_sequences = 2, .min_tokens = 9, .max_tokens = 9});
    const auto backend = make(crowd);
    const ModelSpec& spec = crowd.model().spec();
    const std::vector<std::vector<MixTerm>> mixes = {{{2, 0.7F}, {0, -0.3F}, {1, 1.1F}},
                                                     {{0, 0.3F}, {1, 0.9F}, {2, 0.2F}, {3, 1.0F}},
                                                     {{1, 0.3F}, {2, 0.9F}},
                                                     {},
                                                     {{3, 1.0F}}};
    const AdapterSlot slots[] = {kNoAdapter, kNoAdapter, kNoAdapter, 2, kNoAdapter};
    const int blocks_each = static_cast<int>(crowd.sequence(0).blocks.size());
    BackendLimits limits = crowd.limits(2);
    limits.num_blocks = blocks_each * static_cast<int>(mixes.size());
    const auto crowded = make_backend(GetParam(), crowd.weights(), limits);
    crowd.add_adapters(*crowded);
    std::vector<TestSequence> sequences(mixes.size(), crowd.sequence(0));
    std::vector<Chunk> chunks;
    for (std::size_t i = 0; i < mixes.size(); ++i) {
      sequences[i].mix = mixes[i];
      sequences[i].slot = slots[i];
      for (BlockId& block : sequences[i].blocks) block += static_cast<int>(i) * blocks_each;
      chunks.push_back({&sequences[i], sequences[i].left()});
    }
    std::vector<std::vector<Logits>> alone;
    for (const TestSequence& sequence : sequences) {
      TestSequence at_first = sequence;
      at_first.blocks = crowd.sequence(0).blocks;
      alone.push_back(run(*backend, spec, at_first));
    }
    std::reverse(chunks.begin(), chunks.end());
    run_step(*crowded, spec, chunks);
    for (std::size_t i = 0; i < mixes.size(); ++i) EXPECT_EQ(sequences[i].logits, alone[i]) << i;
    EXPECT_NE(alone[0], alone[1]);
  }
}

INSTANTIATE_TEST_SUITE_P(Backends, AdapterMeaning,
                         testing::Values("reference", "portable", "avx2", "avx512", "avx512vnni",
                                         "amx"),
                         [](const auto& test) { return std::string(test.param); });

}  // namespace
}  // namespace tessera
