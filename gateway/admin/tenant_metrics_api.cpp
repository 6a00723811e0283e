// tenant_metrics_api.cpp — GET /metrics/tenants: what each tenant has used, for Prometheus.
//
// For admins, and of bounded size however many tenants there are: kMaxTenantSeries of those who
// asked most have series of their own, the others are summed up as project="". Counters are the
// ledger's totals, so they go on over a restart.
#include <algorithm>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "gateway/config.hpp"
#include "gateway/handlers.hpp"

namespace tessera {
namespace {

struct TenantSeries {
  std::string project;  // no character of it needs an escape; empty: the others
  UsageTotals totals = {};
  std::int64_t running = 0;
};

// Errors: those of the ledger.
Result<std::vector<TenantSeries>> all_series(const Platform& platform) {
  const auto running = platform.admission.running_by_tenant();
  std::vector<TenantSeries> all;
  for (const Tenant& tenant : platform.directory->snapshot()->tenants()) {
    const auto totals = platform.ledger->totals_by_tenant(tenant.id);
    if (!totals) return totals.error();
    const auto now = running.find(tenant.id);
    all.push_back({tenant.id.str(), *totals, now == running.end() ? 0 : now->second});
  }
  return all;
}

// The busiest, and last what the rest comes to.
void bound(std::vector<TenantSeries>& all) {
  if (all.size() <= kMaxTenantSeries) return;
  std::ranges::stable_sort(all, std::greater(),
                           [](const TenantSeries& series) { return series.totals.requests; });
  TenantSeries others;
  for (const TenantSeries& series : std::span(all).subspan(kMaxTenantSeries)) {
    others.totals += series.totals;
    others.running += series.running;
  }
  all.resize(kMaxTenantSeries);
  all.push_back(std::move(others));
}

using Value = std::int64_t (*)(const TenantSeries&);

void write(std::string& out, std::string_view name, std::string_view type, Value value,
           const std::vector<TenantSeries>& all) {
  out.append("# TYPE ").append(name).append(" ").append(type).append("\n");
  for (const TenantSeries& series : all) {
    out.append(name).append("{project=\"").append(series.project).append("\"} ");
    out.append(std::to_string(value(series))).append("\n");
  }
}

Result<Reply> tenant_metrics(const Platform& platform) {
  auto all = all_series(platform);
  if (!all) return all.error();
  bound(*all);
  std::string out;
  const auto counter = [&](std::string_view name, Value value) {
    write(out, name, "counter", value, *all);
  };
  counter("tessera_tenant_requests_total", [](const TenantSeries& s) { return s.totals.requests; });
  counter("tessera_tenant_input_tokens_total",
          [](const TenantSeries& s) { return s.totals.prompt_tokens; });
  counter("tessera_tenant_input_cached_tokens_total",
          [](const TenantSeries& s) { return s.totals.cached_tokens; });
  counter("tessera_tenant_output_tokens_total",
          [](const TenantSeries& s) { return s.totals.completion_tokens; });
  counter("tessera_tenant_cost_pico_usd_total",
          [](const TenantSeries& s) { return s.totals.cost.pico_dollars; });
  write(
      out, "tessera_tenant_requests_running", "gauge",
      [](const TenantSeries& s) { return s.running; }, *all);
  HttpResponse response;
  response.headers.emplace_back("Content-Type", "text/plain; version=0.0.4; charset=utf-8");
  response.body = std::move(out);
  return Reply(std::move(response));
}

}  // namespace

// On a worker: it reads a record a tenant.
Result<Reply> get_tenant_metrics(Platform& platform, Call&) {
  auto deferred = std::make_unique<Deferred>(
      Deferred{*platform.workers, [&platform] { return tenant_metrics(platform); }});
  return Reply(std::move(deferred));
}

}  // namespace tessera
