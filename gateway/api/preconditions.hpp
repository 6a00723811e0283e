// preconditions.hpp — If-Match and If-None-Match: changes by compare-and-swap over HTTP.
#pragma once

#include "adapters/registry.hpp"
#include "gateway/http/http.hpp"
#include "storage/result.hpp"

namespace tessera {

// What the request's headers say of the object that it wants to change (RFC 9110, section 13.1): a
// list of strong entity tags or "*" in If-Match, "*" in If-None-Match. Weak tags match nothing.
// Errors: kInvalidValue, naming the header, for anything else.
Result<Precondition> precondition_of(const Headers& headers);

}  // namespace tessera
