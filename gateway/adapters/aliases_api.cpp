// aliases_api.cpp — /v1/adapters/{name}/aliases: where names point, by compare-and-swap
// (http-api.md 2.4).
#include <nlohmann/json.hpp>

#include "gateway/adapters/adapter_json.hpp"
#include "gateway/adapters/adapter_requests.hpp"
#include "gateway/api/api_json.hpp"
#include "gateway/api/fields.hpp"
#include "gateway/handlers.hpp"
#include "storage/json.hpp"

namespace tessera {
namespace {

using nlohmann::ordered_json;

constexpr std::int64_t kMaxVersionNumber = 1'000'000'000;

Result<AliasShare> read_share(const ordered_json& json, std::size_t index) {
  Fields fields(json, "split[" + std::to_string(index) + "].");
  std::optional<std::int64_t> version;
  std::optional<std::int64_t> weight;
  fields.required_any("version");
  fields.integer("version", {1, kMaxVersionNumber}, version);
  fields.required_any("weight");
  fields.integer("weight", {1, kMaxShareWeight}, weight);
  if (auto read = fields.finish(); !read) return read.error();
  return AliasShare{.version = static_cast<int>(*version), .weight = static_cast<int>(*weight)};
}

Result<std::vector<AliasShare>> read_split(const ordered_json& json) {
  if (!json.is_array() || json.empty() || json.size() > kMaxShares) {
    return Error{Code::kInvalidValue,
                 "'split' must be an array of 1 to " + std::to_string(kMaxShares) + " shares.",
                 "split"};
  }
  std::vector<AliasShare> shares;
  for (const ordered_json& item : json) {
    auto share = read_share(item, shares.size());
    if (!share) return share.error();
    shares.push_back(*share);
  }
  return shares;
}

// The body {"version": 8} or {"split": [{"version": 7, "weight": 95}, …], "sticky": "user"}.
Result<AliasTarget> read_target(const std::string& text) {
  const auto body = parse_json(text);
  if (!body) return body.error();
  Fields fields(*body);
  std::optional<std::int64_t> version;
  std::string sticky(to_string(Stickiness::kUser));
  fields.integer("version", {1, kMaxVersionNumber}, version);
  fields.text("sticky", 16, sticky);
  const ordered_json* const split = fields.any("split");
  if (auto read = fields.finish(); !read) return read.error();
  if (version.has_value() == (split != nullptr)) {
    return Error{version ? Code::kInvalidValue : Code::kMissingRequiredParameter,
                 "Give either 'version' or 'split'.", "version"};
  }
  const auto stickiness = stickiness_from_string(sticky);
  if (!stickiness) {
    return Error{Code::kInvalidValue, "'sticky' must be user, session or none.", "sticky"};
  }
  AliasTarget target{.shares = {}, .sticky = *stickiness};
  if (version) target.shares.push_back({.version = static_cast<int>(*version)});
  if (split == nullptr) return target;
  auto shares = read_split(*split);
  if (!shares) return shares.error();
  target.shares = *std::move(shares);
  if (!target.is_split()) target = AliasTarget::one(target.shares.front().version);
  return target;
}

Reply alias_reply(const AdapterInfo& info, std::string_view name, const Alias& alias,
                  int status = 200) {
  Reply reply = json_reply(alias_json(info, name, alias), status);
  std::get<HttpResponse>(reply).headers.emplace_back("ETag", etag_of(info, alias));
  return reply;
}

// The answer to a change that made `alias` what it is.
Result<Reply> changed_reply(const Platform& platform, const Call& call,
                            const Result<Alias>& alias) {
  if (!alias) return alias.error();
  const auto info = platform.adapters->get(call.caller.tenant, call.arguments.at(0));
  if (!info) return info.error();  // deleted meanwhile
  return alias_reply(**info, call.arguments.at(1), *alias);
}

ordered_json move_json(const AliasMove& move) {
  ordered_json json = target_json(move.target);
  json["moved_at"] = unix_seconds(move.moved_at);
  json["moved_by"] = "key_" + move.moved_by.str();
  return json;
}

}  // namespace

Result<Reply> list_adapter_aliases(Platform& platform, Call& call) {
  const auto info = platform.adapters->get(call.caller.tenant, call.arguments.at(0));
  if (!info) return info.error();
  ordered_json body;
  body["object"] = "list";
  body["data"] = ordered_json::array();
  for (const auto& [name, alias] : (*info)->aliases) {
    body["data"].push_back(alias_json(**info, name, alias));
  }
  body["has_more"] = false;
  return json_reply(body);
}

// With the targets that it had before, newest first.
Result<Reply> get_adapter_alias(Platform& platform, Call& call) {
  const auto info = platform.adapters->get(call.caller.tenant, call.arguments.at(0));
  if (!info) return info.error();
  const std::string& name = call.arguments.at(1);
  const auto history = platform.adapters->history(call.caller.tenant, (*info)->name, name);
  if (!history) return history.error();
  const auto alias = (*info)->aliases.find(name);
  if (alias == (*info)->aliases.end()) return Error{Code::kNotFound, "There is no such alias."};
  ordered_json json = alias_json(**info, name, alias->second);
  json["history"] = ordered_json::array();
  for (const AliasMove& move : *history) json["history"].push_back(move_json(move));
  Reply reply = json_reply(json);
  std::get<HttpResponse>(reply).headers.emplace_back("ETag", etag_of(**info, alias->second));
  return reply;
}

Result<Reply> set_adapter_alias(Platform& platform, Call& call) {
  const auto target = read_target(call.request.body);
  if (!target) return target.error();
  const auto change = change_of(platform, call);
  if (!change) return change.error();
  return changed_reply(platform, call,
                       platform.adapters->set_alias(*change, call.arguments.at(1), *target));
}

Result<Reply> roll_back_adapter_alias(Platform& platform, Call& call) {
  const auto change = change_of(platform, call);
  if (!change) return change.error();
  return changed_reply(platform, call, platform.adapters->roll_back(*change, call.arguments.at(1)));
}

Result<Reply> delete_adapter_alias(Platform& platform, Call& call) {
  const auto change = change_of(platform, call);
  if (!change) return change.error();
  const std::string& alias = call.arguments.at(1);
  if (auto removed = platform.adapters->remove_alias(*change, alias); !removed) {
    return removed.error();
  }
  ordered_json json;
  json["id"] = change->name + ":" + alias;
  json["object"] = "adapter.alias";
  json["deleted"] = true;
  return json_reply(json);
}

}  // namespace tessera
