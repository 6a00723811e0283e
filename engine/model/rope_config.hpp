// rope_config.hpp — the rotary embedding that a config asks for, as frequencies.
//
// Follows transformers' modeling_rope_utils (5.23) in its order of operations and in fp32, because
// at position 100,000 the last bit of a frequency is a hundredth of a radian. Of the kinds that
// depend on a sequence's length, "dynamic" is the plain one as far as the base was made for, and no
// longer context is served. "longrope" differs from transformers in one thing: there a sequence
// turns by the short frequencies until it outgrows the original context and by the long ones from
// then on, with keys of both kinds in its cache; here what a request may grow to, prompt and
// max_tokens, settles for all of its positions which it is (StepInput::long_rope).
#pragma once

#include "engine/model/config_fields.hpp"
#include "kernels/model_spec.hpp"

namespace tessera {

// What of a model the frequencies depend on.
struct RopeContext {
  int head_dim = 0;
  int max_positions = 0;
  double default_theta = 10000.0;
  bool is_phi3 = false;  // may rotate a part of the head, and calls LongRoPE "su" or "yarn"
};

// A model's one rotary embedding. Older files have "rope_theta" and "rope_scaling", newer ones all
// in "rope_parameters". Raises context.max_positions to what YaRN was scaled to.
RopeSpec read_rope(ConfigFields& config, RopeContext& context);

// The two of Gemma 3: of its layers with full attention, and of those with a sliding window.
struct GlobalAndLocalRope {
  RopeSpec global;
  RopeSpec local;
};
GlobalAndLocalRope read_gemma3_ropes(ConfigFields& config, RopeContext& context);

}  // namespace tessera
