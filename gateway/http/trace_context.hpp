// trace_context.hpp — the trace that a request is a part of, as its header `traceparent` tells.
// (W3C Trace Context.)
//
// The caller's trace goes into the log, the usage record and the answer's own `traceparent`, under
// a span of ours; nothing is decided by it. One that is malformed is as good as none.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "gateway/http/http.hpp"

namespace tessera {

// Numbers are hex digits, lower case, as on the wire.
struct TraceContext {
  std::string trace_id;   // 32
  std::string parent_id;  // 16: the caller's span
  std::string span_id;    // 16: ours
  bool sampled = false;   // whether the caller keeps it
};

// With a new span of ours. Nullopt unless there is exactly one such header, of a form that its
// version allows.
std::optional<TraceContext> trace_of(const Headers& headers);

// The header that tells of our span.
std::string traceparent(const TraceContext& trace);

}  // namespace tessera
