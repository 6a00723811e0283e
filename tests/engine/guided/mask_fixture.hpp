// mask_fixture.hpp — vocabularies, and masks by the slowest way there is.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/guided/compiled_constraint.hpp"
#include "engine/guided/matcher.hpp"
#include "engine/guided/recognizer.hpp"
#include "engine/guided/token_mask.hpp"
#include "engine/guided/vocabulary.hpp"
#include "engine/text/tokenizer.hpp"

namespace tessera::guided {

// Every byte, and random texts of what JSON, words and UTF-8 in pieces are made of: id 0 is the end
// token, id 1 a special one, and the last ids of the logits stand for nothing. encode() takes the
// longest token that fits.
std::shared_ptr<const Vocabulary> toy_vocabulary(std::uint64_t seed);

// A tokenizer of tests/engine/data/tokenizers.
std::shared_ptr<const Tokenizer> small_tokenizer(const std::string& name);
// Llama 3's, from the shared data; nullptr where there is none.
std::shared_ptr<const Tokenizer> llama3_tokenizer();
std::shared_ptr<const Vocabulary> vocabulary_of_tokenizer(
    std::shared_ptr<const Tokenizer> tokenizer, std::vector<TokenId> end_tokens, int num_pads = 0);
// nullptr where there is none; made once.
std::shared_ptr<const Vocabulary> llama3_vocabulary();

// Each token's bytes stepped one by one from `position`.
TokenMask stepped_mask(Recognizer& recognizer, Position position, const Vocabulary& vocabulary);
// The bytes of a token that is in one mask and not in the other; empty if they are equal.
std::string difference(const TokenMask& a, const TokenMask& b, const Vocabulary& vocabulary);

ConstraintSpec regex_spec(std::string pattern);
ConstraintSpec choice_spec(std::vector<std::string> choices);
// Fails the test and returns nullptr if it does not compile.
std::shared_ptr<Constraint> compiled(const ConstraintSpec& spec,
                                     std::shared_ptr<const Vocabulary> vocabulary,
                                     const GuidedLimits& limits = {});

}  // namespace tessera::guided
