// model_driver.cpp — one step of a whole model, from a file to a file, for comparison with
// transformers (whole_model.py, which writes the one and reads the other).
//
//   model_driver BACKEND CASE LOGITS      BACKEND: cuda, cpu or reference
//
// CASE is little-endian, without padding: int32 numbers, fp32 or bf16 or byte arrays, in the order
// in which read_model(), read_adapter() and read_sequences() take them. LOGITS is fp32,
// (sequences, vocab_size), of each sequence's last position; prompts are computed in two steps, so
// that the second attends to what the first has written.
#include <cmath>
#include <cstdio>
#include <cstring>
#include <deque>
#include <fstream>
#include <stdexcept>
#include <string>

#include "kernels/backend.hpp"
#include "kernels/bf16.hpp"
#include "kernels/cuda/cuda_backend.hpp"
#include "tests/kernels/step_runner.hpp"

namespace tessera {
namespace {

class Reader {
 public:
  explicit Reader(const char* path) : file_(path, std::ios::binary) {
    if (!file_) throw std::runtime_error(std::string("no such file: ") + path);
  }
  int number() {
    std::int32_t value;
    read(&value, sizeof value);
    return value;
  }
  float real() {
    float value;
    read(&value, sizeof value);
    return value;
  }
  // Memory that lives as long as the reader.
  template <class T>
  const T* array(std::size_t count) {
    auto& bytes = kept_.emplace_back(count * sizeof(T));
    read(bytes.data(), bytes.size());
    return reinterpret_cast<const T*>(bytes.data());
  }

 private:
  void read(void* to, std::size_t bytes) {
    file_.read(static_cast<char*>(to), static_cast<std::streamsize>(bytes));
    if (!file_) throw std::runtime_error("the case ends too early");
  }

  std::ifstream file_;
  std::deque<std::vector<std::byte>> kept_;
};

std::size_t area(LinearShape shape) {
  return static_cast<std::size_t>(shape.out_features) * static_cast<std::size_t>(shape.in_features);
}

WeightMatrix read_nf4(Reader& reader, LinearShape shape) {
  Nf4Matrix matrix;
  matrix.rows = shape.out_features;
  matrix.cols = shape.in_features;
  const std::size_t blocks = area(shape) / kNf4Block;
  matrix.codes = reader.array<std::uint8_t>(area(shape) / 2);
  matrix.absmax_codes = reader.array<std::uint8_t>(blocks);
  matrix.absmax_scales = reader.array<float>((blocks + kAbsmaxBlock - 1) / kAbsmaxBlock);
  matrix.offset = reader.real();
  return nf4_matrix(matrix);
}

ModelWeights read_model(Reader& reader) {
  ModelWeights weights;
  ModelSpec& spec = weights.spec;
  spec.vocab_size = reader.number();
  spec.hidden = reader.number();
  spec.intermediate = reader.number();
  spec.num_heads = reader.number();
  spec.num_kv_heads = reader.number();
  spec.head_dim = reader.number();
  const int num_layers = reader.number();
  const bool has_bias = reader.number() != 0;
  const float eps = reader.real();
  spec.tied_embeddings = true;
  spec.max_positions = 8192;
  spec.final_rms_eps = eps;
  const auto half = static_cast<std::size_t>(spec.head_dim / 2);
  const float* inv_freq = reader.array<float>(half);
  spec.ropes.push_back({.inv_freq = {inv_freq, inv_freq + half}});
  const auto hidden = static_cast<std::size_t>(spec.hidden);
  const auto* table = reader.array<Bf16>(static_cast<std::size_t>(spec.vocab_size) * hidden);
  weights.embedding = bf16_matrix(table, spec.vocab_size, spec.hidden);
  weights.head = weights.embedding;
  weights.final_norm = reader.array<float>(hidden);
  for (int i = 0; i < num_layers; ++i) {
    LayerSpec layer;
    layer.rms_eps = eps;
    layer.attention_scale = 1.0F / std::sqrt(static_cast<float>(spec.head_dim));
    LayerWeights& own = weights.layers.emplace_back();
    own.attention_norm = reader.array<float>(hidden);
    own.mlp_norm = reader.array<float>(hidden);
    for (const Linear linear : kAllLinears) {
      const auto index = static_cast<std::size_t>(linear);
      const LinearShape shape = spec.shape(linear);
      own.linears[index] = read_nf4(reader, shape);
      if (!has_bias || index > static_cast<std::size_t>(Linear::kV)) continue;
      layer.set_bias(linear);
      own.biases[index] = reader.array<float>(static_cast<std::size_t>(shape.out_features));
    }
    spec.layers.push_back(layer);
  }
  return weights;
}

// A (rank, in) and B (out, rank), the scale in B, as pages of `type`.
class Pages {
 public:
  LoraModule pack(Reader& reader, LinearShape shape, int rank, PageType type) {
    const float* a = reader.array<float>(static_cast<std::size_t>(rank * shape.in_features));
    const float* b = reader.array<float>(static_cast<std::size_t>(rank * shape.out_features));
    const auto pages = static_cast<std::size_t>(pages_of_rank(rank) * kRanksPerPage);
    std::vector<float> a_pages(pages * static_cast<std::size_t>(shape.in_features));
    std::vector<float> b_pages(pages * static_cast<std::size_t>(shape.out_features));
    for (int r = 0; r < rank; ++r) {
      for (int k = 0; k < shape.in_features; ++k) {
        const int at = (r / kRanksPerPage * shape.in_features + k) * kRanksPerPage;
        a_pages[static_cast<std::size_t>(at + r % kRanksPerPage)] = a[r * shape.in_features + k];
      }
      for (int n = 0; n < shape.out_features; ++n) {
        b_pages[static_cast<std::size_t>(r * shape.out_features + n)] = b[n * rank + r];
      }
    }
    LoraModule module;
    module.rank = rank;
    module.a = keep(a_pages, type);
    module.b = keep(b_pages, type);
    return module;
  }

 private:
  const std::byte* keep(const std::vector<float>& values, PageType type) {
    auto& bytes = kept_.emplace_back(values.size() * element_bytes(type));
    for (std::size_t i = 0; i < values.size(); ++i) {
      if (type == PageType::kF32) {
        std::memcpy(bytes.data() + 4 * i, &values[i], 4);
      } else {
        const Bf16 half = float_to_bf16(values[i]);
        std::memcpy(bytes.data() + 2 * i, &half, 2);
      }
    }
    return bytes.data();
  }

  std::deque<std::vector<std::byte>> kept_;
};

LoraView read_adapter(Reader& reader, const ModelSpec& spec, PageType type, Pages& pages) {
  LoraView view;
  view.type = type;
  const int rank = reader.number();
  view.layers.resize(spec.layers.size());
  for (LoraLayer& layer : view.layers) {
    for (const Linear linear : kAllLinears) {
      layer[static_cast<std::size_t>(linear)] = pages.pack(reader, spec.shape(linear), rank, type);
    }
  }
  return view;
}

constexpr int kBlockSize = 16;

std::vector<TestSequence> read_sequences(Reader& reader) {
  std::vector<TestSequence> sequences(static_cast<std::size_t>(reader.number()));
  BlockId next = 0;
  for (TestSequence& sequence : sequences) {
    sequence.slot = reader.number();
    const auto count = static_cast<std::size_t>(reader.number());
    const auto* tokens = reader.array<TokenId>(count);
    sequence.tokens.assign(tokens, tokens + count);
    for (std::size_t at = 0; at < count; at += kBlockSize) sequence.blocks.push_back(next++);
  }
  return sequences;
}

std::unique_ptr<Backend> make(const std::string& name, const ModelWeights& weights) {
  BackendLimits limits;
  limits.max_rows = limits.max_logit_rows = 512;
  limits.max_seqs = 32;
  limits.num_blocks = 1024;
  limits.block_size = kBlockSize;
  limits.max_rank = 64;
  limits.memory.adapter_bytes = std::size_t{2} << 30;  // eight of ranks up to 64, of a model of 1B
  if (name == "cuda") return make_cuda_backend(weights, limits);
  if (name == "cpu") return make_cpu_backend(weights, limits);
  if (name == "reference") return make_reference_backend(weights, limits);
  throw std::runtime_error("no backend is called " + name);
}

void run(const std::string& name, const char* case_path, const char* logits_path) {
  Reader reader(case_path);
  const ModelWeights weights = read_model(reader);
  const std::unique_ptr<Backend> backend = make(name, weights);
  Pages pages;
  std::deque<LoraView> adapters;
  for (int left = reader.number(); left > 0; --left) {
    adapters.push_back(read_adapter(reader, weights.spec, backend->page_type(), pages));
    backend->add_adapter(adapters.back());
  }
  std::vector<TestSequence> sequences = read_sequences(reader);
  for (int half = 0; half < 2; ++half) {
    std::vector<Chunk> chunks;
    for (TestSequence& sequence : sequences) {
      const int count = half == 0 ? sequence.left() / 2 : sequence.left();
      if (count > 0) chunks.push_back({&sequence, count});
    }
    run_step(*backend, weights.spec, chunks);
  }
  std::ofstream out(logits_path, std::ios::binary);
  for (const TestSequence& sequence : sequences) {
    const Logits& last = sequence.logits.back();
    out.write(reinterpret_cast<const char*>(last.data()),
              static_cast<std::streamsize>(last.size() * sizeof(float)));
  }
}

}  // namespace
}  // namespace tessera

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fprintf(stderr, "usage: %s cuda|cpu|reference CASE LOGITS\n", argv[0]);
    return 2;
  }
  try {
    tessera::run(argv[1], argv[2], argv[3]);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s: %s\n", argv[0], error.what());
    return 1;
  }
}
