// document.hpp — the OpenAPI 3.1 document: the route tables, with the shapes of operations.hpp.
//
// Every path, method, scope and kind of body comes from the routes, so that the document cannot
// name what is not there; what a route lacks in operations.hpp is told by undescribed_routes().
#pragma once

#include <span>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "gateway/routes.hpp"

namespace tessera::openapi {

// The whole document: both listeners, the operations listener's paths under their own tag.
nlohmann::ordered_json document();

// The same as one line of JSON, made once. Thread-safe.
const std::string& document_text();

// "GET /v1/models" for each of `routes` that has no operation, and for each operation that has no
// route; of both listeners.
std::vector<std::string> undescribed_routes();
std::vector<std::string> unrouted_operations();

}  // namespace tessera::openapi
