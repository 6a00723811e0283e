#include "tests/kernels/crowd.hpp"

#include <algorithm>

namespace tessera {

Crowd::Crowd(std::uint32_t seed, CrowdShape shape) : random_(seed), model_(random_) {
  for (int i = 0; i < shape.num_adapters; ++i) adapters_.emplace_back(random_, model_.spec());
  block_size_ = 1 << uniform(random_, 2, 5);
  sequences_.resize(static_cast<std::size_t>(uniform(random_, 2, shape.max_sequences)));
  BlockId next_block = 0;
  for (TestSequence& sequence : sequences_) {
    sequence.tokens.resize(
        static_cast<std::size_t>(uniform(random_, shape.min_tokens, shape.max_tokens)));
    for (TokenId& token : sequence.tokens)
      token = uniform(random_, 0, model_.spec().vocab_size - 1);
    sequence.slot = uniform(random_, kNoAdapter, shape.num_adapters - 1);
    for (int at = 0; at < static_cast<int>(sequence.tokens.size()); at += block_size_) {
      sequence.blocks.push_back(next_block++);
    }
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
  for (const RandomAdapter& adapter : adapters_)
    backend.add_adapter(adapter.view(backend.page_type()));
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
