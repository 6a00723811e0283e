// responses_input.hpp — `instructions` and `input` of the Responses API as a chat's messages.
#pragma once

#include <string>

#include <nlohmann/json.hpp>

#include "storage/result.hpp"

namespace tessera {

// `input` is a text or an array of items: messages, function_call, function_call_output, reasoning
// (without effect: reasoning is not replayed). Calls that follow each other are one message's. What
// the messages say is checked by read_messages() later.
// Errors: kInvalidValue, kUnknownParameter, kUnsupportedParameter, kUnsupportedContent,
// kRequestExceedsLimit; param is the JSON path.
Result<nlohmann::ordered_json> messages_of_input(const nlohmann::ordered_json& input,
                                                 const std::string& instructions);

}  // namespace tessera
