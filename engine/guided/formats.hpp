// formats.hpp — the formats of JSON Schema as regular languages.
//
// What is generated is valid to everyone who checks it; what no regular language can tell apart, or
// readers disagree about, is left out:
//   date-time, time   no leap seconds, no year 0000
//   hostname          no labels in Punycode (xn--...), nor with hyphens in both third and fourth
//   place idn-hostname      labels of letters and digits of ASCII, Latin-1, Greek, Cyrillic, Kana,
//   Han and
//                     Hangul in lower case, at most four, of at most 15 characters where not ASCII
//   email, idn-email  comments and folded white space are not addresses
//   iri               code points of the Basic Multilingual Plane
//   uri-template      names without percent signs, prefixes of up to 999
//   relative-json-pointer   numbers in which no digit follows a 0
//   regex             see regex_text() in format_automata.hpp
// The rest are the whole of what their RFCs allow.
#pragma once

#include <optional>
#include <span>
#include <string_view>

#include "engine/guided/regex_pool.hpp"

namespace tessera::guided {

// The language of a format that is asserted; nullopt if the name is not known to us (an
// annotation, then). Made anew by each call: some microseconds, tens for the longest.
std::optional<RegexId> format_language(std::string_view name, RegexPool& pool,
                                       const GuidedLimits& limits);
// Sorted.
std::span<const std::string_view> known_formats();

}  // namespace tessera::guided
