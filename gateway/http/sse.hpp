// sse.hpp — server-sent events, as OpenAI's clients read them (http-api.md 3.3).
//
// One event is one line of JSON, which never holds a raw line break, so no `data:` line has to be
// split. A comment keeps proxies and clients from giving up while nothing is generated.
#pragma once

#include <string>
#include <string_view>

namespace tessera {

inline std::string sse_event(std::string_view json_line) {
  std::string out = "data: ";
  out += json_line;
  out += "\n\n";
  return out;
}

inline constexpr std::string_view kSseDone = "data: [DONE]\n\n";
inline constexpr std::string_view kSseHeartbeat = ": keep-alive\n\n";

}  // namespace tessera
