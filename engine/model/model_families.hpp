// model_families.hpp — the architectures we know, and what each makes of its config.json.
//
// A family is a name, the values its fields have when they are left out (those of transformers
// 5.23), and a function that fills in what it has beyond a plain Llama.
#pragma once

#include <span>
#include <string_view>

#include "engine/model/config_fields.hpp"
#include "engine/model/rope_config.hpp"
#include "kernels/model_spec.hpp"

namespace tessera {

// Of fields that a file may leave out; 0: it may not, or see there.
struct FamilyDefaults {
  int vocab_size = 0;
  int num_heads = 0;
  int num_kv_heads = 0;  // 0: as many as heads
  int head_dim = 0;      // 0: hidden / heads
  int max_positions = 2048;
  float rms_eps = 1e-6F;
  bool tied_embeddings = false;
};

struct ModelFamily {
  std::string_view architecture;  // "LlamaForCausalLM"
  std::string_view model_type;    // "llama"
  bool is_nested;                 // the fields are in "text_config", which has no vision in it
  FamilyDefaults defaults;
  // `spec` has its sizes, and layers that are a plain Llama's but for rope.
  void (*read)(ConfigFields& config, RopeContext& rope, ModelSpec& spec);
};

std::span<const ModelFamily> model_families();

}  // namespace tessera
