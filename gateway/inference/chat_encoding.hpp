// chat_encoding.hpp — a conversation as the token ids that the model continues.
#pragma once

#include <string>
#include <vector>

#include "gateway/inference/choice_text.hpp"
#include "gateway/inference/openai_types.hpp"
#include "gateway/served_model.hpp"
#include "storage/clock.hpp"
#include "storage/result.hpp"

namespace tessera {

struct EncodedChat {
  std::string text;
  std::vector<TokenId> ids;  // at least one
};

// Errors: kUnsupportedParameter if the model has no template, or the template does not look at
// something that the request gives it; the template's own; param names the field.
Result<EncodedChat> encode_chat(const ServedModel& model, const Conversation& conversation,
                                WallTime now);

// How the answer to it is to be read; nothing if all of it is content. `prompt` is its text.
std::optional<AnswerReading> reading_of(const ServedModel& model, const Conversation& conversation,
                                        std::string_view prompt);

}  // namespace tessera
