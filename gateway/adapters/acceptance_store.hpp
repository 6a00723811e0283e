// acceptance_store.hpp — the acceptance checks that an adapter keeps for its later versions.
//
// Kept as the JSON that the tenant sent, beside the adapter and under its id, so that a name that
// is deleted and made again has none of its former checks.
#pragma once

#include <string>
#include <string_view>

#include "adapters/registry_records.hpp"
#include "storage/ids.hpp"
#include "storage/result.hpp"
#include "storage/store.hpp"

namespace tessera {

// Thread-safe. `store` outlives it.
class AcceptanceStore {
 public:
  explicit AcceptanceStore(Store& store) : store_(store) {}

  // Empty if there are none. Errors of all: those of Store.
  Result<std::string> get(const TenantId& tenant, const AdapterInfo& adapter) const;
  // Replaces what was there, synced. `checks` has been parsed; empty: there are none any more.
  Result<void> put(const TenantId& tenant, const AdapterInfo& adapter, std::string_view checks);

 private:
  Store& store_;
};

}  // namespace tessera
