// raw_json.hpp — where a value stands in the text of a JSON document that has been parsed already.
//
// A JSON Schema is compiled from its own bytes: a tree would have rounded its numbers.
#pragma once

#include <string_view>
#include <vector>

namespace tessera {

// The text of the member `name` of the object that `object` is; empty if it has none. `object` is
// valid JSON without equal keys (storage/json.hpp).
std::string_view raw_member(std::string_view object, std::string_view name);

// The texts of the elements of the array that `array` is, which is valid JSON.
std::vector<std::string_view> raw_elements(std::string_view array);

}  // namespace tessera
