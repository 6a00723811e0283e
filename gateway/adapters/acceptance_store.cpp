#include "gateway/adapters/acceptance_store.hpp"

#include "storage/keys.hpp"

namespace tessera {

Result<std::string> AcceptanceStore::get(const TenantId& tenant, const AdapterInfo& adapter) const {
  const auto value = store_.get(Family::kMeta, keys::acceptance(tenant.str(), adapter.id));
  if (!value) return value.error();
  return value->value_or("");
}

Result<void> AcceptanceStore::put(const TenantId& tenant, const AdapterInfo& adapter,
                                  std::string_view checks) {
  std::string key = keys::acceptance(tenant.str(), adapter.id);
  Batch batch;
  if (checks.empty()) {
    batch.erase(Family::kMeta, std::move(key));
  } else {
    batch.put(Family::kMeta, std::move(key), std::string(checks));
  }
  return store_.write(batch);
}

}  // namespace tessera
