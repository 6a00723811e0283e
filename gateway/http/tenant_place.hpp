// tenant_place.hpp — a tenant's own endpoint: https://host/t/{slug}/v1/… and, by host name,
// https://{slug}.domain/v1/….
//
// Both are the same API; the key decides who is asking, and has to be that tenant's.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "gateway/http/http.hpp"

namespace tessera {

// The slug that the request names, taken off the target's path if it stood there. The path wins
// over the host. `domain` is the server's own, or empty: then hosts say nothing.
std::optional<std::string> take_tenant_slug(Target& target, std::string_view host,
                                            std::string_view domain);

}  // namespace tessera
