// attention_bench.cpp — the attention stage alone, on the heads of Llama-3.2-1B and Qwen2.5-0.5B,
// and what barriers cost a step of a tiny model. By hand: prints speeds, claims nothing.
//
//   attention_bench [path [threads [int8]]]     int8: keys and values in 8 bits
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <limits>
#include <string>
#include <string_view>

#include "kernels/backend.hpp"
#include "tests/kernels/random_model.hpp"
#include "tests/kernels/step_runner.hpp"

namespace tessera {
namespace {

constexpr int kLayers = 6;  // so that the cache of a long context is not in a processor's

ModelSpec spec_of(int heads, int kv_heads, int hidden, int intermediate, int layers) {
  ModelSpec spec;
  spec.vocab_size = 64;
  spec.hidden = hidden;
  spec.intermediate = intermediate;
  spec.num_heads = heads;
  spec.num_kv_heads = kv_heads;
  spec.head_dim = 64;
  spec.max_positions = 4096;
  spec.tied_embeddings = true;
  spec.ropes = {{.inv_freq = plain_inv_freq(10000.0F, spec.head_dim)}};
  spec.layers.resize(static_cast<std::size_t>(layers));
  for (LayerSpec& layer : spec.layers) layer.attention_scale = 0.125F;
  return spec;
}

// The fastest of a few: what the machine can do when nobody disturbs it.
double best_seconds(int repeats, const std::function<void()>& work) {
  using Clock = std::chrono::steady_clock;
  double best = std::numeric_limits<double>::infinity();
  work();
  for (int i = 0; i < repeats; ++i) {
    const auto start = Clock::now();
    work();
    best = std::min(best, std::chrono::duration<double>(Clock::now() - start).count());
  }
  return best;
}

struct Step {
  Step(int seqs, int first_position, int tokens_each, int block_size) {
    for (int seq = 0; seq < seqs; ++seq) {
      for (int i = 0; i < tokens_each; ++i) {
        tokens.push_back((seq * 7 + i) % 64);
        positions.push_back(first_position + i);
      }
      const int blocks_each = (4096 + block_size - 1) / block_size;
      for (int i = 0; i < blocks_each; ++i) blocks.push_back(seq * blocks_each + i);
      seq_indptr.push_back(static_cast<std::int32_t>(tokens.size()));
      block_indptr.push_back(static_cast<std::int32_t>(blocks.size()));
      head_rows.push_back(static_cast<std::int32_t>(tokens.size()) - 1);
      slots.push_back(kNoAdapter);
    }
  }
  StepInput input() const {
    return {tokens, positions, seq_indptr, blocks, block_indptr, slots, head_rows};
  }

  std::vector<TokenId> tokens;
  std::vector<std::int32_t> positions, seq_indptr = {0}, block_indptr = {0}, head_rows;
  std::vector<BlockId> blocks;
  std::vector<AdapterSlot> slots;
};

void fill_cache(Backend& backend, int seqs, int positions) {
  for (int at = 0; at < positions; at += 512 / seqs) {
    const Step step(seqs, at, std::min(512 / seqs, positions - at), 16);
    backend.begin(step.input());
    backend.embed();
    for (int layer = 0; layer < kLayers; ++layer) backend.qkv(layer);
  }
}

void time_attention(Backend& backend, const char* what, int seqs, int first, int tokens) {
  const Step step(seqs, first, tokens, 16);
  backend.begin(step.input());
  backend.embed();
  for (int layer = 0; layer < kLayers; ++layer) backend.qkv(layer);
  const double seconds = best_seconds(tokens > 1 ? 5 : 40, [&] {
    for (int layer = 0; layer < kLayers; ++layer) backend.attention(layer);
  });
  std::printf("  %-28s %9.3f ms a layer\n", what, seconds * 1e3 / kLayers);
}

void time_shape(const char* name, int heads, int kv_heads, BackendLimits limits, const char* path) {
  Random random(1);
  const RandomModel model(random, spec_of(heads, kv_heads, heads * 64, 64, kLayers));
  limits.num_blocks = 4 * 256;
  const auto backend = make_cpu_backend(model.weights(), limits, path);
  std::printf("%s, %s, %d threads\n", name, std::string(backend->name()).c_str(),
              limits.num_threads);
  fill_cache(*backend, 4, 4095);
  time_attention(*backend, "prefill 512", 1, 0, 512);
  time_attention(*backend, "512 after 3584", 1, 3584, 512);
  time_attention(*backend, "decode at 4096, batch 1", 1, 4095, 1);
  time_attention(*backend, "decode at 4096, batch 4", 4, 4095, 1);
  time_attention(*backend, "decode at 128, batch 4", 4, 127, 1);
}

void time_tiny_step(const BackendLimits& limits, const char* path) {
  Random random(2);
  const RandomModel model(random, spec_of(4, 2, 128, 256, 8));
  const auto backend = make_cpu_backend(model.weights(), limits, path);
  const Step step(1, 20, 1, 16);
  const double seconds =
      best_seconds(3000, [&] { run_stages(*backend, model.spec(), step.input()); });
  std::printf("tiny, 8 layers of 128          %9.3f us a layer\n", seconds * 1e6 / 8);
}

void run(const char* path, int num_threads, KvForm kv_form) {
  BackendLimits limits;
  limits.kv_form = kv_form;
  limits.num_threads = num_threads;
  limits.num_blocks = 256;
  time_shape("32 heads, 8 KV", 32, 8, limits, path);
  time_shape("14 heads, 2 KV", 14, 2, limits, path);
  time_shape("6 heads, 1 KV", 6, 1, limits, path);
  time_tiny_step(limits, path);
}

}  // namespace
}  // namespace tessera

int main(int argc, char** argv) {
  const bool in_8_bits = argc > 3 && std::string_view(argv[3]) == "int8";
  tessera::run(argc > 1 ? argv[1] : "", argc > 2 ? std::atoi(argv[2]) : 2,
               in_8_bits ? tessera::KvForm::kInt8 : tessera::KvForm::kF16);
}
