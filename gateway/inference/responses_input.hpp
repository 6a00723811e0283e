// responses_input.hpp — `instructions` and `input` of the Responses API as a chat's messages.
#pragma once

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "storage/result.hpp"

namespace tessera {

struct InputMessages {
  nlohmann::ordered_json messages = nlohmann::ordered_json::array();
  std::vector<std::string> places = {};  // where each comes from: "input[2]", "instructions"
};

// `input` is a text or an array of items: messages, function_call, function_call_output, reasoning
// (without effect: reasoning is not replayed). Calls that follow each other are one message's. What
// the messages say is checked by read_messages() later.
// Errors: kInvalidValue, kUnknownParameter, kUnsupportedParameter, kUnsupportedContent,
// kRequestExceedsLimit; param is the JSON path.
Result<InputMessages> messages_of_input(const nlohmann::ordered_json& input,
                                        const std::string& instructions);

}  // namespace tessera
