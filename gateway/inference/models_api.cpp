// models_api.cpp — GET /v1/models: the base, and what the caller has laid on it.
#include <set>

#include <nlohmann/json.hpp>

#include "gateway/adapters/adapter_json.hpp"
#include "gateway/api/api_json.hpp"
#include "gateway/handlers.hpp"
#include "gateway/inference/inference.hpp"

namespace tessera {
namespace {

using nlohmann::ordered_json;

ordered_json model_json(const std::string& id, WallTime created, const std::string& owner) {
  ordered_json json;
  json["id"] = id;
  json["object"] = "model";
  json["created"] = unix_seconds(created);
  json["owned_by"] = owner;
  return json;
}

ordered_json text_or_null(const std::string& text) {
  return text.empty() ? ordered_json(nullptr) : ordered_json(text);
}

// What the base is: adapters' models say it too, for it is theirs.
void describe_base(const Platform& platform, ordered_json& json) {
  const ServedModel& model = platform.model;
  const ModelInfo& info = model.packed->info();
  json["max_model_len"] = platform.engine->max_context();
  json["context_length"] = model.packed->spec().max_positions;
  json["architecture"] = text_or_null(info.architecture);
  json["quantization"] = text_or_null(info.quantization);
  json["base_sha256"] = to_hex(model.packed->digest());
  json["tokenizer_sha256"] = to_hex(model.tokenizer->digest());
  json["vocab_size"] = model.packed->spec().vocab_size;
  json["tool_format"] = to_string(model.chat ? model.chat->syntax.tools : ToolFormat::kNone);
  json["reasoning"] = model.chat && !model.chat->syntax.think_open.empty();
}

ordered_json base_json(const Platform& platform) {
  ordered_json json = model_json(platform.model.name(), platform.started_at, "tessera");
  json["parent"] = nullptr;
  json["root"] = platform.model.name();
  describe_base(platform, json);
  return json;
}

// A model of the tenant's that was made when `created`; what it is made of, the caller adds.
ordered_json tenant_model_json(const Platform& platform, const std::string& id, WallTime created,
                               const TenantId& owner) {
  ordered_json json = model_json(id, created, owner.str());
  json["parent"] = platform.model.name();
  json["root"] = nullptr;
  describe_base(platform, json);
  return json;
}

ordered_json version_model_json(const Platform& platform, const std::string& id,
                                const TenantId& owner, const AdapterVersion& version) {
  ordered_json json = tenant_model_json(platform, id, version.created_at, owner);
  json["root"] = version.adapter + "@" + std::to_string(version.version);
  json["adapter"]["version"] = version.version;
  json["adapter"]["sha256"] = to_hex(version.digest);
  json["adapter"]["rank"] = version.rank_max;
  json["adapter"]["status"] = to_string(version.status);
  return json;
}

// One version, or several: which of them answers is decided for each request.
ordered_json alias_model_json(const Platform& platform, const std::string& id,
                              const TenantId& owner, const AdapterInfo& info, const Alias& alias) {
  if (!alias.target.is_split()) {
    const AdapterVersion& version = *info.find(alias.target.shares.front().version);
    return version_model_json(platform, id, owner, version);
  }
  ordered_json json = tenant_model_json(platform, id, alias.moved_at, owner);
  json["adapter"] = target_json(alias.target);
  return json;
}

// "support-bot" for the default alias, "support-bot:canary" for others.
std::string alias_id(const AdapterInfo& info, const std::string& alias) {
  return alias == kDefaultAlias ? info.name : info.name + ":" + alias;
}

// Each alias, and each version that is ready and that no alias points at alone.
void append_models_of(const Platform& platform, const TenantId& tenant, const AdapterInfo& info,
                      ordered_json& data) {
  std::set<int> listed;
  for (const auto& [name, alias] : info.aliases) {
    data.push_back(alias_model_json(platform, alias_id(info, name), tenant, info, alias));
    if (!alias.target.is_split()) listed.insert(alias.target.shares.front().version);
  }
  for (const auto& [number, version] : info.versions) {
    if (listed.contains(number) || version->status != VersionStatus::kReady) continue;
    const std::string id = info.name + "@" + std::to_string(number);
    data.push_back(version_model_json(platform, id, tenant, *version));
  }
}

}  // namespace

Result<Reply> list_models(Platform& platform, Call& call) {
  ordered_json body;
  body["object"] = "list";  // without pages: clients take the first for all
  body["data"] = ordered_json::array({base_json(platform)});
  for (const auto& info : platform.adapters->list(call.caller.tenant)) {
    append_models_of(platform, call.caller.tenant, *info, body["data"]);
  }
  return json_reply(body);
}

Result<Reply> get_model(Platform& platform, Call& call) {
  const std::string& id = call.arguments.at(0);
  const TenantId& tenant = call.caller.tenant;
  const auto resolved = resolve_model(platform, call.caller, id);
  if (!resolved) return resolved.error();
  if (!resolved->adapter) return json_reply(base_json(platform));

  const auto named = parse_model_name(id, platform.model.name(), tenant);
  const auto info = platform.adapters->get(tenant, named->adapter);
  if (!info) return model_not_found(id);  // deleted just now
  if (named->version > 0) {
    const AdapterVersion* version = (*info)->find(named->version);
    if (version == nullptr) return model_not_found(id);
    return json_reply(version_model_json(platform, id, tenant, *version));
  }
  const auto alias = (*info)->aliases.find(named->alias);
  if (alias == (*info)->aliases.end()) return model_not_found(id);
  return json_reply(alias_model_json(platform, id, tenant, **info, alias->second));
}

}  // namespace tessera
