#include "tests/bench/cpu/step_bench.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <stdexcept>

namespace tessera {
namespace {

constexpr int kMaxSeqs = 32;
constexpr int kMaxRank = 64;
constexpr int kBlocksPerSeq = 32;  // at least, so that a sequence lies at the same place each time
constexpr double kCacheBytes = 2.0;  // of a key's or a value's element

BackendLimits limits_of(int num_threads) {
  BackendLimits limits;
  limits.max_seqs = kMaxSeqs;
  limits.max_logit_rows = kMaxSeqs;
  limits.num_blocks = kMaxSeqs * kBlocksPerSeq;
  limits.max_rank = kMaxRank;
  limits.num_threads = num_threads;
  limits.head_form = HeadForm::kInt8;  // the peer's has 6 or 8 bits
  return limits;
}

// The arrays of one step, and the view of them that a backend takes.
struct Step {
  Step(int first_seq, std::vector<AdapterSlot> used, int first_position, int tokens,
       const ModelSpec& spec, const BackendLimits& limits)
      : slots(std::move(used)) {
    const int blocks_each =
        std::max(kBlocksPerSeq, (first_position + tokens - 1) / limits.block_size + 1);
    for (int seq = first_seq; seq < first_seq + static_cast<int>(slots.size()); ++seq) {
      for (int position = first_position; position < first_position + tokens; ++position) {
        ids.push_back((seq * 1009 + position * 97 + 11) % spec.vocab_size);
        positions.push_back(position);
      }
      for (int i = 0; i < blocks_each; ++i) blocks.push_back(seq * blocks_each + i);
      seq_indptr.push_back(static_cast<std::int32_t>(ids.size()));
      block_indptr.push_back(static_cast<std::int32_t>(blocks.size()));
      head_rows.push_back(static_cast<std::int32_t>(ids.size()) - 1);
    }
  }

  StepInput input() const {
    return {ids, positions, seq_indptr, blocks, block_indptr, slots, head_rows};
  }

  std::vector<TokenId> ids;
  std::vector<std::int32_t> positions, seq_indptr = {0}, block_indptr = {0}, head_rows;
  std::vector<BlockId> blocks;
  std::vector<AdapterSlot> slots;
};

void run_stages(Backend& backend, int num_layers, const StepInput& input) {
  backend.begin(input);
  backend.embed();
  for (int layer = 0; layer < num_layers; ++layer) {
    backend.qkv(layer);
    backend.attention(layer);
    backend.o_proj(layer);
    backend.gate_up(layer);
    backend.down(layer);
  }
  backend.head();
}

// Weights of all linears of all layers.
double linear_weights(const ModelSpec& spec) {
  double weights = 0.0;
  for (const Linear linear : kAllLinears) {
    const LinearShape shape = spec.shape(linear);
    weights += static_cast<double>(shape.out_features) * shape.in_features;
  }
  return weights * spec.num_layers();
}

double head_weights(const ModelSpec& spec) {
  return static_cast<double>(spec.vocab_size) * spec.hidden;
}

int first_position(const StepCase& step_case) {
  return step_case.tokens == 1 ? kDecodeContext : 0;
}

}  // namespace

StepBench::StepBench(const ModelSpec& spec, int num_threads)
    : model_(spec),
      limits_(limits_of(num_threads)),
      backend_(make_cpu_backend(model_.weights(), limits_)) {}

std::vector<double> StepBench::run(const StepCase& step_case, int steps) {
  const bool decodes = step_case.tokens == 1;
  if (decodes) fill_cache(step_case.seqs);
  std::vector<double> seconds;
  seconds.reserve(static_cast<std::size_t>(steps));
  if (decodes) case_seconds(step_case, kDecodeContext);
  for (int i = 0; i < steps; ++i) {
    seconds.push_back(case_seconds(step_case, decodes ? kDecodeContext + 1 + i : 0));
  }
  for (int seq = 0; seq < step_case.seqs; ++seq) {
    if (!std::ranges::all_of(backend_->logits(seq), [](float x) { return std::isfinite(x); })) {
      throw std::runtime_error("a logit is not finite");
    }
  }
  return seconds;
}

double StepBench::case_seconds(const StepCase& step_case, int first_position) {
  using Clock = std::chrono::steady_clock;
  const int end = first_position + step_case.tokens;
  const int tokens_a_step = limits_.max_rows / step_case.seqs;
  Clock::duration taken{};
  for (int position = first_position; position < end; position += tokens_a_step) {
    const int tokens = std::min(tokens_a_step, end - position);
    Step step(0, slots(step_case), position, tokens, model_.spec(), limits_);
    if (position + tokens < end) step.head_rows.clear();
    const StepInput input = step.input();
    const auto began = Clock::now();
    run_stages(*backend_, model_.spec().num_layers(), input);
    taken += Clock::now() - began;
  }
  return std::chrono::duration<double>(taken).count();
}

// Keys and values are written by the projections; the rest of each layer is left out, so the
// values are those of another model. It is their memory that matters.
void StepBench::fill_cache(int seqs) {
  for (; filled_seqs_ < seqs; ++filled_seqs_) {
    const Step step(filled_seqs_, {kNoAdapter}, 0, kDecodeContext, model_.spec(), limits_);
    backend_->begin(step.input());
    backend_->embed();
    for (int layer = 0; layer < model_.spec().num_layers(); ++layer) backend_->qkv(layer);
  }
}

const StepBench::Adapter& StepBench::adapter(const StepCase& step_case, int seq) {
  const int number = seq % step_case.adapters;
  const int rank = step_case.ranks[static_cast<std::size_t>(number) % step_case.ranks.size()];
  auto& adapter = adapters_[{number, rank}];
  if (!adapter) {
    adapter.reset(new Adapter{{model_.spec(), rank, backend_->page_type()}, kNoAdapter});
    adapter->slot = backend_->add_adapter(adapter->pages.view());
  }
  return *adapter;
}

std::vector<AdapterSlot> StepBench::slots(const StepCase& step_case) {
  std::vector<AdapterSlot> slots(static_cast<std::size_t>(step_case.seqs), kNoAdapter);
  if (step_case.adapters == 0) return slots;
  for (int seq = 0; seq < step_case.seqs; ++seq) {
    slots[static_cast<std::size_t>(seq)] = adapter(step_case, seq).slot;
  }
  return slots;
}

double StepBench::bytes_due(const StepCase& step_case) {
  const ModelSpec& spec = model_.spec();
  const double rows = static_cast<double>(step_case.seqs) * step_case.tokens;
  double adapters = 0.0;
  for (int i = 0; i < std::min(step_case.adapters, step_case.seqs); ++i) {
    adapters += static_cast<double>(adapter(step_case, i).pages.bytes());
  }
  const double positions =
      static_cast<double>(step_case.seqs) * (first_position(step_case) + step_case.tokens);
  const double cache = positions * 2.0 * spec.kv_dim() * kCacheBytes * spec.num_layers();
  return static_cast<double>(backend_->weight_bytes()) + rows * spec.hidden * sizeof(Bf16) +
         adapters + cache;
}

double StepBench::flops_due(const StepCase& step_case) const {
  const ModelSpec& spec = model_.spec();
  const double rows = static_cast<double>(step_case.seqs) * step_case.tokens;
  const double attended = first_position(step_case) + (step_case.tokens + 1) / 2.0;  // mean
  const double attention = 2.0 * 2.0 * spec.q_dim() * attended * spec.num_layers();
  return rows * (2.0 * linear_weights(spec) + attention) +
         step_case.seqs * 2.0 * head_weights(spec);
}

}  // namespace tessera
