// format_automata.hpp — formats that are easier to step than to write as regular expressions.
//
// None has tables: their states are a few fields packed into a word, so one object serves every
// pool and thread. Each step refuses what cannot be completed.
#pragma once

#include <memory>

#include "engine/guided/regex_pool.hpp"

namespace tessera::guided {

// RFC 3339 full-date, in the Gregorian calendar, years 0001 to 9999.
std::shared_ptr<const Automaton> date_text();
// RFC 3339 full-time with its offset. No leap seconds: 23:59:60Z is legal, but most of what reads a
// time refuses it.
std::shared_ptr<const Automaton> time_text();
// A date, T or t, a time.
std::shared_ptr<const Automaton> date_time_text();

// RFC 1123: labels of at most 63 letters, digits and hyphens within, at most 253 in all. No label
// has hyphens in its third and fourth place: xn-- promises Punycode, which is not regular.
std::shared_ptr<const Automaton> hostname_text();

// RFC 4291 section 2.2, every form: eight groups, :: for one group or more, an IPv4 address for the
// last two.
std::shared_ptr<const Automaton> ipv6_text();

// Regular expressions that ECMA-262 and others read alike: ASCII; groups (also (?: (?= (?!) nested
// at most kMaxRegexDepth deep; classes with ranges in order; * + ? {n} {n,} {n,m} of at most four
// digits with n <= m, then perhaps a ?.
std::shared_ptr<const Automaton> regex_text();
inline constexpr int kMaxRegexDepth = 15;

}  // namespace tessera::guided
