// adapters_api.cpp — /v1/adapters: what is there, its labels, its files, and deletion (http-api.md
// 2.4).
#include <algorithm>
#include <array>

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

ordered_json deleted_json(const std::string& id, std::string_view object) {
  ordered_json json;
  json["id"] = id;
  json["object"] = object;
  json["deleted"] = true;
  return json;
}

Reply with_etag(Reply reply, std::string etag) {
  std::get<HttpResponse>(reply).headers.emplace_back("ETag", std::move(etag));
  return reply;
}

// The body {"labels": {"team": "red", "old": null}}.
Result<AdapterRegistry::LabelChanges> read_labels(const std::string& text) {
  const auto body = parse_json(text);
  if (!body) return body.error();
  Fields fields(*body);
  const ordered_json* const labels = fields.required_any("labels");
  if (auto read = fields.finish(); !read) return read.error();
  if (!labels->is_object()) {
    return Error{Code::kInvalidValue, "'labels' must be an object.", "labels"};
  }
  AdapterRegistry::LabelChanges changes;
  for (const auto& [key, value] : labels->items()) {
    if (!value.is_string() && !value.is_null()) {
      return Error{Code::kInvalidValue, "A label's value must be a string, or null to remove it.",
                   "labels." + key};
    }
    changes[key] = value.is_null() ? std::nullopt : std::optional(value.get<std::string>());
  }
  return changes;
}

// A stored file as the body of an answer. The pin keeps its bytes until the last one is sent.
class PackageSource final : public BodySource {
 public:
  PackageSource(PackagePin package, PackageFile file) : package_(std::move(package)), file_(file) {}

  std::uint64_t size() const override { return package_->ref().size(file_); }
  Result<std::string> read(std::uint64_t offset, std::size_t bytes) const override {
    return package_->read(file_, offset, bytes);
  }

 private:
  const PackagePin package_;
  const PackageFile file_;
};

std::string base64(const ContentDigest& digest) {
  constexpr std::string_view kLetters =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (std::size_t i = 0; i < digest.bytes.size(); i += 3) {
    std::array<std::uint32_t, 3> in{};
    const std::size_t count = std::min<std::size_t>(3, digest.bytes.size() - i);
    std::copy_n(digest.bytes.begin() + static_cast<std::ptrdiff_t>(i), count, in.begin());
    const std::uint32_t bits = in[0] << 16 | in[1] << 8 | in[2];
    for (std::size_t digit = 0; digit < 4; ++digit) {
      out += digit <= count ? kLetters[bits >> (18 - 6 * digit) & 63] : '=';
    }
  }
  return out;
}

Reply file_reply(PackagePin package, PackageFile file, const ContentDigest& sha256) {
  HttpResponse response;
  const bool is_config = file == PackageFile::kConfig;
  response.headers.emplace_back("Content-Type",
                                is_config ? "application/json" : "application/octet-stream");
  if (sha256 != ContentDigest{}) {  // older records have none
    response.headers.emplace_back("Content-Digest", "sha-256=:" + base64(sha256) + ":");
    response.headers.emplace_back("ETag", '"' + to_hex(sha256) + '"');
  }
  response.source = std::make_shared<PackageSource>(std::move(package), file);
  return response;
}

}  // namespace

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
  return with_etag(json_reply(adapter_json(platform, call.caller.tenant, **info)), etag_of(**info));
}

Result<Reply> modify_adapter(Platform& platform, Call& call) {
  const auto labels = read_labels(call.request.body);
  if (!labels) return labels.error();
  const auto change = change_of(platform, call);
  if (!change) return change.error();
  const auto info = platform.adapters->set_labels(*change, *labels);
  if (!info) return info.error();
  return with_etag(json_reply(adapter_json(platform, call.caller.tenant, **info)), etag_of(**info));
}

Result<Reply> list_adapter_versions(Platform& platform, Call& call) {
  const auto info = platform.adapters->get(call.caller.tenant, call.arguments.at(0));
  if (!info) return info.error();
  std::vector<ordered_json> objects;
  for (const auto& [number, version] : (*info)->versions) objects.push_back(version_json(*version));
  return list_reply(call.target, std::move(objects));
}

Result<Reply> get_adapter_version(Platform& platform, Call& call) {
  const auto version = find_version(platform, call);
  if (!version) return version.error();
  return json_reply(version_json(platform, **version));
}

Result<Reply> get_adapter_report(Platform& platform, Call& call) {
  const auto version = find_version(platform, call);
  if (!version) return version.error();
  const std::string& name = call.arguments.at(0);
  auto text = platform.adapters->report(call.caller.tenant, name, (*version)->version);
  if (!text) return text.error();
  if (text->empty()) {
    const bool validating = (*version)->status == VersionStatus::kValidating;
    return Error{validating ? Code::kVersionNotReady : Code::kNotFound,
                 validating ? "The version is still being validated."
                            : "No report was kept of this version."};
  }
  HttpResponse response;
  response.headers.emplace_back("Content-Type", "application/json");
  response.body = *std::move(text) + "\n";
  return Reply(std::move(response));
}

Result<Reply> get_adapter_file(Platform& platform, Call& call) {
  const auto version = find_version(platform, call);
  if (!version) return version.error();
  const std::string& name = call.arguments.at(2);
  const bool is_config = name == "adapter_config.json";
  if (!is_config && name != "adapter_model.safetensors") {
    return Error{Code::kNotFound,
                 "The files of a version are adapter_config.json and adapter_model.safetensors."};
  }
  auto package = platform.adapters->package(**version);
  if (package == nullptr) return Error{Code::kNotFound, "No files are kept of this version."};
  return file_reply(std::move(package), is_config ? PackageFile::kConfig : PackageFile::kTensors,
                    is_config ? (*version)->config_sha256 : (*version)->tensors_sha256);
}

Result<Reply> delete_adapter(Platform& platform, Call& call) {
  const auto change = change_of(platform, call);
  if (!change) return change.error();
  const auto removed = platform.adapters->remove(*change);
  if (!removed) return removed.error();
  return json_reply(deleted_json(change->name, "adapter"));
}

Result<Reply> delete_adapter_version(Platform& platform, Call& call) {
  const auto number = version_argument(call.arguments.at(1));
  if (!number) return number.error();
  const auto force = switch_parameter(call.target, "force");
  if (!force) return force.error();
  const auto change = change_of(platform, call);
  if (!change) return change.error();
  const auto removed = platform.adapters->remove_version(
      *change, *number, *force ? Removal::kForced : Removal::kUnlessAliased);
  if (!removed) return removed.error();
  return json_reply(deleted_json(change->name + "@" + std::to_string(*number), "adapter.version"));
}

// "support-bot@7" or the ft: form means the version, a bare name the adapter with all of its own.
Result<Reply> delete_model(Platform& platform, Call& call) {
  const std::string id = call.arguments.at(0);
  auto change = change_of(platform, call);
  if (!change) return change.error();
  const auto named = parse_model_name(id, platform.model.name(), call.caller.tenant);
  if (!named) return model_not_found(id);
  change->name = named->adapter;
  if (named->version > 0) {
    const auto removed = platform.adapters->remove_version(*change, named->version);
    if (!removed) return removed.error();
  } else if (id.find(':') != id.npos) {
    const auto removed = platform.adapters->remove_alias(*change, named->alias);
    if (!removed) return removed.error();
  } else if (const auto removed = platform.adapters->remove(*change); !removed) {
    return removed.error();
  }
  return json_reply(deleted_json(id, "model"));
}

}  // namespace tessera
