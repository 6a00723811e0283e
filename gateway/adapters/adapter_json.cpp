#include "gateway/adapters/adapter_json.hpp"

#include "gateway/api/api_json.hpp"

namespace tessera {

using nlohmann::ordered_json;

namespace {

// What is known once a version is ready; until then the fields are null.
void append_content(ordered_json& json, const AdapterVersion& version) {
  const bool known = version.has_bytes();
  const auto or_null = [known](auto&& value) {
    return known ? ordered_json(std::forward<decltype(value)>(value)) : ordered_json(nullptr);
  };
  json["sha256"] = or_null(to_hex(version.digest));
  json["config_sha256"] = or_null(to_hex(version.config_sha256));
  json["bytes"] = or_null(version.bytes());
  json["rank_max"] = or_null(version.rank_max);
  json["target_modules"] = or_null(version.target_modules);
  json["num_tensors"] = or_null(version.num_tensors);
  json["mixable"] = or_null(version.is_plain);
}

}  // namespace

ordered_json target_json(const AliasTarget& target) {
  ordered_json json;
  if (!target.is_split()) {
    json["version"] = target.shares.front().version;
    return json;
  }
  for (const AliasShare& share : target.shares) {
    json["split"].push_back({{"version", share.version}, {"weight", share.weight}});
  }
  json["sticky"] = to_string(target.sticky);
  return json;
}

ordered_json alias_json(const AdapterInfo& info, std::string_view name, const Alias& alias) {
  ordered_json json;
  json["object"] = "adapter.alias";
  json["adapter"] = info.name;
  json["alias"] = name;
  json.update(target_json(alias.target));
  json["etag"] = etag_of(info, alias);
  json["moved_at"] = unix_seconds(alias.moved_at);
  json["moved_by"] = "key_" + alias.moved_by.str();
  return json;
}

ordered_json version_json(const AdapterVersion& version) {
  ordered_json json;
  json["id"] = version.id;
  json["object"] = "adapter.version";
  json["adapter"] = version.adapter;
  json["version"] = version.version;
  json["status"] = to_string(version.status);
  append_content(json, version);
  json["created_at"] = unix_seconds(version.created_at);
  json["created_by"] = "key_" + version.created_by.str();
  json["metadata"] = version.metadata;
  json["report_url"] = "/v1/adapters/" + version.adapter + "/versions/" +
                       std::to_string(version.version) + "/report";
  return json;
}

ordered_json version_json(const Platform& platform, const AdapterVersion& version) {
  ordered_json json = version_json(version);
  if (!version.has_bytes()) return json;
  const auto where = platform.host_cache->where(version.digest);
  using Place = HostCache::Residency::Place;
  json["resident"]["device"] = platform.engine->holds_adapter(version.digest);
  json["resident"]["host"] = where.place == Place::kHost;
  json["resident"]["loading"] = where.place == Place::kLoading;
  json["resident"]["pinned"] = where.pinned;
  return json;
}

ordered_json adapter_json(const Platform& platform, const TenantId& tenant,
                          const AdapterInfo& info) {
  ordered_json json;
  json["id"] = info.id;
  json["object"] = "adapter";
  json["name"] = info.name;
  json["tenant"] = tenant.str();
  json["base_model"] = platform.model.name();
  json["created_at"] = unix_seconds(info.created_at);
  json["aliases"] = ordered_json::object();
  for (const auto& [name, alias] : info.aliases) json["aliases"][name] = target_json(alias.target);
  json["versions"] = ordered_json::array();
  for (const auto& [number, version] : info.versions) json["versions"].push_back(number);
  json["labels"] = info.labels;
  json["etag"] = etag_of(info);
  return json;
}

}  // namespace tessera
