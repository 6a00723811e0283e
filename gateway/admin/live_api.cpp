// live_api.cpp — GET /admin/v1/live: what the server is doing right now, as `tessera top` shows it.
#include <algorithm>
#include <span>
#include <tuple>
#include <unordered_map>
#include <utility>

#include <nlohmann/json.hpp>

#include "gateway/api/api_json.hpp"
#include "gateway/handlers.hpp"

namespace tessera {
namespace {

using nlohmann::ordered_json;

constexpr std::size_t kMaxLiveTenants = 100;  // told in one answer, the busiest first
constexpr std::chrono::seconds kWindow{10};   // in which a tenant's requests have ended
constexpr std::size_t kMaxRecentRecords = 100'000;

ordered_json engine_json(const EngineStats& stats) {
  ordered_json json;
  json["running"] = stats.num_running;
  json["waiting"] = stats.num_waiting;
  json["waiting_for_adapter"] = stats.num_waiting_for_adapter;
  json["kv_blocks"] = stats.num_blocks;
  json["used_kv_blocks"] = stats.num_used_blocks;
  json["cached_kv_blocks"] = stats.num_cached_blocks;
  json["steps"] = stats.num_steps;
  json["prompt_tokens"] = stats.num_prompt_tokens;
  json["cached_tokens"] = stats.num_cached_tokens;
  json["generated_tokens"] = stats.num_generated_tokens;
  return json;
}

ordered_json residency_json(const EngineStats& engine, const HostCache::Stats& host) {
  ordered_json json;
  json["device_adapters"] = engine.num_resident_adapters;
  json["device_bytes"] = engine.num_adapter_bytes;
  json["host_adapters"] = host.entries;
  json["host_bytes"] = host.bytes;
  json["host_max_bytes"] = host.max_bytes;
  json["host_pinned_bytes"] = host.pinned_bytes;
  json["loading"] = host.loading;
  return json;
}

// What a tenant's requests came to that ended within the window.
struct TenantLoad {
  TenantId tenant;
  std::int64_t requests = 0;
  std::int64_t input_tokens = 0;
  std::int64_t output_tokens = 0;
};

ordered_json tenant_json(const DirectorySnapshot& snapshot, const TenantLoad& load) {
  const TenantEntry* entry = snapshot.find(load.tenant);
  ordered_json json;
  json["project_id"] = load.tenant.str();
  json["name"] = entry ? entry->tenant.name : "";
  json["requests"] = load.requests;
  json["input_tokens"] = load.input_tokens;
  json["output_tokens"] = load.output_tokens;
  json["output_tokens_per_second"] =
      static_cast<double>(load.output_tokens) / static_cast<double>(kWindow.count());
  return json;
}

// The busiest first. Errors: those of the ledger.
Result<std::vector<TenantLoad>> recent_loads(const UsageLedger& ledger, WallTime now) {
  std::unordered_map<TenantId, TenantLoad> sums;
  std::size_t read = 0;
  const auto scanned = ledger.scan(now - kWindow, now + kWindow, [&](const UsageRecord& record) {
    TenantLoad& load = sums[record.tenant];
    load.tenant = record.tenant;
    ++load.requests;
    load.input_tokens += record.prompt_tokens;
    load.output_tokens += record.completion_tokens;
    return ++read < kMaxRecentRecords;
  });
  if (!scanned) return scanned.error();
  std::vector<TenantLoad> loads;
  for (auto& [tenant, load] : sums) loads.push_back(std::move(load));
  std::ranges::sort(loads, [](const TenantLoad& a, const TenantLoad& b) {
    return std::tuple(-a.output_tokens, -a.requests, a.tenant) <
           std::tuple(-b.output_tokens, -b.requests, b.tenant);
  });
  return loads;
}

}  // namespace

Result<Reply> get_live(Platform& platform, Call& call) {
  const EngineStats stats = platform.engine->stats();
  const auto loads = recent_loads(*platform.ledger, call.received_wall);
  if (!loads) return loads.error();
  const auto snapshot = platform.directory->snapshot();
  ordered_json body;
  body["object"] = "live";
  body["time_ms"] =
      std::chrono::floor<std::chrono::milliseconds>(call.received_wall).time_since_epoch().count();
  body["started_at"] = unix_seconds(platform.started_at);
  body["model"] = platform.model.name();
  body["draining"] = platform.is_draining();
  body["connections"] = platform.metrics.connections.load();
  body["engine"] = engine_json(stats);
  body["residency"] = residency_json(stats, platform.host_cache->stats());
  body["window_seconds"] = kWindow.count();
  body["num_tenants"] = loads->size();
  body["tenants"] = ordered_json::array();
  for (const TenantLoad& load : std::span(*loads).first(std::min(kMaxLiveTenants, loads->size()))) {
    body["tenants"].push_back(tenant_json(*snapshot, load));
  }
  return json_reply(body);
}

}  // namespace tessera
