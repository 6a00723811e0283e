#include "tests/kernels/step_runner.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace tessera {

double relative_error(const Logits& actual, const Logits& expected) {
  double error = 0.0;
  double largest = 1e-30;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const double difference = static_cast<double>(actual[i]) - static_cast<double>(expected[i]);
    if (std::isnan(difference)) return difference;
    error = std::max(error, std::abs(difference));
    largest = std::max(largest, std::abs(static_cast<double>(expected[i])));
  }
  return error / largest;
}

void run_stages(Backend& backend, const ModelSpec& spec, const StepInput& input) {
  backend.begin(input);
  backend.embed();
  for (int layer = 0; layer < spec.num_layers(); ++layer) {
    backend.qkv(layer);
    backend.attention(layer);
    backend.o_proj(layer);
    backend.gate_up(layer);
    backend.down(layer);
  }
  backend.head();
}

void run_step(Backend& backend, const ModelSpec& spec, std::span<const Chunk> chunks) {
  std::vector<TokenId> tokens;
  std::vector<std::int32_t> positions;
  std::vector<std::int32_t> seq_indptr = {0};
  std::vector<BlockId> blocks;
  std::vector<std::int32_t> block_indptr = {0};
  std::vector<AdapterSlot> slots;
  std::vector<std::uint8_t> long_rope;
  std::vector<std::int32_t> lora_start;
  std::vector<MixTerm> mixes;
  std::vector<std::int32_t> mix_indptr = {0};
  for (const auto& [sequence, count] : chunks) {
    for (int i = 0; i < count; ++i) {
      positions.push_back(sequence->computed() + i);
      tokens.push_back(sequence->tokens[static_cast<std::size_t>(positions.back())]);
    }
    blocks.insert(blocks.end(), sequence->blocks.begin(), sequence->blocks.end());
    seq_indptr.push_back(static_cast<std::int32_t>(tokens.size()));
    block_indptr.push_back(static_cast<std::int32_t>(blocks.size()));
    slots.push_back(sequence->slot);
    long_rope.push_back(sequence->long_rope ? 1 : 0);
    lora_start.push_back(sequence->lora_start);
    mixes.insert(mixes.end(), sequence->mix.begin(), sequence->mix.end());
    mix_indptr.push_back(static_cast<std::int32_t>(mixes.size()));
  }
  std::vector<std::int32_t> head_rows(tokens.size());
  std::iota(head_rows.begin(), head_rows.end(), 0);
  run_stages(backend, spec,
             {tokens, positions, seq_indptr, blocks, block_indptr, slots, head_rows, long_rope,
              lora_start, mixes, mix_indptr});
  int row = 0;
  for (const auto& [sequence, count] : chunks) {
    for (int i = 0; i < count; ++i, ++row) {
      const std::span<const float> logits = backend.logits(row);
      sequence->logits.emplace_back(logits.begin(), logits.end());
    }
  }
}

}  // namespace tessera
