// rotation_grace.hpp — how long what a rotation replaces stays good: keys', and webhooks' secrets.
#pragma once

#include <chrono>
#include <string_view>

#include "storage/result.hpp"

namespace tessera {

inline constexpr std::chrono::seconds kMaxRotationGrace{2'592'000};  // thirty days
inline constexpr std::chrono::seconds kDefaultRotationGrace{86'400};

// "grace_seconds" of the JSON object `body`; the default if the body is empty or does not name it.
// Errors: those of parse_json and Fields, for the client.
Result<std::chrono::seconds> read_rotation_grace(std::string_view body);

}  // namespace tessera
