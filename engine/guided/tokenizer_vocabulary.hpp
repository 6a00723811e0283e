// tokenizer_vocabulary.hpp — the tokens of engine/text's tokenizers, of any kind, as bytes.
#pragma once

#include <memory>
#include <span>

#include "engine/guided/vocabulary.hpp"
#include "engine/text/tokenizer.hpp"
#include "kernels/model_spec.hpp"

namespace tessera::guided {

// The bytes of a token are those that the detokenizer appends for it in the middle of a text: byte
// fallback tokens are their byte, markers of a leading space are a space. `end_tokens` end a text;
// `vocab_size` is the width of the logits. The tokenizer is shared with the result, for forced
// text.
VocabularyTokens vocabulary_of(std::shared_ptr<const Tokenizer> tokenizer,
                               std::span<const TokenId> end_tokens, int vocab_size);

}  // namespace tessera::guided
