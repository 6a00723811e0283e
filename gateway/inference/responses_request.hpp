// responses_request.hpp — a request of the Responses API, read as the chat request that it means.
//
// The stateless part: nothing is stored, so nothing can be referred to. `store` true,
// `previous_response_id`, `conversation`, `prompt` and items by reference are refused by name.
#pragma once

#include <nlohmann/json.hpp>

#include "gateway/inference/openai_types.hpp"
#include "storage/result.hpp"

namespace tessera {

struct ResponsesRequest {
  ChatRequest chat;
  // What the answer's object repeats of the request: instructions, tools, text, temperature, …
  nlohmann::ordered_json response;
};

// Errors: those of parse_chat_request; param is the path in this request.
Result<ResponsesRequest> parse_responses_request(const nlohmann::ordered_json& body);

}  // namespace tessera
