// model_spec.hpp — the shape of a transformer, as plain numbers.
//
// What differs between architectures is data here, never a subclass. Everything that needs to know
// the base's shape (backends, the adapter validator, the forward pass) reads this one struct.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

namespace tessera {

using TokenId = std::int32_t;

// The seven linear modules of a layer, in the order in which a forward pass meets them.
enum class Linear : std::uint8_t { kQ, kK, kV, kO, kGate, kUp, kDown };
inline constexpr int kNumLinears = 7;
inline constexpr std::array<Linear, kNumLinears> kAllLinears = {
    Linear::kQ, Linear::kK, Linear::kV, Linear::kO, Linear::kGate, Linear::kUp, Linear::kDown};

// "q_proj" … "down_proj": the names of Hugging Face's Llama family.
std::string_view linear_name(Linear linear);

struct LinearShape {
  int out_features;
  int in_features;
};

enum class Activation : std::uint8_t { kSilu };

// One decoder layer.
struct LayerSpec {
  float rms_eps = 1e-5F;
  float rope_theta = 10000.0F;
  float attention_scale = 0.0F;  // usually 1 / sqrt(head_dim)
  bool qkv_bias = false;
  Activation activation = Activation::kSilu;
};

// Sizes are counts of elements.
struct ModelSpec {
  int vocab_size = 0;
  int hidden = 0;
  int intermediate = 0;
  int num_heads = 0;
  int num_kv_heads = 0;
  int head_dim = 0;
  int max_positions = 0;         // longest context the base was made for
  bool tied_embeddings = false;  // the head uses the embedding's weights
  float final_rms_eps = 1e-5F;
  std::vector<LayerSpec> layers;

  int num_layers() const { return static_cast<int>(layers.size()); }
  int q_dim() const { return num_heads * head_dim; }
  int kv_dim() const { return num_kv_heads * head_dim; }
  LinearShape shape(Linear linear) const;
};

}  // namespace tessera
