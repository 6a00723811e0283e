// prompt_fields.hpp — prompts that are texts or token ids, as completions and embeddings take them.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "gateway/inference/openai_types.hpp"
#include "gateway/served_model.hpp"
#include "storage/result.hpp"

namespace tessera {

// string | string[] | int[] | int[][] of at most `max_count` elements; `name` is the field's.
Result<std::vector<Prompt>> read_prompts(const nlohmann::ordered_json& value,
                                         const std::string& name, std::size_t max_count);

// A prompt's token ids, at least one. Errors: kInvalidValue, naming the field.
Result<std::vector<TokenId>> encode_prompt(const ServedModel& model, const Prompt& prompt,
                                           const std::string& name);

}  // namespace tessera
