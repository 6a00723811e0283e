// model_config.hpp — a Hugging Face config.json as a ModelSpec, or the field that we cannot honour.
//
// Every field that changes the arithmetic is either read or checked to have the one value that we
// implement. A field we do not know is passed over only because `transformers` writes many that
// describe training and generation; the architecture decides which fields exist
// (model_families.hpp). "quantization_config" is the business of who reads the weights.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "kernels/model_spec.hpp"
#include "storage/result.hpp"

namespace tessera {

// Bounds on what a config may ask for, so that a damaged one cannot make us allocate without end.
struct ModelLimits {
  int dimension_max = 1 << 20;  // hidden, intermediate, q_dim
  int vocab_max = 1 << 21;
  int layers_max = 1024;
  int positions_max = 1 << 24;
  int heads_max = 1 << 12;
  int head_dim_max = 1 << 12;
  int experts_max = 1 << 10;
  int experts_per_token_max = 64;
  int ropes_max = 16;
};

// Reads the text of a config.json.
// Errors: kInvalidJson; kUnsupportedModel, with param naming the field.
Result<ModelSpec> parse_model_config(std::string_view config_json, const ModelLimits& limits = {});

// The one name in "architectures". Errors: as above, if it is none that we know.
Result<std::string> parse_architecture(std::string_view config_json);

// Whether a spec is one we can run: sizes within the limits, heads that divide, widths that are
// multiples of 64, the NF4 block, and layers that fit what they refer to. Errors:
// kUnsupportedModel, with param naming the field.
Result<void> check_spec(const ModelSpec& spec, const ModelLimits& limits = {});

// The ids that end a generation: `eos_token_id` (a number or a list) of generation_config.json, or
// where that has none, of config.json. Either text may be empty. Ascending, without repeats.
// Errors: kInvalidJson; kUnsupportedModel if an id is not a number in [0, vocab_size).
Result<std::vector<TokenId>> parse_eos_ids(std::string_view config_json,
                                           std::string_view generation_config_json, int vocab_size);

}  // namespace tessera
