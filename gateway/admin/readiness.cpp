#include "gateway/admin/readiness.hpp"

namespace tessera {

std::vector<std::string_view> reasons_against(const ServerSigns& signs) {
  std::vector<std::string_view> reasons;
  if (!signs.store_works) reasons.push_back("store_failing");
  if (signs.draining) reasons.push_back("draining");
  if (signs.engine_heartbeat_age > kMaxEngineSilence) reasons.push_back("engine_silent");
  if (signs.ledger_sync_age > kMaxLedgerSyncAge) reasons.push_back("ledger_not_synced");
  return reasons;
}

}  // namespace tessera
