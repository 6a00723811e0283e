// forced_text.hpp — text that must follow, as the tokens that the tokenizer would make of it.
//
// Tokens that are appended without being sampled must be those that a model was trained to see: the
// tokenizer's own (canonical) ones of the whole text, whatever follows. What follows may change the
// tokens at the end: if the forced text ends in `":` and a token `":[` exists and is legal there,
// the last tokens are not certain and are left to the model.
//
// Byte-pair encoding makes this exact: if the tokens of a longer text have a boundary at some byte,
// those before it are the tokens of the text before it. So either the boundary is at the end of the
// forced text, or some token that goes on beyond the end begins at a byte s of it, and the tokens
// before s are those of the text up to s. The tokens on which all these agree are certain.
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "engine/guided/constraint_epoch.hpp"
#include "engine/guided/vocabulary.hpp"
#include "kernels/model_spec.hpp"

namespace tessera::guided {

// The tokens that must follow `generated`, which led to `state`. Empty if nothing is certain.
std::vector<TokenId> forced_tokens(ConstraintEpoch& epoch, const TokenState& state,
                                   std::span<const TokenId> generated,
                                   const Vocabulary& vocabulary);

// Tokens whose bytes are exactly `text`: the tokenizer's own, else the longest that fit; empty if
// there are none.
std::vector<TokenId> tokens_of(std::string_view text, const Vocabulary& vocabulary);

}  // namespace tessera::guided
