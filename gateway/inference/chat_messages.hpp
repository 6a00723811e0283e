// chat_messages.hpp — the conversation of a chat request, read strictly (http-api.md 3.1).
//
// What a template is given are the client's own members, checked and in order: role, content, name,
// a call's id, name and arguments, a tool's answer, reasoning. Nothing that a template could read
// gets past without a check, and nothing is made up.
#pragma once

#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "engine/text/template_traits.hpp"
#include "storage/result.hpp"

namespace tessera {

// Errors: kMissingRequiredParameter, kInvalidValue, kUnknownParameter, kUnsupportedParameter,
// kUnsupportedContent, kStringAboveMaxLength, kRequestExceedsLimit; param is the JSON path.
// `value` is the request's "messages". Returns an array of objects in the client's forms: content
// that is a string, an array of text parts, or null beside tool_calls; arguments that are strings.
Result<nlohmann::ordered_json> read_messages(const nlohmann::ordered_json& value);

// The same in the forms that the template takes.
nlohmann::ordered_json messages_for(const TemplateTraits& traits,
                                    const nlohmann::ordered_json& messages);

}  // namespace tessera
