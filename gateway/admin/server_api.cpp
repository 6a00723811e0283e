// server_api.cpp — /admin/v1: the running server itself, for whoever runs it.
//
// What is set here is of this process: after a restart the command line counts again. Each change
// is on the audit log.
#include <array>
#include <utility>

#include <nlohmann/json.hpp>

#include "gateway/admin/etags.hpp"
#include "gateway/api/api_json.hpp"
#include "gateway/api/fields.hpp"
#include "gateway/handlers.hpp"
#include "storage/digest.hpp"
#include "storage/json.hpp"

namespace tessera {
namespace {

using nlohmann::ordered_json;

constexpr std::size_t kMaxLevelChars = 16;
constexpr std::int64_t kMaxDrainSeconds = 86'400;

// Errors: those of the store.
Result<void> audited(Platform& platform, const Call& call, const std::string& event) {
  const std::array records = {
      new_audit_record(event, call.caller.key, TenantId(), "server", call.received_wall)};
  return platform.directory->write_audited(Batch(), records);
}

// The configuration.

ordered_json settings_json(const ServerConfig& config) {
  ordered_json json;
  json["model"] = config.model.string();
  json["data"] = config.data.string();
  json["listen"] = config.listen;
  json["ops_listen"] = config.ops_listen;
  json["domain"] = config.domain;
  json["tls"] = config.tls.enabled();
  json["client_certificates"] = !config.tls.client_ca.empty();
  json["trusted_proxies"] = config.trusted_proxies.texts();
  json["proxy_protocol"] = config.proxy_protocol.texts();
  json["oidc"] = config.oidc.string();
  json["api_key_header"] = config.api_key_header;
  json["webhook_http"] = config.webhook_http;
  json["webhook_addresses"] = config.webhook_addresses.texts();
  json["prices"] = config.prices.string();
  json["sandbox"] = !config.sandbox_program.empty();
  json["openai_strict"] = config.openai_strict;
  return json;
}

ordered_json capacity_json(const ServerConfig& config) {
  ordered_json json;
  json["backend"] = config.backend;
  json["head"] = config.head;
  json["kv"] = config.kv;
  json["tool_format"] = config.tool_format;
  json["threads"] = config.threads;
  json["pin_threads"] = config.pin_threads;
  json["io_threads"] = config.io_threads;
  json["workers"] = config.workers;
  json["max_context"] = config.max_context;
  json["max_seqs"] = config.max_seqs;
  json["token_budget"] = config.token_budget;
  json["max_queue"] = config.max_queue;
  json["kv_bytes"] = config.kv_bytes;
  json["adapter_bytes"] = config.adapter_bytes;
  json["adapter_device_bytes"] = config.adapter_device_bytes;
  json["adapter_pages"] = config.adapter_pages;
  json["adapter_slots"] = config.adapter_slots;
  json["step_adapters"] = config.step_adapters;
  json["adapter_loaders"] = config.adapter_loaders;
  json["packed_bytes"] = config.packed_bytes;
  json["body_bytes"] = config.body_bytes;
  json["upload_bytes"] = config.upload_bytes;
  return json;
}

// What can be changed first, then what the command line said.
ordered_json config_json(const Platform& platform) {
  ordered_json json;
  json["object"] = "config";
  json["log_level"] = to_string(platform.log_level.load());
  json["drain_seconds"] = platform.drain_seconds.load();
  json["settings"] = settings_json(platform.config);
  json["settings"].update(capacity_json(platform.config));
  return json;
}

struct NewConfig {
  LogLevel log_level;
  std::int64_t drain_seconds;
};

Result<NewConfig> read_config(const Platform& platform, const Call& call) {
  const auto body = parse_json(call.request.body);
  if (!body) return body.error();
  std::string name(to_string(platform.log_level.load()));
  std::optional<std::int64_t> seconds;
  Fields fields(*body);
  fields.text("log_level", kMaxLevelChars, name);
  fields.integer("drain_seconds", {0, kMaxDrainSeconds}, seconds);
  const auto level = log_level_from_string(name);
  if (!level) {
    fields.fail(Code::kInvalidValue, "log_level",
                "'log_level' is \"info\", \"warn\" or \"error\".");
  }
  if (auto read = fields.finish(); !read) return read.error();
  return NewConfig{*level, seconds.value_or(platform.drain_seconds.load())};
}

// Draining.

Result<Reply> hold_back(Platform& platform, const Call& call, bool held_back) {
  if (platform.held_back.exchange(held_back) != held_back) {
    const auto written = audited(platform, call, held_back ? "server.drained" : "server.undrained");
    if (!written) return written.error();
  }
  ordered_json json;
  json["object"] = "drain";
  json["draining"] = platform.is_draining();
  json["running"] = platform.admission.num_running();
  return json_reply(json);
}

// Looking at one tenant.

ordered_json window_json(const LimitsView::Window& window) {
  ordered_json json;
  json["limit"] = window.limit;
  json["remaining"] = window.remaining;
  json["reset_ms"] = std::chrono::ceil<std::chrono::milliseconds>(window.reset).count();
  return json;
}

ordered_json use_json(const PeriodUse& use) {
  ordered_json json;
  json["requests_today"] = use.requests_today;
  json["tokens_today"] = use.tokens_today;
  json["tokens_this_month"] = use.tokens_this_month;
  json["spend_cents_this_month"] = use.spend_this_month.whole_cents();
  return json;
}

// The tenant's adapters that are in memory because it asked first.
ordered_json in_memory_json(const Platform& platform, const TenantId& tenant) {
  std::size_t adapters = 0;
  std::size_t bytes = 0;
  for (const HostCache::Listed& listed : platform.host_cache->list()) {
    if (listed.tenant != tenant.str()) continue;
    ++adapters;
    bytes += listed.bytes;
  }
  ordered_json json;
  json["adapters"] = adapters;
  json["bytes"] = bytes;
  return json;
}

}  // namespace

Result<Reply> get_config(Platform& platform, Call&) {
  return tagged_reply(config_json(platform));
}

Result<Reply> set_config(Platform& platform, Call& call) {
  const auto config = read_config(platform, call);
  if (!config) return config.error();
  const auto guard = guard_of(call, [&](const DirectorySnapshot&) {
    return Result<ordered_json>(boost::system::in_place_value, config_json(platform));
  });
  if (!guard) return guard.error();
  if (*guard) {
    if (auto checked = (*guard)(*platform.directory->snapshot()); !checked) return checked.error();
  }
  if (auto written = audited(platform, call, "config.updated"); !written) return written.error();
  platform.log_level = config->log_level;
  platform.drain_seconds = config->drain_seconds;
  set_log_level(config->log_level);
  return tagged_reply(config_json(platform));
}

Result<Reply> drain_server(Platform& platform, Call& call) {
  return hold_back(platform, call, true);
}

Result<Reply> undrain_server(Platform& platform, Call& call) {
  return hold_back(platform, call, false);
}

Result<Reply> get_residency(Platform& platform, Call& call) {
  std::vector<ordered_json> objects;
  for (const HostCache::Listed& listed : platform.host_cache->list()) {
    ordered_json json;
    json["id"] = to_hex(listed.digest);
    json["object"] = "engine.residency";
    json["project_id"] =
        listed.tenant.empty() ? ordered_json(nullptr) : ordered_json(listed.tenant);
    json["bytes"] = listed.bytes;
    json["pinned"] = listed.pinned;
    json["in_use"] = listed.in_use;
    objects.push_back(std::move(json));
  }
  return list_reply(call.target, std::move(objects));
}

Result<Reply> rotate_pepper(Platform& platform, Call& call) {
  const auto version = platform.peppers->rotate();
  if (!version) return version.error();
  if (auto written = audited(platform, call, "pepper.rotated"); !written) return written.error();
  ordered_json json;
  json["object"] = "pepper";
  json["version"] = *version;
  return json_reply(json);
}

Result<Reply> debug_tenant(Platform& platform, Call& call) {
  const auto snapshot = platform.directory->snapshot();
  const TenantEntry* entry = snapshot->find(TenantId(call.arguments.at(0)));
  if (!entry) return Error{Code::kNotFound, "There is no such project."};
  const TenantId& tenant = entry->tenant.id;
  const Caller caller{
      .tenant = tenant, .limits = entry->limits, .limits_revision = entry->limits_revision};
  const Now now = now_of(platform.clock);
  const LimitsView view = platform.admission.view(caller, now);
  const AdapterRegistry::Usage stored = platform.adapters->usage(tenant);
  ordered_json json;
  json["object"] = "debug.tenant";
  json["project_id"] = tenant.str();
  json["status"] = entry->tenant.archived_at ? "archived" : "active";
  json["keys"] = snapshot->keys_of(tenant).size();
  json["service_accounts"] = entry->service_accounts.size();
  json["limits_revision"] = entry->limits_revision;
  json["requests_per_minute"] = window_json(view.requests);
  json["tokens_per_minute"] = window_json(view.tokens);
  json["concurrent_requests"] = {{"limit", view.max_concurrent_requests},
                                 {"used", view.concurrent_requests}};
  json["use"] = use_json(platform.admission.use(caller, now));
  json["stored"] = {{"adapters", stored.adapters}, {"bytes", stored.bytes}};
  json["in_memory"] = in_memory_json(platform, tenant);
  return json_reply(json);
}

}  // namespace tessera
