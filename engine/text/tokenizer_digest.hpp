// tokenizer_digest.hpp — what makes two tokenizer.json files the same tokenizer.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "engine/text/tokenizer.hpp"

namespace tessera {

// Of all members of `file` that concern ids and text, in a form that does not depend on how the
// file is written.
TokenizerDigest digest_of_tokenizer(const nlohmann::ordered_json& file);

}  // namespace tessera
