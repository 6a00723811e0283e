#include "tests/kernels/crowd.hpp"

#include <algorithm>
#include <numeric>

namespace tessera {
namespace {

constexpr int kWide = 4096;

ModelSpec draw_spec(Random& random, const CrowdShape& shape) {
  ModelSpec spec = shape.model == CrowdModel::kLlamaNf4 ? RandomModel::random_llama_spec(random)
                                                        : RandomModel::random_spec(random);
  for (LayerSpec& layer : spec.layers) {
    if (shape.window >= 0) layer.window = shape.window;
  }
  if (shape.is_wide) spec.intermediate = spec.vocab_size = kWide;
  return spec;
}

}  // namespace

Crowd::Crowd(std::uint32_t seed, CrowdShape shape)
    : random_(seed),
      model_(random_, draw_spec(random_, shape),
             shape.model == CrowdModel::kLlamaNf4 ? RandomForms::kNf4 : RandomForms::kAny),
      weights_(model_.weights()),
      is_attention_silent_(shape.is_attention_silent),
      parts_(shape.parts),
      int8_pages_(shape.int8_pages) {
  if (is_attention_silent_) silence_attention();
  if (shape.has_quantised_tables) quantise_tables();
  for (int i = 0; i < shape.num_adapters; ++i) {
    adapters_.emplace_back(random_, model_.spec(), i % 2 == 0 ? AdapterParts::kPairs : parts_);
  }
  block_size_ = 1 << uniform(random_, 2, 5);
  sequences_.resize(static_cast<std::size_t>(uniform(random_, 2, shape.max_sequences)));
  BlockId next_block = 0;
  for (TestSequence& sequence : sequences_) {
    sequence.tokens.resize(
        static_cast<std::size_t>(uniform(random_, shape.min_tokens, shape.max_tokens)));
    for (TokenId& token : sequence.tokens)
      token = uniform(random_, 0, model_.spec().vocab_size - 1);
    draw_adapter(sequence, shape.num_adapters);
    sequence.long_rope = chance(random_, 0.3);
    for (int at = 0; at < static_cast<int>(sequence.tokens.size()); at += block_size_) {
      sequence.blocks.push_back(next_block++);
    }
  }
}

void Crowd::draw_adapter(TestSequence& sequence, int num_adapters) {
  sequence.slot = uniform(random_, kNoAdapter, num_adapters - 1);
  if (parts_ == AdapterParts::kPairs) return;
  const int num_tokens = static_cast<int>(sequence.tokens.size());
  if (chance(random_, 0.3)) sequence.lora_start = uniform(random_, 0, num_tokens + 1);
  if (chance(random_, 0.6)) return;
  sequence.slot = kNoAdapter;
  std::vector<AdapterSlot> plain;
  for (AdapterSlot slot = 0; slot < num_adapters; slot += 2) plain.push_back(slot);
  std::shuffle(plain.begin(), plain.end(), random_);
  const int most = std::min(kMaxMixTerms, static_cast<int>(plain.size()));
  plain.resize(static_cast<std::size_t>(uniform(random_, 1, most)));
  for (const AdapterSlot slot : plain) {
    sequence.mix.push_back({slot, static_cast<float>(uniform(random_, -20, 20)) / 10.0F});
  }
}

BackendLimits Crowd::limits(int num_threads) const {
  BackendLimits limits;
  limits.max_rows = limits.max_logit_rows = 1024;
  limits.max_seqs = 16;
  limits.block_size = block_size_;
  limits.num_blocks = 0;
  for (const TestSequence& sequence : sequences_)
    limits.num_blocks += static_cast<int>(sequence.blocks.size());
  limits.max_rank = 33;
  limits.num_threads = num_threads;
  return limits;
}

void Crowd::add_adapters(Backend& backend) const {
  for (std::size_t i = 0; i < adapters_.size(); ++i) {
    const bool int8 = int8_pages_ && i % 4 < 2;
    LoraView view = adapters_[i].view(int8 ? PageType::kInt8 : backend.page_type());
    silence(view);
    backend.add_adapter(view);
  }
}

void Crowd::silence(LoraView& view) const {
  if (!is_attention_silent_) return;
  for (LoraLayer& layer : view.layers) layer[static_cast<std::size_t>(Linear::kO)] = {};
}

void Crowd::silence_attention() {
  const auto [out, in] = model_.spec().shape(Linear::kO);
  zeros_.resize(static_cast<std::size_t>(out) * static_cast<std::size_t>(in));
  for (LayerWeights& layer : weights_.layers) {
    layer.linears[static_cast<std::size_t>(Linear::kO)] = bf16_matrix(zeros_.data(), out, in);
  }
}

// The embedding in 8 bits, a scale a row; the head, unless they are one, in 4 bits of a book with
// offsets, its columns in an order of their own.
void Crowd::quantise_tables() {
  const auto [vocab, hidden] = std::pair(model_.spec().vocab_size, model_.spec().hidden);
  const std::size_t size = static_cast<std::size_t>(vocab) * static_cast<std::size_t>(hidden);
  codes_.resize(size);
  for (std::uint8_t& code : codes_) code = static_cast<std::uint8_t>(uniform(random_, 0, 255));
  scales_.resize(size / 32);
  for (float& scale : scales_) scale = 1e-4F * static_cast<float>(uniform(random_, 100, 200));
  order_.resize(static_cast<std::size_t>(hidden));
  std::iota(order_.begin(), order_.end(), 0);
  std::shuffle(order_.begin(), order_.end(), random_);
  WeightMatrix table;
  table.rows = vocab;
  table.cols = hidden;
  table.form = WeightForm::kInt8;
  table.codes = codes_.data();
  table.group = hidden;
  table.scales = scales_.data();
  weights_.embedding = weights_.head = table;
  if (model_.spec().tied_embeddings) return;
  weights_.head.form = WeightForm::kBook16;
  for (float& value : weights_.head.book) value = static_cast<float>(uniform(random_, -7, 8));
  weights_.head.group = 32;
  weights_.head.offsets = scales_.data();
  weights_.head.order = order_.data();
}

std::vector<std::vector<Logits>> Crowd::run_together(Backend& backend,
                                                     std::uint32_t schedule_seed) const {
  Random schedule(schedule_seed);
  std::vector<TestSequence> sequences = sequences_;
  for (;;) {
    std::vector<Chunk> chunks;
    for (TestSequence& sequence : sequences) {
      const bool is_idle = chance(schedule, 0.3);
      if (sequence.left() == 0 || is_idle) continue;
      const int most = chance(schedule, 0.5) ? 1 : sequence.left();
      chunks.push_back({&sequence, uniform(schedule, 1, most)});
    }
    std::shuffle(chunks.begin(), chunks.end(), schedule);
    if (!chunks.empty()) run_step(backend, model_.spec(), chunks);
    if (std::all_of(sequences.begin(), sequences.end(),
                    [](const auto& s) { return s.left() == 0; }))
      break;
  }
  std::vector<std::vector<Logits>> logits;
  for (TestSequence& sequence : sequences) logits.push_back(std::move(sequence.logits));
  return logits;
}

std::vector<Logits> Crowd::run_alone(Backend& backend, std::size_t index) const {
  TestSequence sequence = sequences_[index];
  std::reverse(sequence.blocks.begin(), sequence.blocks.end());
  const Chunk whole[] = {{&sequence, sequence.left()}};
  run_step(backend, model_.spec(), whole);
  return sequence.logits;
}

}  // namespace tessera
