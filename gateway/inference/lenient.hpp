// lenient.hpp — parameters that nobody knows: refused, or for a lenient key left out and told.
//
// Wrappers add members of their own to requests. A key that says so has them left out of what is
// parsed, one after the other, and named in the answer's header x-ignored-parameters. What is known
// and not supported is refused all the same: leaving it out would change the answer.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "gateway/routes.hpp"
#include "storage/result.hpp"

namespace tessera {

inline constexpr std::size_t kMaxIgnoredParameters = 32;  // of a request; one more is refused
inline constexpr std::size_t kMaxIgnoredChars = 1024;  // of the header; a longer one ends in "..."

// Takes the member that `refused` is about out of `body` and notes it in the call. False if the
// error is another one, the caller's key is not lenient, or there are too many.
bool leave_out(Call& call, const Error& refused, nlohmann::ordered_json& body);

// What `parse` makes of `body`, by the policy of the caller's key.
template <class Parse>
auto parse_by_policy(Call& call, nlohmann::ordered_json& body, const Parse& parse) {
  auto parsed = parse(body);
  while (!parsed && leave_out(call, parsed.error(), body)) parsed = parse(body);
  return parsed;
}

// Erases the member at a path as errors tell it: "messages[2].tool_calls[0].extra". False if there
// is none.
bool erase_member(nlohmann::ordered_json& body, std::string_view path);

// The names as a header's value: printable ASCII, separated by commas.
std::string ignored_header(const std::vector<std::string>& names);

}  // namespace tessera
