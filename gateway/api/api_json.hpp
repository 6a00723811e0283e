// api_json.hpp — small pieces that the JSON of several handlers shares.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "gateway/routes.hpp"
#include "storage/clock.hpp"

namespace tessera {

// Unix seconds, as OpenAI's objects have them.
std::int64_t unix_seconds(WallTime time);

// An answer with a JSON body: one line and its newline.
Reply json_reply(const nlohmann::ordered_json& body, int status = 200);

// The page of `objects` (all of them, in the list's own order) that the query's limit, after,
// before and order ask for, as OpenAI's list object. An object is found by its "id".
// `complete` says of those on the page what else is to be told; before, an "id" is enough.
// Errors: kInvalidValue for a limit out of range, an unknown order or an unknown id.
Result<Reply> list_reply(const Target& target, std::vector<nlohmann::ordered_json> objects,
                         const std::function<void(nlohmann::ordered_json&)>& complete = {});

// The query parameter as an integer in [min, max], or nullopt if it is absent.
// Errors: kInvalidValue.
Result<std::optional<std::int64_t>> integer_parameter(const Target& target, std::string_view name,
                                                      std::int64_t min, std::int64_t max);

// The query parameter as a switch: `?name`, `?name=true` or `?name=false`; false if it is absent.
// Errors: kInvalidValue.
Result<bool> switch_parameter(const Target& target, std::string_view name);

}  // namespace tessera
