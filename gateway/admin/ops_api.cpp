// ops_api.cpp — the operations listener: is it alive, may it get requests, what is it doing.
#include <string>

#include <nlohmann/json.hpp>

#include "gateway/admin/readiness.hpp"
#include "gateway/api/api_json.hpp"
#include "gateway/handlers.hpp"
#include "gateway/version.hpp"
#include "storage/digest.hpp"

namespace tessera {
namespace {

using nlohmann::ordered_json;

// Writes series in Prometheus' text format, each with its type.
class MetricsText {
 public:
  explicit MetricsText(std::string labels) : labels_(std::move(labels)) {}

  void gauge(std::string_view name, double value) { series(name, "gauge", value, {}); }
  void counter(std::string_view name, double value, std::string_view more_labels = {}) {
    series(name, "counter", value, more_labels);
  }
  void histogram(std::string_view name, const Histogram& histogram) {
    type(name, "histogram");
    histogram.write(out_, name, labels_);
  }
  std::string take() { return std::move(out_); }

 private:
  void type(std::string_view name, std::string_view kind) {
    if (name == last_) return;  // one of several series of a name
    last_ = name;
    out_ += "# TYPE " + last_ + ' ' + std::string(kind) + '\n';
  }
  void series(std::string_view name, std::string_view kind, double value,
              std::string_view more_labels) {
    type(name, kind);
    out_ += last_ + '{' + labels_;
    if (!more_labels.empty()) out_ += ',' + std::string(more_labels);
    out_ += "} " + ordered_json(value).dump() + '\n';
  }

  std::string labels_;
  std::string last_;
  std::string out_;
};

// A label's value with what the text format would misread escaped.
std::string escape_label(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    if (c == '\n') {
      out += "\\n";
    } else {
      out += c;
    }
  }
  return out;
}

void write_engine(MetricsText& text, const EngineStats& stats) {
  const auto number = [](auto value) { return static_cast<double>(value); };
  text.gauge("vllm:num_requests_running", stats.num_running);
  text.gauge("vllm:num_requests_waiting", stats.num_waiting + stats.num_waiting_for_adapter);
  text.gauge("vllm:kv_cache_usage_perc",
             stats.num_blocks > 0 ? number(stats.num_used_blocks) / stats.num_blocks : 0.0);
  text.counter("vllm:prompt_tokens_total", number(stats.num_prompt_tokens));
  text.counter("vllm:generation_tokens_total", number(stats.num_generated_tokens));
  text.counter("vllm:prefix_cache_queries_total", number(stats.num_prompt_tokens));
  text.counter("vllm:prefix_cache_hits_total", number(stats.num_cached_tokens));
  text.counter("vllm:num_preemptions_total", number(stats.num_preemptions));
  constexpr std::array<std::string_view, kNumFinishReasons> kReasons = {
      "finished_reason=\"stop\"", "finished_reason=\"length\"", "finished_reason=\"abort\"",
      "finished_reason=\"error\""};
  for (std::size_t i = 0; i < kReasons.size(); ++i) {
    text.counter("vllm:request_success_total", number(stats.num_finished[i]), kReasons[i]);
  }
  text.gauge("tessera_kv_blocks", stats.num_blocks);
  text.gauge("tessera_kv_blocks_used", stats.num_used_blocks);
  text.gauge("tessera_kv_blocks_cached", stats.num_cached_blocks);
  text.gauge("tessera_resident_adapters", stats.num_resident_adapters);
  text.counter("tessera_engine_steps_total", number(stats.num_steps));
  text.counter("tessera_engine_failed_steps_total", number(stats.num_failed_steps));
  text.counter("tessera_engine_computed_tokens_total", number(stats.num_computed_tokens));
  text.counter("tessera_adapter_slot_loads_total", number(stats.num_adapter_loads));
  text.counter("tessera_guided_requests_total", number(stats.num_guided_requests));
  text.counter("tessera_guided_forced_tokens_total", number(stats.num_forced_tokens));
  text.counter("tessera_guided_masks_ready_total", number(stats.num_ready_masks));
  text.counter("tessera_guided_masks_computed_total", number(stats.num_computed_masks));
  text.counter("tessera_guided_masks_late_total", number(stats.num_late_masks));
}

void write_constraints(MetricsText& text, ConstraintCompiler& constraints) {
  const auto number = [](auto value) { return static_cast<double>(value); };
  const ConstraintCompiler::Stats stats = constraints.stats();
  text.counter("tessera_constraints_compiled_total", number(stats.compiled));
  text.counter("tessera_constraints_failed_total", number(stats.failed));
  text.counter("tessera_constraints_found_total", number(stats.found));
  text.counter("tessera_constraints_refused_total", number(stats.refused));
  text.gauge("tessera_constraints_cached", number(stats.cached));
  text.gauge("tessera_constraints_cached_bytes", number(stats.cached_bytes));
}

void write_gateway(MetricsText& text, const Platform& platform) {
  const Metrics& metrics = platform.metrics;
  const auto number = [](auto value) { return static_cast<double>(value); };
  text.histogram("vllm:time_to_first_token_seconds", metrics.time_to_first_token);
  text.histogram("vllm:e2e_request_latency_seconds", metrics.request_latency);
  text.gauge("tessera_connections", metrics.connections);
  text.gauge("tessera_active_requests", metrics.active_requests);
  text.gauge("tessera_body_bytes", number(platform.bodies->held_bytes()));
  text.gauge("tessera_staged_bytes", number(platform.staging->bytes()));
  text.gauge("tessera_permits", number(platform.admission.num_running()));
  for (std::size_t hundreds = 2; hundreds < metrics.responses.size(); ++hundreds) {
    text.counter("tessera_http_responses_total", number(metrics.responses[hundreds].load()),
                 "class=\"" + std::to_string(hundreds) + "xx\"");
  }
  const HostCache::Stats cache = platform.host_cache->stats();
  text.gauge("tessera_host_cache_adapters", number(cache.entries));
  text.gauge("tessera_host_cache_bytes", number(cache.bytes));
  text.gauge("tessera_host_cache_max_bytes", number(cache.max_bytes));
  text.counter("tessera_host_cache_hits_total", number(cache.hits));
  text.counter("tessera_host_cache_loads_total", number(cache.loads));
  text.counter("tessera_host_cache_failures_total", number(cache.failures));
  text.counter("tessera_host_cache_evictions_total", number(cache.evictions));
}

}  // namespace

Result<Reply> livez(Platform&, Call&) {
  ordered_json body;
  body["status"] = "alive";
  return json_reply(body);
}

// The listeners are opened last, when everything else has been read.
Result<Reply> startupz(Platform& platform, Call&) {
  ordered_json body;
  body["status"] = "started";
  body["started_at"] = unix_seconds(platform.started_at);
  return json_reply(body);
}

Result<Reply> get_version(Platform& platform, Call&) {
  ordered_json body;
  body["version"] = kVersion;
  body["model"] = platform.model.name();
  body["base_sha256"] = to_hex(platform.model.packed->digest());
  body["backend"] = platform.backend_name;
  return json_reply(body);
}

Result<Reply> readyz(Platform& platform, Call&) {
  const ServerSigns signs{.store_works = platform.store->get(Family::kMeta, "readyz").has_value(),
                          .draining = platform.is_draining(),
                          .engine_heartbeat_age = platform.engine->heartbeat_age(),
                          .ledger_sync_age = platform.ledger->sync_age()};
  const auto reasons = reasons_against(signs);
  const auto whole_ms = [](std::chrono::nanoseconds age) {
    return std::chrono::floor<std::chrono::milliseconds>(age).count();
  };
  ordered_json body;
  body["status"] = reasons.empty() ? "ready" : "not ready";
  body["reasons"] = reasons;
  body["store"] = signs.store_works ? "ok" : "failing";
  body["draining"] = signs.draining;
  body["engine_heartbeat_age_ms"] = whole_ms(signs.engine_heartbeat_age);
  body["ledger_sync_age_ms"] = whole_ms(signs.ledger_sync_age);
  body["model"] = platform.model.name();
  return json_reply(body, reasons.empty() ? 200 : 503);
}

Result<Reply> get_metrics(Platform& platform, Call&) {
  MetricsText text("model_name=\"" + escape_label(platform.model.name()) + '"');
  write_engine(text, platform.engine->stats());
  write_gateway(text, platform);
  write_constraints(text, *platform.constraints);
  HttpResponse response;
  response.headers.emplace_back("Content-Type", "text/plain; version=0.0.4; charset=utf-8");
  response.body = text.take();
  return Reply(std::move(response));
}

}  // namespace tessera
