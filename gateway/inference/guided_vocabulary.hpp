// guided_vocabulary.hpp — a served model's tokens as the bytes that they add to an answer's text.
//
// A constraint is about the text that clients see. Special tokens show none, but for the marks that
// an answer's parser has to see (AnswerReading::marks): in such an answer these are text like any
// other, so a model has as many vocabularies as it has sets of marks.
#pragma once

#include <memory>
#include <span>

#include "engine/guided/vocabulary.hpp"
#include "engine/text/tokenizer.hpp"
#include "storage/result.hpp"

namespace tessera {

// `vocab_size` is the width of the logits. `tokenizer` outlives the vocabulary.
// Errors: kUnsupportedParameter if the tokenizer's texts are not what its tokens' bytes add up to
// (WordPiece, for one), so that nothing could be promised of them.
Result<std::shared_ptr<const guided::Vocabulary>> make_guided_vocabulary(
    const Tokenizer& tokenizer, int vocab_size, std::span<const TokenId> end_tokens,
    std::span<const TokenId> marks);

}  // namespace tessera
