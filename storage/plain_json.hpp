// plain_json.hpp — JSON as nearly all of it is, parsed by simdjson; the rest is left to the
// strict parser.
//
// Nearly every text that arrives is correct, and simdjson parses those many times faster. Whatever
// it refuses, an object of many members and one that has a name twice are left to
// parse_json()'s own parser, which reads the text from its beginning and tells the fault. So no
// error is here a second time, and what is accepted here is accepted there with an equal tree.
#pragma once

#include <optional>
#include <string_view>

#include <nlohmann/json.hpp>

#include "storage/json.hpp"

namespace tessera {

// The one value that `text` is; nullopt if it, or these limits, need a closer look.
std::optional<nlohmann::ordered_json> parse_plain_json(std::string_view text,
                                                       const JsonLimits& limits);

}  // namespace tessera
