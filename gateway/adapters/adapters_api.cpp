// adapters_api.cpp — /v1/adapters: uploads, versions, deletion (http-api.md 2.4).
//
// An upload is validated while its sender waits, on the uploads' own worker: 201 with the version
// and the report, 200 if the name already had a version of the same content, 422 with the whole
// report if anything is wrong.
#include <algorithm>
#include <charconv>
#include <span>

#include <nlohmann/json.hpp>

#include "adapters/tokenizer_files.hpp"
#include "adapters/validator.hpp"
#include "gateway/api/api_json.hpp"
#include "gateway/handlers.hpp"
#include "gateway/http/error_body.hpp"
#include "gateway/http/multipart.hpp"

namespace tessera {
namespace {

using nlohmann::ordered_json;

// The parts of an upload; views into the request's body.
struct UploadForm {
  std::optional<std::string_view> name;
  std::optional<std::string_view> config;   // adapter_config.json
  std::optional<std::string_view> tensors;  // adapter_model.safetensors
  std::vector<CarriedFile> tokenizer;       // files of the tokenizer it was trained with
};

// The tokenizer files that PEFT saves beside an adapter, by the part's name with or without
// ".json"; empty if it is none of them.
std::string_view tokenizer_file(std::string_view part) {
  for (const std::string_view file : {"tokenizer.json", "tokenizer_config.json",
                                      "special_tokens_map.json", "added_tokens.json"}) {
    if (part == file || part == file.substr(0, file.size() - 5)) return file;
  }
  return {};
}

Result<UploadForm> read_form(const HttpRequest& request) {
  const auto parts = parse_multipart(header(request.headers, "content-type"), request.body);
  if (!parts) return parts.error();
  UploadForm form;
  for (const FormPart& part : *parts) {
    if (part.name == "name") {
      form.name = part.content;
    } else if (part.name == "adapter_config") {
      form.config = part.content;
    } else if (part.name == "adapter_model") {
      form.tensors = part.content;
    } else if (const auto file = tokenizer_file(part.name); !file.empty()) {
      if (part.content.size() > kMaxTokenizerFileBytes) {
        return Error{
            Code::kRequestExceedsLimit,
            "The part is longer than " + std::to_string(kMaxTokenizerFileBytes) + " bytes.",
            part.name};
      }
      form.tokenizer.push_back({file, part.content});
    } else {
      return Error{Code::kUnknownParameter,
                   "Unknown part; an upload has name, adapter_config, adapter_model and perhaps "
                   "files of the tokenizer.",
                   part.name.substr(0, 64)};
    }
  }
  const auto missing = [](const std::string& part) {
    return Error{Code::kMissingRequiredParameter, "The part '" + part + "' is missing.", part};
  };
  if (!form.config) return missing("adapter_config");
  if (!form.tensors) return missing("adapter_model");
  return form;
}

ordered_json version_json(const AdapterVersion& version) {
  ordered_json json;
  json["id"] = version.id;
  json["object"] = "adapter.version";
  json["adapter"] = version.adapter;
  json["version"] = version.version;
  json["status"] = "ready";
  json["sha256"] = to_hex(version.digest);
  json["config_sha256"] = to_hex(version.config_sha256);
  json["bytes"] = version.bytes();
  json["rank_max"] = version.rank_max;
  json["target_modules"] = version.target_modules;
  json["num_tensors"] = version.num_tensors;
  json["created_at"] = unix_seconds(version.created_at);
  json["created_by"] = "key_" + version.created_by.str();
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
  for (const auto& [alias, version] : info.aliases) json["aliases"][alias]["version"] = version;
  json["versions"] = ordered_json::array();
  for (const auto& [number, version] : info.versions) json["versions"].push_back(number);
  return json;
}

HttpResponse invalid_response(const Report& report, const RequestId& request) {
  const auto faults = std::ranges::count(report.findings, Severity::kError, &Finding::severity);
  const auto first = std::ranges::find(report.findings, Severity::kError, &Finding::severity);
  const Error error{Code::kAdapterInvalid,
                    "The adapter has " + std::to_string(faults) + " fault(s); the first: " +
                        (first == report.findings.end() ? "" : first->message),
                    first == report.findings.end() ? "" : first->subject};
  ordered_json details;
  details["report"] = to_json(report);
  return error_response(error, request, details);
}

AdapterQuota quota_of(const TenantLimits& limits) {
  return {.max_adapters = static_cast<std::uint64_t>(limits.max_adapters),
          .max_bytes = static_cast<std::uint64_t>(limits.max_adapter_bytes)};
}

std::optional<std::string> tokenizer_difference(const ServedModel& model, const CarriedFile& file) {
  if (!model.tokenizer_identity) return "This server's tokenizer cannot be compared with a file.";
  return tokenizer_file_difference(*model.tokenizer_identity, *model.tokenizer, file.name,
                                   file.content);
}

Result<Reply> publish(Platform& platform, const Call& call, std::string_view name,
                      const UploadForm& form) {
  if (!is_valid_adapter_name(name)) {
    return Error{Code::kInvalidValue,
                 "'name' must be 1 to 63 of a-z 0-9 . _ -, the first a letter or a digit.", "name"};
  }
  const auto tensors = std::as_bytes(std::span(*form.tensors));
  Validation validation = validate_adapter(*form.config, tensors, platform.adapters->base());
  const auto check = [&](const CarriedFile& file) {
    return tokenizer_difference(platform.model, file);
  };
  check_tokenizer_files(form.tokenizer, check, validation);
  if (!validation.adapter) return Reply(invalid_response(validation.report, call.id));
  if (packed_bytes(*validation.adapter, platform.page_type) > platform.host_cache->max_bytes()) {
    return HostCache::too_large();
  }

  const auto published = platform.adapters->publish({.tenant = call.caller.tenant,
                                                     .name = std::string(name),
                                                     .config = *form.config,
                                                     .tensors = tensors,
                                                     .created_by = call.caller.key,
                                                     .now = platform.clock.wall_now(),
                                                     .quota = quota_of(call.caller.limits)},
                                                    *validation.adapter);
  if (!published) return published.error();
  // Requests for a deleted version of the same content may have left one.
  platform.host_cache->forget_failure(published->version.digest);
  ordered_json body = version_json(published->version);
  body["report"] = to_json(validation.report);
  return json_reply(body, published->created ? 201 : 200);
}

Result<int> version_argument(const std::string& text) {
  int version = 0;
  const char* const end = text.data() + text.size();
  const auto parsed = std::from_chars(text.data(), end, version);
  const bool valid = parsed.ec == std::errc() && parsed.ptr == end;
  if (valid && text == std::to_string(version)) return version;  // "01" names nothing
  return Error{Code::kNotFound, "There is no such version."};
}

// Frees the pages of versions that were deleted, unless another version has the same content.
void forget_unused(Platform& platform, const AdapterDigest& digest) {
  if (!platform.adapters->has(digest)) platform.host_cache->forget(digest);
}

ordered_json deleted_json(const std::string& id, std::string_view object) {
  ordered_json json;
  json["id"] = id;
  json["object"] = object;
  json["deleted"] = true;
  return json;
}

}  // namespace

Result<Reply> create_adapter(Platform& platform, Call& call) {
  const auto form = read_form(call.request);
  if (!form) return form.error();
  if (!form->name) {
    return Error{Code::kMissingRequiredParameter, "The part 'name' is missing.", "name"};
  }
  return publish(platform, call, *form->name, *form);
}

Result<Reply> create_adapter_version(Platform& platform, Call& call) {
  const std::string& name = call.arguments.at(0);
  if (auto known = platform.adapters->get(call.caller.tenant, name); !known) return known.error();
  const auto form = read_form(call.request);
  if (!form) return form.error();
  if (form->name && *form->name != name) {
    return Error{Code::kInvalidValue, "The part 'name' is not the name in the URL.", "name"};
  }
  return publish(platform, call, name, *form);
}

Result<Reply> list_adapters(Platform& platform, Call& call) {
  std::vector<ordered_json> objects;
  for (const auto& info : platform.adapters->list(call.caller.tenant)) {
    objects.push_back(adapter_json(platform, call.caller.tenant, *info));
  }
  return list_reply(call.target, std::move(objects));
}

Result<Reply> get_adapter(Platform& platform, Call& call) {
  const auto info = platform.adapters->get(call.caller.tenant, call.arguments.at(0));
  if (!info) return info.error();
  return json_reply(adapter_json(platform, call.caller.tenant, **info));
}

Result<Reply> list_adapter_versions(Platform& platform, Call& call) {
  const auto info = platform.adapters->get(call.caller.tenant, call.arguments.at(0));
  if (!info) return info.error();
  std::vector<ordered_json> objects;
  for (const auto& [number, version] : (*info)->versions) objects.push_back(version_json(version));
  return list_reply(call.target, std::move(objects));
}

Result<Reply> get_adapter_version(Platform& platform, Call& call) {
  const auto info = platform.adapters->get(call.caller.tenant, call.arguments.at(0));
  if (!info) return info.error();
  const auto number = version_argument(call.arguments.at(1));
  if (!number) return number.error();
  const auto version = (*info)->versions.find(*number);
  if (version == (*info)->versions.end()) {
    return Error{Code::kNotFound, "There is no such version."};
  }
  return json_reply(version_json(version->second));
}

Result<Reply> delete_adapter(Platform& platform, Call& call) {
  const std::string& name = call.arguments.at(0);
  const auto removed = platform.adapters->remove(call.caller.tenant, name);
  if (!removed) return removed.error();
  for (const auto& [number, version] : (*removed)->versions) {
    forget_unused(platform, version.digest);
  }
  const bool as_model = call.target.segments.at(1) == "models";
  return json_reply(deleted_json(name, as_model ? "model" : "adapter"));
}

Result<Reply> delete_adapter_version(Platform& platform, Call& call) {
  const std::string& name = call.arguments.at(0);
  const auto number = version_argument(call.arguments.at(1));
  if (!number) return number.error();
  const auto force = switch_parameter(call.target, "force");
  if (!force) return force.error();
  const Removal removal = *force ? Removal::kForced : Removal::kUnlessAliased;
  const auto removed =
      platform.adapters->remove_version(call.caller.tenant, name, *number, removal);
  if (!removed) return removed.error();
  forget_unused(platform, removed->digest);
  return json_reply(deleted_json(name + "@" + std::to_string(*number), "adapter.version"));
}

}  // namespace tessera
