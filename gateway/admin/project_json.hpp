// project_json.hpp — a tenant as admins see it and say what it is to be: OpenAI's project, with our
// own members beside theirs (weight, tier, labels, limits).
#pragma once

#include <nlohmann/json.hpp>

#include "gateway/api/fields.hpp"
#include "tenancy/directory.hpp"

namespace tessera {

inline constexpr std::size_t kMaxProjectNameChars = 128;

nlohmann::ordered_json project_json(const TenantEntry& entry);

// Overwrites what the body of `fields` has. A label that is null goes; so does a limit
// that need not be. The ranges of limits are the directory's business.
void read_project(Fields& fields, TenantSettings& settings);

}  // namespace tessera
