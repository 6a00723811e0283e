// kernel_timings.cpp — how long the kernels of linears, adapters, attention and sampling take on a
// device, one line of JSON each: what was run, microseconds, and the bytes and products that were
// due.
//
//   kernel_timings [tiny]      tiny: shapes for the emulated machine, whose times mean nothing
//
// Buffers are random and rotate over more than the second-level cache holds; each figure is the
// mean of a row of launches after a warm-up.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <functional>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "kernels/cuda/attention_kernels.hpp"
#include "kernels/cuda/half.hpp"
#include "kernels/cuda/linear.hpp"
#include "kernels/cuda/linear_dense.hpp"
#include "kernels/cuda/linear_lora.hpp"
#include "kernels/cuda/lora_kernels.hpp"
#include "kernels/cuda/sampler_kernels.hpp"
#include "kernels/nf4.hpp"
#include "tests/kernels/cuda/device_arrays.hpp"

namespace tessera {
namespace {

bool is_tiny = false;

// Random bits that are small numbers in bf16 and fp16: sign, a mantissa, one of a few exponents.
std::vector<std::uint16_t> random_halves(std::size_t count) {
  std::vector<std::uint16_t> halves(count);
  std::mt19937 random(7);
  for (auto& half : halves) {
    half = static_cast<std::uint16_t>((random() & 0x83FFU) | 0x3000U);
  }
  return halves;
}
std::vector<float> random_floats(std::size_t count) {
  std::vector<float> values(count);
  std::mt19937 random(8);
  for (float& value : values) value = static_cast<float>(random() % 2001) / 1000.0F - 1.0F;
  return values;
}

double microseconds(CudaStream& stream, const std::function<void(int)>& run) {
  const int repetitions = is_tiny ? 1 : 200;
  for (int i = 0; i < (is_tiny ? 0 : 20); ++i) run(i);
  stream.synchronize();
  const auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < repetitions; ++i) run(i);
  stream.synchronize();
  const std::chrono::duration<double, std::micro> taken = std::chrono::steady_clock::now() - begin;
  return taken.count() / repetitions;
}

void print(const std::string& name, double time, double bytes, double flops) {
  std::printf("{\"kernel\": \"%s\", \"us\": %.2f, \"bytes\": %.0f, \"flops\": %.0f}\n",
              name.c_str(), time, bytes, flops);
  std::fflush(stdout);
}

// A step of `rows` rows, row i with adapter i % num_adapters, and one module of the given shape, of
// which there are as many copies as the second-level cache does not hold.
struct LoraStep {
  LoraStep(int num_rows, int num_adapters, int rank, int in_features, int out_features);

  void use_copy(int i) { work.table = tables[static_cast<std::size_t>(i) % tables.size()]; }

  CudaStream stream;
  DeviceArrays arrays;
  int rows;
  double bytes;  // of an adapter's pages, and of x and y
  double flops;
  std::string name;
  std::vector<LoraTable> tables;
  LoraWork work;
  DeviceBuffer<std::byte> workspace;
  DeviceBuffer<float> y;
  LoraModules modules;
};

LoraTable random_adapters(DeviceArrays& arrays, int count, int rank, int in_features,
                          int out_features) {
  const auto elements = [&](int features) {
    return static_cast<std::size_t>(rank) * static_cast<std::size_t>(features);
  };
  std::vector<LoraEntry> entries;
  for (int slot = 0; slot < count; ++slot) {
    const auto* a = arrays.keep(random_halves(elements(in_features)));
    const auto* b = arrays.keep(random_halves(elements(out_features)));
    std::vector<LoraPage> pages;
    for (int first = 0; first < rank; first += kRanksPerPage) {
      pages.push_back({reinterpret_cast<const std::byte*>(a + first * in_features),
                       reinterpret_cast<const std::byte*>(b + first * out_features)});
    }
    LoraEntry entry;
    entry.rank = rank;
    entry.pages = arrays.keep(pages);
    entries.push_back(entry);
  }
  LoraTable table;
  table.entries = arrays.keep(entries);
  table.num_modules = 1;
  table.max_slots = count;
  return table;
}

LoraStep::LoraStep(int num_rows, int num_adapters, int rank, int in_features, int out_features)
    : arrays(stream),
      rows(num_rows),
      name("rows " + std::to_string(num_rows) + " adapters " + std::to_string(num_adapters) +
           " rank " + std::to_string(rank) + " " + std::to_string(in_features) + "x" +
           std::to_string(out_features)),
      y(poisoned<float>(stream, static_cast<std::size_t>(num_rows * out_features))) {
  const double of_adapter = 2.0 * rank * (in_features + out_features);
  const double of_adapters = num_adapters * of_adapter;
  bytes = of_adapters + 4.0 * rows * (in_features + 2.0 * out_features);
  flops = rows * of_adapter;
  const int copies = is_tiny ? 1 : std::clamp(static_cast<int>(200e6 / of_adapters) + 1, 1, 64);
  for (int copy = 0; copy < copies; ++copy) {
    tables.push_back(random_adapters(arrays, num_adapters, rank, in_features, out_features));
  }
  std::vector<MixTerm> terms;
  for (int row = 0; row < rows; ++row) {
    terms.push_back({row % num_adapters, 1.0F});
    terms.resize(terms.size() + kMaxMixTerms - 1);
  }
  work.limits = {rows, rank, in_features};
  workspace = poisoned<std::byte>(stream, lora_workspace_bytes(work.limits));
  work.workspace = workspace.data();
  work.step.counts = arrays.keep(std::vector<StepCounts>{{rows, rows, 0}});
  work.step.terms = arrays.keep(terms);
  modules.in_features = in_features;
  modules.out_features[0] = out_features;
  modules.x = arrays.keep(random_floats(static_cast<std::size_t>(rows * in_features)));
  modules.y[0] = y.data();
  modules.y_stride = out_features;
  plan_lora(stream, work, rows);
}

void time_lora(int rows, int num_adapters, int rank, int in_features, int out_features) {
  LoraStep step(rows, num_adapters, rank, in_features, out_features);
  const double time = microseconds(step.stream, [&](int i) {
    step.use_copy(i);
    apply_lora(step.stream, step.work, step.modules, rows);
  });
  print("lora " + step.name, time, step.bytes, step.flops);
  print("lora plan rows " + std::to_string(rows),
        microseconds(step.stream, [&](int) { plan_lora(step.stream, step.work, rows); }), 0.0, 0.0);
}

// Sequences of `context` positions, of which the last `rows` are in the step.
void time_attention(int seqs, int context, int rows, int kv_heads, int group, int head_dim,
                    KvForm form, AttentionWidth width = AttentionWidth::kChosen) {
  CudaStream stream;
  DeviceArrays arrays(stream);
  const int block_size = 16;
  const int blocks = (context + block_size - 1) / block_size;
  AttentionParams params;
  params.cache.form = form;
  params.cache.block_size = block_size;
  params.cache.num_kv_heads = kv_heads;
  params.cache.head_dim = head_dim;
  set_block_rows(params.cache, 1, 256);
  const std::size_t cache_rows = params.cache.row(0, seqs * blocks, KvCache::kKey, 0, 0);
  const std::size_t cache_bytes =
      cache_rows * static_cast<std::size_t>(head_dim) * params.cache.element_bytes();
  const int copies =
      is_tiny ? 1
              : std::clamp(static_cast<int>(200e6 / static_cast<double>(cache_bytes)) + 1, 1, 16);
  std::vector<const std::uint16_t*> elements;
  for (int i = 0; i < copies; ++i) elements.push_back(arrays.keep(random_halves(cache_bytes / 2)));
  const float* scales = arrays.keep(random_floats(cache_rows));
  std::vector<std::int32_t> positions;
  std::vector<std::int32_t> seq_indptr = {0};
  std::vector<std::int32_t> block_indptr = {0};
  std::vector<BlockId> ids;
  for (int seq = 0; seq < seqs; ++seq) {
    for (int i = 0; i < rows; ++i) positions.push_back(context - rows + i);
    seq_indptr.push_back((seq + 1) * rows);
    block_indptr.push_back((seq + 1) * blocks);
  }
  for (int i = 0; i < seqs * blocks; ++i) ids.push_back(i);
  std::mt19937 random(3);
  std::shuffle(ids.begin(), ids.end(), random);
  const int num_rows = seqs * rows;
  const int num_heads = kv_heads * group;
  params.step.counts = arrays.keep(std::vector<StepCounts>{{num_rows, seqs, 0}});
  params.step.positions = arrays.keep(positions);
  params.step.seq_indptr = arrays.keep(seq_indptr);
  params.step.blocks = arrays.keep(ids);
  params.step.block_indptr = arrays.keep(block_indptr);
  params.limits = {num_rows, seqs, blocks * block_size, num_heads, head_dim};
  params.scale = 1.0F / std::sqrt(static_cast<float>(head_dim));
  params.q_stride = num_heads * head_dim;
  params.q = arrays.keep(random_floats(static_cast<std::size_t>(num_rows * params.q_stride)));
  auto output = poisoned<float>(stream, static_cast<std::size_t>(num_rows * params.q_stride));
  auto workspace = poisoned<std::byte>(stream, attention_workspace_bytes(params.limits));
  params.output = output.data();
  params.workspace = workspace.data();
  params.cache.scales = const_cast<float*>(scales);
  params.width = width;
  const double time = microseconds(stream, [&](int i) {
    const auto* bytes =
        reinterpret_cast<const std::byte*>(elements[static_cast<std::size_t>(i % copies)]);
    params.cache.elements = const_cast<std::byte*>(bytes);
    attend(stream, params, num_rows);
  });
  const double keys = static_cast<double>(rows) * (context - (rows - 1) / 2.0);
  print("attention seqs " + std::to_string(seqs) + " context " + std::to_string(context) +
            " rows " + std::to_string(rows) + " dim " + std::to_string(head_dim) +
            (form == KvForm::kInt8 ? " int8" : " fp16") +
            (width == AttentionWidth::kNarrow ? " narrow" : ""),
        time, static_cast<double>(cache_bytes + (form == KvForm::kInt8 ? 4 * cache_rows : 0)),
        4.0 * seqs * keys * num_heads * head_dim);
}

void time_sampler(int rows, int vocab_size, int top_k, float top_p) {
  CudaStream stream;
  DeviceArrays arrays(stream);
  SampleRow row;
  row.params.top_k = top_k;
  row.params.top_p = top_p;
  const auto count = static_cast<std::size_t>(rows) * static_cast<std::size_t>(vocab_size);
  SamplerCall call;
  call.num_rows = rows;
  call.logits = arrays.keep(random_floats(count));
  call.vocab_size = vocab_size;
  std::vector<SampleRow> sample_rows(static_cast<std::size_t>(rows), row);
  for (std::size_t i = 0; i < sample_rows.size(); ++i) {
    sample_rows[i].row = static_cast<std::int32_t>(i);
  }
  call.rows = arrays.keep(sample_rows);
  auto adjusted = poisoned<float>(stream, count);
  auto sampled = poisoned<DrawnToken>(stream, static_cast<std::size_t>(rows));
  call.adjusted = adjusted.data();
  call.sampled = sampled.data();
  print("sampler rows " + std::to_string(rows) + " vocab " + std::to_string(vocab_size) +
            (top_k > 0 || top_p < 1.0F ? " filtered" : " plain"),
        microseconds(stream, [&](int) { sample(stream, call); }), 4.0 * static_cast<double>(count),
        0.0);
}

std::vector<std::uint8_t> random_bytes(std::size_t count) {
  std::vector<std::uint8_t> bytes(count);
  std::mt19937 random(9);
  for (auto& byte : bytes) byte = static_cast<std::uint8_t>(random());
  return bytes;
}

// NF4 with nested scales, as pack_matrix() lays it out, of random codes.
PackedMatrix random_nf4(DeviceArrays& arrays, int rows, int cols) {
  constexpr int kGroup = 64;
  PackedMatrix matrix;
  matrix.form = PackedForm::kBook16;
  matrix.rows = rows;
  matrix.cols = cols;
  matrix.group = kGroup;
  matrix.group_inverse = PackedMatrix::inverse_of(kGroup);
  const auto weights = static_cast<std::size_t>(rows) * static_cast<std::size_t>(cols);
  matrix.codes = reinterpret_cast<const std::byte*>(arrays.keep(random_bytes(weights / 2)));
  matrix.absmax_codes = arrays.keep(random_bytes(weights / kGroup));
  matrix.absmax_scales = arrays.keep(random_floats(weights / kGroup / kAbsmaxBlock + 1));
  matrix.dynamic_map = arrays.keep(std::vector<float>(kDynamicMap.begin(), kDynamicMap.end()));
  for (std::size_t i = 0; i < 16; ++i) {
    matrix.book[i] = half_from_float(kNf4Values[i]);
  }
  return matrix;
}

// A group of one NF4 matrix for `rows` rows, of which there are as many copies as the second-level
// cache does not hold.
struct LinearStep {
  LinearStep(CudaStream& stream, int rows, int out_features, int in_features);

  void use_copy(int i) {
    group.matrices[0] = matrices[static_cast<std::size_t>(i) % matrices.size()];
  }

  DeviceArrays arrays;
  double bytes;
  double flops;
  std::string name;
  std::vector<PackedMatrix> matrices;
  DeviceBuffer<std::uint16_t> halves;
  DeviceBuffer<float> scales;
  DeviceBuffer<float> sums;
  DeviceBuffer<float> y;
  LinearGroup group;
};

LinearStep::LinearStep(CudaStream& stream, int rows, int out_features, int in_features)
    : arrays(stream),
      name("rows " + std::to_string(rows) + " " + std::to_string(out_features) + " x " +
           std::to_string(in_features)) {
  const double weights = static_cast<double>(out_features) * in_features;
  flops = 2.0 * rows * weights;
  bytes = weights * (0.5 + 1.0 / 64 + 4.0 / 64 / kAbsmaxBlock) +
          static_cast<double>(rows) * (2.0 * in_features + 4.0 * out_features);
  const int copies = is_tiny ? 1 : std::clamp(static_cast<int>(200e6 / bytes) + 1, 2, 64);
  for (int i = 0; i < copies; ++i) {
    matrices.push_back(random_nf4(arrays, out_features, in_features));
  }
  const auto staged = static_cast<std::size_t>(rows) * static_cast<std::size_t>(in_features);
  halves = to_device(stream, random_halves(staged));
  scales = to_device(stream, std::vector<float>(static_cast<std::size_t>(rows), 1.0F));
  sums = to_device(stream, random_floats(staged / 16));
  y = poisoned<float>(stream,
                      static_cast<std::size_t>(rows) * static_cast<std::size_t>(out_features));
  group.x = {halves.data(), scales.data(), sums.data()};
  group.y = y.data();
  group.y_stride = out_features;
  group.num_rows = arrays.keep(std::vector<std::int32_t>{rows});
  use_copy(0);
}

// y = W x. Where there are many rows, each form by itself: which one is chosen is an estimate until
// it was measured.
void time_linear(int rows, int out_features, int in_features) {
  CudaStream stream;
  LinearStep step(stream, rows, out_features, in_features);
  const auto time = [&](const char* form, const std::function<void()>& run) {
    const double taken = microseconds(stream, [&](int i) {
      step.use_copy(i);
      run();
    });
    print("linear nf4 " + step.name + form, taken, step.bytes, step.flops);
  };
  time("", [&] { multiply(stream, step.group, rows); });
  if (rows <= 16 && !is_tiny) return;
  time(" narrow", [&] { multiply(stream, step.group, rows, LinearWidth::kNarrow); });
  time(" wide", [&] { multiply(stream, step.group, rows, LinearWidth::kWide); });
  try {
    DenseLinear dense(out_features, in_features);
    time(" cublasLt", [&] { dense.multiply(stream, step.group, rows); });
  } catch (const CudaError&) {
    throw;
  } catch (const std::runtime_error& missing) {
    std::fprintf(stderr, "%s\n", missing.what());
  }
}

// y = W x + B (A x), with B z as a launch of its own and as the linear's: what decides up to how
// many rows the backend takes the second.
void time_linear_with_lora(int rows, int num_adapters, int rank, int in_features,
                           int out_features) {
  LoraStep lora(rows, num_adapters, rank, in_features, out_features);
  LinearStep linear(lora.stream, rows, out_features, in_features);
  linear.group.y = lora.y.data();
  const auto time = [&](const char* form, const std::function<void()>& run) {
    const double taken = microseconds(lora.stream, [&](int i) {
      lora.use_copy(i);
      linear.use_copy(i);
      run();
    });
    print("linear nf4 with lora " + lora.name + form, taken, linear.bytes + lora.bytes,
          linear.flops + lora.flops);
  };
  time(" apart", [&] {
    multiply(lora.stream, linear.group, rows);
    apply_lora(lora.stream, lora.work, lora.modules, rows);
  });
  time(" in one", [&] {
    shrink_lora(lora.stream, lora.work, lora.modules, rows);
    multiply_with_lora(lora.stream, linear.group, {lora.work, lora.modules}, rows);
  });
}

void time_all() {
  if (is_tiny) {
    time_linear(2, 32, 128);
    time_lora(2, 2, 8, 64, 64);
    time_linear_with_lora(2, 2, 8, 128, 32);
    time_attention(2, 40, 1, 1, 2, 32, KvForm::kF16);
    time_attention(1, 40, 40, 1, 2, 32, KvForm::kF16, AttentionWidth::kWide);
    time_sampler(1, 200, 5, 0.9F);
    return;
  }
  for (const int rows : {1, 8, 16, 32, 64, 256, 512, 2048}) {
    time_linear(rows, 4096, 4096);
    time_linear(rows, 28672, 4096);
    time_linear(rows, 4096, 14336);
  }
  for (const int rows : {1, 8, 64}) {
    time_lora(rows, 1, 16, 4096, 4096);
    if (rows > 1) time_lora(rows, rows, 16, 4096, 4096);
  }
  for (const int rows : {1, 8, 16}) {
    time_linear_with_lora(rows, 1, 16, 4096, 4096);
    time_linear_with_lora(rows, rows, 16, 4096, 28672);
    time_linear_with_lora(rows, rows, 64, 14336, 4096);
  }
  time_lora(1, 1, 16, 4096, 14336);
  time_lora(512, 4, 16, 4096, 4096);
  time_lora(64, 8, 64, 4096, 4096);
  for (const KvForm form : {KvForm::kF16, KvForm::kInt8}) {
    time_attention(1, 1024, 1, 8, 4, 128, form);
    time_attention(64, 1024, 1, 8, 4, 128, form);
    time_attention(16, 8192, 1, 8, 4, 128, form);
    time_attention(1, 2048, 512, 8, 4, 128, form);
    time_attention(1, 2048, 512, 8, 4, 128, form, AttentionWidth::kNarrow);
    time_attention(64, 1024, 1, 2, 7, 64, form);
  }
  for (const int rows : {1, 64}) {
    time_sampler(rows, 128256, 0, 1.0F);
    time_sampler(rows, 128256, 50, 0.9F);
  }
}

}  // namespace
}  // namespace tessera

int main(int argc, char** argv) {
  tessera::is_tiny = argc > 1 && std::strcmp(argv[1], "tiny") == 0;
  if (tessera::num_devices() == 0) {
    std::fprintf(stderr, "no CUDA device on this machine\n");
    return 77;
  }
  tessera::time_all();
}
