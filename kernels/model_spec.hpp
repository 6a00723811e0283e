// model_spec.hpp — the shape of a transformer, as plain numbers.
//
// What differs between architectures is data here, never a subclass. Everything that needs to know
// the base's shape (backends, the adapter validator, the forward pass) reads this one struct. A
// layer is, with the parts that a model lacks left out:
//
//   a = attention(norm(x))        x += residual_scale * post_norm(o_proj(a))
//   h = act(gate(norm(x))) * up   x += residual_scale * post_norm(down(h))
//
// and in a layer with experts the second line is a sum over the experts that a token is routed to.
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

// Those of an expert, which index an expert's arrays in this order.
inline constexpr int kNumExpertLinears = 3;
inline constexpr std::array<Linear, kNumExpertLinears> kExpertLinears = {Linear::kGate, Linear::kUp,
                                                                         Linear::kDown};

// "q_proj" … "down_proj": the names of Hugging Face's Llama family.
std::string_view linear_name(Linear linear);

struct LinearShape {
  int out_features;
  int in_features;
};

enum class Activation : std::uint8_t { kSilu, kGeluTanh };

// RMS norms of the queries and keys before they are rotated: of each head by itself with weights
// (head_dim,) that all heads share (Qwen 3, Gemma 3), or of all heads as one vector with weights
// (q_dim,) and (kv_dim,) (OLMo 2).
enum class QkNorm : std::uint8_t { kNone, kPerHead, kWhole };

// Rotary embedding in the rotate-half form: of a head's first 2 * inv_freq.size() elements, pair i
// (elements i and i + inv_freq.size()) turns by position * inv_freq[i]; the rest pass through.
// Every kind of scaling (linear, llama3, YaRN, LongRoPE) is in these numbers.
struct RopeSpec {
  std::vector<float> inv_freq;  // (rotary_dim / 2,)
  float scale = 1.0F;           // of the cosines and sines (attention factor)
  // LongRoPE: the frequencies of sequences that may grow beyond `short_positions`
  // (StepInput::long_rope says which those are); empty in all others.
  std::vector<float> long_inv_freq = {};
  int short_positions = 0;

  bool operator==(const RopeSpec&) const = default;
};
inline constexpr int kNoRope = -1;

// One decoder layer.
struct LayerSpec {
  float rms_eps = 1e-5F;
  int rope = 0;                    // index into ModelSpec::ropes, or kNoRope
  float attention_scale = 0.0F;    // usually 1 / sqrt(head_dim)
  float attention_softcap = 0.0F;  // scores become cap * tanh(score / cap); 0: none
  int window = 0;                  // a position attends to itself and window - 1 before; 0: to all
  QkNorm qk_norm = QkNorm::kNone;
  bool pre_norms = true;    // norms before attention and before the MLP (all but OLMo 2)
  bool post_norms = false;  // norms of what attention and MLP put out (Gemma 2 and 3, OLMo 2)
  std::uint8_t biases = 0;  // bit i: kAllLinears[i] has a bias; with_bias() and has_bias()
  Activation activation = Activation::kSilu;
  float residual_scale = 1.0F;  // of what attention and MLP add (Granite)
  bool experts = false;         // the MLP is ModelSpec's experts

  bool has_bias(Linear linear) const { return (biases >> static_cast<int>(linear) & 1) != 0; }
  void set_bias(Linear linear) {
    biases = static_cast<std::uint8_t>(biases | 1 << static_cast<int>(linear));
  }
};

// Sizes are counts of elements.
struct ModelSpec {
  int vocab_size = 0;
  int hidden = 0;
  int intermediate = 0;  // of the layers without experts
  int num_heads = 0;
  int num_kv_heads = 0;
  int head_dim = 0;
  int max_positions = 0;         // longest context the base was made for
  bool tied_embeddings = false;  // the head uses the embedding's weights
  float final_rms_eps = 1e-5F;
  float embedding_scale = 1.0F;  // Gemma, Granite
  float logit_scale = 1.0F;      // Granite, before the cap
  float logit_softcap = 0.0F;    // 0: none
  // Of the layers with experts: a router gives each token softmax weights over all experts, the
  // largest few are kept and, where so said, scaled to a sum of 1. The sum over a token's experts
  // is in ascending order of the expert.
  int num_experts = 0;
  int experts_per_token = 0;
  int expert_intermediate = 0;
  bool normalise_expert_weights = false;
  std::vector<RopeSpec> ropes = {};
  std::vector<LayerSpec> layers = {};

  int num_layers() const { return static_cast<int>(layers.size()); }
  int q_dim() const { return num_heads * head_dim; }
  int kv_dim() const { return num_kv_heads * head_dim; }
  // The most positions of a sequence that turns by the short frequencies of LongRoPE; 0 if the
  // model has none.
  int short_positions() const;
  LinearShape shape(Linear linear) const;         // of a layer's own module
  LinearShape expert_shape(Linear linear) const;  // of an expert's gate, up and down
};

// The frequencies of plain rotary embeddings: theta^(-2i / rotary_dim), computed in fp32.
std::vector<float> plain_inv_freq(float theta, int rotary_dim);

}  // namespace tessera
