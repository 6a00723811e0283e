// readiness.hpp — whether requests had better go elsewhere, and why.
#pragma once

#include <chrono>
#include <string_view>
#include <vector>

namespace tessera {

// A step takes a fraction of a second, and so does a sync: beyond these something is stuck.
inline constexpr std::chrono::seconds kMaxEngineSilence{30};
inline constexpr std::chrono::seconds kMaxLedgerSyncAge{30};

struct ServerSigns {
  bool store_works = true;
  bool draining = false;
  std::chrono::nanoseconds engine_heartbeat_age{};  // Engine::heartbeat_age()
  std::chrono::nanoseconds ledger_sync_age{};       // UsageLedger::sync_age()
};

// What speaks against it, by the names that /readyz has; empty: it is ready.
std::vector<std::string_view> reasons_against(const ServerSigns& signs);

}  // namespace tessera
