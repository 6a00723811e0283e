// plain_json.hpp — JSON as nearly all of it is, parsed in a third of the time; the rest is left to
// the strict parser.
//
// Nearly every text that arrives is correct, and a parser that need not know what is wrong with one
// is short and fast. What this one does not know, be it a fault, a surrogate pair, an object of
// many members or a number out of range, it leaves to parse_json()'s own, which reads the text from
// its beginning and tells the fault. So no error and no limit is here a second time, and whatever
// is accepted here is accepted there with the same tree.
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
