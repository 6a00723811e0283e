// slug.hpp — the names that tenants are shown and addressed by.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "storage/result.hpp"

namespace tessera {

inline constexpr std::size_t kMaxNameBytes = 256;
inline constexpr std::size_t kMaxSlugChars = 63;  // one DNS label

// Names are shown to people: 1 to kMaxNameBytes bytes without control characters.
// Errors: kInvalidValue.
Result<void> check_name(std::string_view name);

// Slugs are part of URLs: 1 to kMaxSlugChars of a-z, 0-9 and -, beginning and ending with no dash.
bool is_slug(std::string_view text);

// A slug that resembles `name`, "acme-sons" for "Acme & Sons", with room for seven more characters.
std::string slug_of(std::string_view name);

}  // namespace tessera
