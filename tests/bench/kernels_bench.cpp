// kernels_bench.cpp — decode and prefill speed of the CPU backend on the shape of Llama-3.2-1B, or
// on eight layers of the shape of Qwen3-30B-A3B, which has 128 experts of which a token takes 8.
//
//   kernels_bench [path [threads [experts]]]     path: avx512vnni, ... or portable; "" is the best
//
// Weights are random. Prints the read bandwidth of the machine, measured first, and for each batch
// size tokens/s and the bytes due a step (weights, as packed; of experts, what one token takes) as
// a fraction of that bandwidth.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <numeric>
#include <random>
#include <thread>

#include "kernels/backend.hpp"
#include "kernels/cpu/aligned_buffer.hpp"
#include "kernels/cpu/thread_pool.hpp"
#include "kernels/cpu/tile_format.hpp"
#include "tests/kernels/random_adapter.hpp"
#include "tests/kernels/random_model.hpp"
#include "tests/kernels/step_runner.hpp"

namespace tessera {
namespace {

constexpr int kContext = 128;  // positions before the decoded ones
constexpr int kRepeats = 7;

ModelSpec llama_1b() {
  ModelSpec spec;
  spec.vocab_size = 128256;
  spec.hidden = 2048;
  spec.intermediate = 8192;
  spec.num_heads = 32;
  spec.num_kv_heads = 8;
  spec.head_dim = 64;
  spec.max_positions = 4096;
  spec.tied_embeddings = true;
  spec.ropes = {{.inv_freq = plain_inv_freq(500000.0F, spec.head_dim)}};
  spec.layers.resize(16);
  for (LayerSpec& layer : spec.layers) {
    layer.attention_scale = 0.125F;
  }
  return spec;
}

ModelSpec qwen3_experts() {
  ModelSpec spec = llama_1b();
  spec.vocab_size = 151936;
  spec.intermediate = 0;
  spec.num_kv_heads = 4;
  spec.head_dim = 128;
  spec.num_experts = 128;
  spec.experts_per_token = 8;
  spec.expert_intermediate = 768;
  spec.normalise_expert_weights = true;
  spec.ropes = {{.inv_freq = plain_inv_freq(1000000.0F, spec.head_dim)}};
  spec.layers.resize(8);
  for (LayerSpec& layer : spec.layers) layer.experts = true;
  return spec;
}

Nf4Buffers random_matrix(Random& random, LinearShape shape) {
  const std::size_t size =
      static_cast<std::size_t>(shape.out_features) * static_cast<std::size_t>(shape.in_features);
  Nf4Buffers buffers;
  buffers.rows = shape.out_features;
  buffers.cols = shape.in_features;
  buffers.codes.resize(size / 2);
  for (std::uint8_t& code : buffers.codes) code = static_cast<std::uint8_t>(random());
  buffers.absmax_codes.assign(size / kNf4Block, 200);
  buffers.absmax_scales.assign(size / kNf4Block / kAbsmaxBlock + 1, 0.01F);
  buffers.offset = 0.03F;
  return buffers;
}

// One layer's weights stand for all, and one expert's: the backend repacks each for itself.
struct BenchModel {
  BenchModel(Random& random, ModelSpec shape) {
    weights.spec = std::move(shape);
    const ModelSpec& spec = weights.spec;
    embedding.resize(static_cast<std::size_t>(spec.vocab_size) *
                     static_cast<std::size_t>(spec.hidden));
    for (Bf16& value : embedding) value = static_cast<Bf16>(0x3C00U | (random() & 0x80FFU));
    norm.assign(static_cast<std::size_t>(spec.hidden), 1.0F);
    for (const Linear linear : kAllLinears)
      matrices.push_back(random_matrix(random, spec.shape(linear)));
    LayerWeights layer;
    add_experts(random, layer);
    for (std::size_t i = 0; i < kNumLinears; ++i) layer.linears[i] = nf4_matrix(matrices[i].view());
    layer.attention_norm = layer.mlp_norm = norm.data();
    weights.layers.assign(spec.layers.size(), layer);
    weights.embedding = weights.head = bf16_matrix(embedding.data(), spec.vocab_size, spec.hidden);
    weights.final_norm = norm.data();
  }

  void add_experts(Random& random, LayerWeights& layer) {
    const ModelSpec& spec = weights.spec;
    if (spec.num_experts == 0) return;
    ExpertWeights expert;
    for (std::size_t i = 0; i < expert.size(); ++i) {
      expert_matrices.push_back(random_matrix(random, spec.expert_shape(kExpertLinears[i])));
      expert[i] = nf4_matrix(expert_matrices[i].view());
    }
    layer.experts.assign(static_cast<std::size_t>(spec.num_experts), expert);
    router = normal_values(
        random, static_cast<std::size_t>(spec.num_experts) * static_cast<std::size_t>(spec.hidden),
        0.05F);
    layer.router = router.data();
  }

  std::vector<Bf16> embedding;
  std::vector<float> norm;
  std::vector<float> router;
  std::vector<Nf4Buffers> matrices;
  std::vector<Nf4Buffers> expert_matrices;
  ModelWeights weights;
};

double median_seconds(const std::function<void()>& work) {
  using Clock = std::chrono::steady_clock;
  std::vector<double> seconds;
  work();
  for (int i = 0; i < kRepeats; ++i) {
    const auto start = Clock::now();
    work();
    seconds.push_back(std::chrono::duration<double>(Clock::now() - start).count());
  }
  std::nth_element(seconds.begin(), seconds.begin() + kRepeats / 2, seconds.end());
  return seconds[kRepeats / 2];
}

// Bytes a second at which all threads together sum a gigabyte.
double read_bandwidth(ThreadPool& pool) {
  AlignedBuffer<std::uint64_t> memory((std::size_t{1} << 30) / sizeof(std::uint64_t));
  std::fill_n(memory.data(), memory.size(), 1);
  std::vector<std::uint64_t> sums(64);
  const double seconds = median_seconds([&] {
    pool.run([&](int thread) {
      const Range range = part_of(1 << 20, thread, pool.num_threads());
      const std::uint64_t* words = memory.data();
      std::uint64_t sum[8] = {};
      for (auto i = static_cast<std::size_t>(range.begin) * 128;
           i < static_cast<std::size_t>(range.end) * 128; i += 8) {
        __builtin_prefetch(words + i + 512);
        for (std::size_t j = 0; j < 8; ++j) sum[j] += words[i + j];
      }
      sums[static_cast<std::size_t>(thread)] = std::accumulate(sum, sum + 8, std::uint64_t{0});
    });
  });
  return static_cast<double>(memory.size() * sizeof(std::uint64_t)) / seconds;
}

class Bench {
 public:
  Bench(const BenchModel& model, Backend& backend) : model_(model), backend_(backend) {}

  // One step of `batch` sequences with `tokens` new tokens each, after kContext others. With
  // `mixes`, kMaxMixTerms for each sequence.
  double step_seconds(int batch, int tokens, std::span<const AdapterSlot> slots,
                      std::span<const MixTerm> mixes = {}) {
    constexpr int kBlocksEach = 32;
    std::vector<TokenId> ids;
    std::vector<std::int32_t> positions, seq_indptr = {0}, block_indptr = {0}, head_rows;
    std::vector<BlockId> blocks;
    for (int seq = 0; seq < batch; ++seq) {
      for (int i = 0; i < tokens; ++i) {
        ids.push_back(seq * 1000 + i);
        positions.push_back((tokens == 1 ? kContext : 0) + i);
      }
      for (int i = 0; i < kBlocksEach; ++i) blocks.push_back(seq * kBlocksEach + i);
      seq_indptr.push_back(static_cast<std::int32_t>(ids.size()));
      block_indptr.push_back(static_cast<std::int32_t>(blocks.size()));
      head_rows.push_back(static_cast<std::int32_t>(ids.size()) - 1);
    }
    StepInput input{ids,      positions,    seq_indptr,
                    blocks,   block_indptr, slots.first(static_cast<std::size_t>(batch)),
                    head_rows};
    std::vector<std::int32_t> mix_indptr;
    for (int seq = 0; seq <= batch; ++seq) mix_indptr.push_back(seq * kMaxMixTerms);
    input.mixes = mixes;
    input.mix_indptr = mix_indptr;
    return median_seconds([&] { run_stages(backend_, model_.weights.spec, input); });
  }

 private:
  const BenchModel& model_;
  Backend& backend_;
};

void report(const char* what, int tokens, double seconds, double bytes, double bandwidth) {
  std::printf("%-34s %8.1f tok/s %9.2f ms %6.1f GB/s  %4.2f of read bandwidth\n", what,
              tokens / seconds, seconds * 1e3, bytes / seconds / 1e9, bytes / seconds / bandwidth);
}

void run(const char* path, int num_threads, bool has_experts) {
  Random random(20261121);
  const BenchModel model(random, has_experts ? qwen3_experts() : llama_1b());
  double bandwidth = 0.0;
  {
    ThreadPool pool(num_threads);
    bandwidth = read_bandwidth(pool);
  }
  BackendLimits limits;
  limits.num_blocks = 16 * 32;
  limits.max_rank = 16;
  limits.num_threads = num_threads;
  limits.head_form = HeadForm::kInt8;
  const auto backend = make_cpu_backend(model.weights, limits, path);
  std::printf("%s, %d threads, read bandwidth %.1f GB/s, weights %.2f GB\n",
              std::string(backend->name()).c_str(), num_threads, bandwidth / 1e9,
              static_cast<double>(backend->weight_bytes()) / 1e9);

  Bench bench(model, *backend);
  const std::vector<AdapterSlot> base(16, kNoAdapter);
  std::vector<AdapterSlot> shared(16, kNoAdapter), distinct, in_8_bits;
  for (const int batch : {1, 4, 16}) {
    const std::string what = "decode batch " + std::to_string(batch);
    report(what.c_str(), batch, bench.step_seconds(batch, 1, base),
           static_cast<double>(backend->weight_bytes()), bandwidth);
  }
  report("prefill 256", 256, bench.step_seconds(1, 256, base),
         static_cast<double>(backend->weight_bytes()), bandwidth);
  if (has_experts) return;  // sixteen adapters of 128 experts would take some time to draw

  std::vector<std::unique_ptr<RandomAdapter>> adapters;
  for (int i = 0; i < 16; ++i) {
    adapters.push_back(std::make_unique<RandomAdapter>(random, model.weights.spec, 16));
    distinct.push_back(backend->add_adapter(adapters.back()->view(PageType::kBf16)));
    in_8_bits.push_back(backend->add_adapter(adapters.back()->view(PageType::kInt8)));
  }
  shared.assign(16, distinct[0]);
  report("decode batch 16, one shared r16", 16, bench.step_seconds(16, 1, shared),
         static_cast<double>(backend->weight_bytes()), bandwidth);
  report("decode batch 16, 16 different r16", 16, bench.step_seconds(16, 1, distinct),
         static_cast<double>(backend->weight_bytes()), bandwidth);
  report("the same in 8 bits", 16, bench.step_seconds(16, 1, in_8_bits),
         static_cast<double>(backend->weight_bytes()), bandwidth);
  std::vector<MixTerm> mixes;
  for (std::size_t i = 0; i < 16 * kMaxMixTerms; ++i) {
    mixes.push_back({distinct[(i / kMaxMixTerms + i % kMaxMixTerms) % 16], 0.25F});
  }
  report("16 mixes of 4 of the same", 16, bench.step_seconds(16, 1, base, mixes),
         static_cast<double>(backend->weight_bytes()), bandwidth);
  report("prefill 256, r16", 256, bench.step_seconds(1, 256, shared),
         static_cast<double>(backend->weight_bytes()), bandwidth);
}

}  // namespace
}  // namespace tessera

int main(int argc, char** argv) {
  const int num_cores = static_cast<int>(std::thread::hardware_concurrency());
  tessera::run(argc > 1 ? argv[1] : "", argc > 2 ? std::atoi(argv[2]) : num_cores, argc > 3);
}
