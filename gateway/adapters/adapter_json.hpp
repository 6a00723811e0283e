// adapter_json.hpp — adapters, their versions and aliases as the API shows them.
#pragma once

#include <nlohmann/json.hpp>

#include "adapters/registry_records.hpp"
#include "gateway/platform.hpp"
#include "storage/ids.hpp"

namespace tessera {

// {"version": 7}, or {"split": [{"version": 7, "weight": 95}, …], "sticky": "user"}.
nlohmann::ordered_json target_json(const AliasTarget& target);
// With `etag`, and who moved it when.
nlohmann::ordered_json alias_json(const AdapterInfo& info, std::string_view name,
                                  const Alias& alias);

nlohmann::ordered_json version_json(const AdapterVersion& version);
// With "resident": where its pages are at this moment.
nlohmann::ordered_json version_json(const Platform& platform, const AdapterVersion& version);
nlohmann::ordered_json adapter_json(const Platform& platform, const TenantId& tenant,
                                    const AdapterInfo& info);

}  // namespace tessera
