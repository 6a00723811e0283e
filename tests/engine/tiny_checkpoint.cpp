#include "tests/engine/tiny_checkpoint.hpp"

#include <cstring>
#include <fstream>
#include <random>

#include "kernels/bf16.hpp"

namespace tessera {
namespace {

constexpr int kVocab = 96;
constexpr int kHidden = 256;
constexpr int kHeadDim = 128;
constexpr int kLayers = 2;

std::string layer_prefix(int layer) {
  return "model.layers." + std::to_string(layer) + '.';
}

// GGUF's name of a Hugging Face tensor.
std::string gguf_name(std::string name) {
  const std::pair<std::string, std::string> renamings[] = {
      {"model.layers.", "blk."},        {"model.embed_tokens", "token_embd"},
      {"model.norm", "output_norm"},    {"lm_head", "output"},
      {"input_layernorm", "attn_norm"}, {"post_attention_layernorm", "ffn_norm"},
      {"self_attn.q_proj", "attn_q"},   {"self_attn.k_proj", "attn_k"},
      {"self_attn.v_proj", "attn_v"},   {"self_attn.o_proj", "attn_output"},
      {"mlp.gate_proj", "ffn_gate"},    {"mlp.up_proj", "ffn_up"},
      {"mlp.down_proj", "ffn_down"}};
  for (const auto& [from, to] : renamings) {
    const std::size_t at = name.find(from);
    if (at != std::string::npos) name.replace(at, from.size(), to);
  }
  return name;
}

// llama.cpp's order of the rows of queries and keys.
std::vector<float> paired(const PlainTensor& tensor) {
  const auto cols = static_cast<std::size_t>(tensor.shape[1]);
  constexpr std::size_t kHalf = kHeadDim / 2;
  std::vector<float> out(tensor.values.size());
  for (std::size_t row = 0; row < tensor.values.size() / cols; ++row) {
    const std::size_t in_head = row % kHeadDim;
    const std::size_t to = row - in_head + 2 * (in_head % kHalf) + in_head / kHalf;
    std::copy_n(&tensor.values[row * cols], cols, &out[to * cols]);
  }
  return out;
}

}  // namespace

PlainTensors tiny_llama(std::uint64_t seed) {
  std::mt19937_64 random(seed);
  PlainTensors out;
  const auto add = [&](const std::string& name, std::vector<std::int64_t> shape, float scale) {
    std::int64_t count = 1;
    for (const std::int64_t size : shape) count *= size;
    PlainTensor& tensor = out[name + ".weight"];
    tensor.shape = std::move(shape);
    std::normal_distribution<float> normal(0.0F, scale);
    for (std::int64_t i = 0; i < count; ++i) {
      tensor.values.push_back(bf16_to_float(float_to_bf16(normal(random))));
    }
  };
  add("model.embed_tokens", {kVocab, kHidden}, 0.5F);
  add("lm_head", {kVocab, kHidden}, 0.5F);
  add("model.norm", {kHidden}, 1.0F);
  for (int i = 0; i < kLayers; ++i) {
    const std::string layer = layer_prefix(i);
    add(layer + "input_layernorm", {kHidden}, 1.0F);
    add(layer + "post_attention_layernorm", {kHidden}, 1.0F);
    for (const char* part : {"q", "o"}) {
      add(layer + "self_attn." + part + "_proj", {kHidden, kHidden}, 0.06F);
    }
    for (const char* part : {"k", "v"}) {
      add(layer + "self_attn." + part + "_proj", {kHeadDim, kHidden}, 0.06F);
    }
    for (const char* part : {"gate", "up", "down"}) {
      add(layer + "mlp." + part + "_proj", {kHidden, kHidden}, 0.06F);
    }
  }
  return out;
}

nlohmann::ordered_json tiny_llama_config() {
  return {{"architectures", {"LlamaForCausalLM"}},
          {"model_type", "llama"},
          {"hidden_size", kHidden},
          {"intermediate_size", kHidden},
          {"num_attention_heads", 2},
          {"num_key_value_heads", 1},
          {"head_dim", kHeadDim},
          {"num_hidden_layers", kLayers},
          {"vocab_size", kVocab},
          {"max_position_embeddings", 128},
          {"rms_norm_eps", 1e-5},
          {"rope_theta", 10000.0},
          {"eos_token_id", 2},
          {"tie_word_embeddings", false}};
}

void write_directory(const std::filesystem::path& directory, const PlainTensors& tensors,
                     const nlohmann::ordered_json& config, Dtype dtype) {
  std::filesystem::create_directories(directory);
  std::ofstream(directory / "config.json") << config.dump();
  std::vector<std::vector<std::byte>> storage;
  for (const auto& [name, tensor] : tensors) {
    const std::size_t size = dtype == Dtype::kF32 ? 4 : 2;
    std::vector<std::byte>& bytes = storage.emplace_back(tensor.values.size() * size);
    for (std::size_t i = 0; i < tensor.values.size(); ++i) {
      const Bf16 rounded = float_to_bf16(tensor.values[i]);
      const void* from = dtype == Dtype::kF32 ? static_cast<const void*>(&tensor.values[i])
                                              : static_cast<const void*>(&rounded);
      std::memcpy(&bytes[i * size], from, size);
    }
  }
  std::vector<StoredTensor> stored;
  std::size_t i = 0;
  for (const auto& [name, tensor] : tensors) {
    stored.push_back({name, dtype, tensor.shape, storage[i++]});
  }
  const std::vector<std::byte> file = write_safetensors(stored);
  std::ofstream out(directory / "model.safetensors", std::ios::binary);
  out.write(reinterpret_cast<const char*>(file.data()), static_cast<std::streamsize>(file.size()));
}

void add_tiny_metadata(testing_gguf::Writer& writer) {
  const auto number = [&](const std::string& key, int value) {
    writer.add("llama." + key, static_cast<std::uint32_t>(value));
  };
  writer.add("general.architecture", std::string("llama"));
  writer.add("general.name", std::string("tiny"));
  number("block_count", kLayers);
  number("context_length", 128);
  number("embedding_length", kHidden);
  number("feed_forward_length", kHidden);
  number("attention.head_count", 2);
  number("attention.head_count_kv", 1);
  number("rope.dimension_count", kHeadDim);
  writer.add("llama.attention.layer_norm_rms_epsilon", 1e-5F);
  writer.add("llama.rope.freq_base", 10000.0F);
  writer.add("tokenizer.ggml.eos_token_id", std::uint32_t{2});
}

std::string tiny_gguf(const PlainTensors& tensors, const TypeOf& type_of) {
  testing_gguf::Writer writer;
  add_tiny_metadata(writer);
  for (const auto& [name, tensor] : tensors) {
    const std::string renamed = gguf_name(name);
    const bool vector = tensor.shape.size() == 1;
    const GgmlType type = vector ? GgmlType::kF32 : type_of(renamed);
    const bool in_pairs = renamed.find("attn_q.") != std::string::npos ||
                          renamed.find("attn_k.") != std::string::npos;
    writer.add_tensor(renamed, {tensor.shape.rbegin(), tensor.shape.rend()}, type,
                      testing_gguf::encode(type, in_pairs ? paired(tensor) : tensor.values));
  }
  return writer.finish();
}

}  // namespace tessera
