// key_json.hpp — service accounts and API keys as OpenAI's administration API shows them.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "tenancy/directory.hpp"

namespace tessera {

nlohmann::ordered_json account_json(const ServiceAccount& account);

// A tenant's key, without its secret.
nlohmann::ordered_json key_json(const TenantEntry& entry, const ApiKeyRecord& key);
// An admin's.
nlohmann::ordered_json admin_key_json(const ApiKeyRecord& key);

// A key with its value: the only time that it is shown.
nlohmann::ordered_json created_key_json(const CreatedApiKey& created);

}  // namespace tessera
