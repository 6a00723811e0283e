// files_api.cpp — /v1/files: OpenAI's Files, for bytes that adapters are made of (http-api.md 2.4,
// 3.6).
#include <charconv>

#include <nlohmann/json.hpp>

#include "gateway/adapters/adapter_requests.hpp"
#include "gateway/adapters/file_json.hpp"
#include "gateway/adapters/file_source.hpp"
#include "gateway/adapters/upload_forms.hpp"
#include "gateway/api/api_json.hpp"
#include "gateway/handlers.hpp"

namespace tessera {
namespace {

using nlohmann::ordered_json;

Error missing(const std::string& part) {
  return {Code::kMissingRequiredParameter, "The part '" + part + "' is missing.", part};
}

std::string_view text_of(const StagedBody& body, std::string_view part) {
  const StagedPart* const found = body.part(part);
  return found ? std::string_view(found->text) : std::string_view();
}

// The form's two fields of it, which are there together or not at all.
Result<TenantFiles::Lifetime> lifetime_of(const StagedBody& body) {
  const StagedPart* const seconds = body.part("expires_after[seconds]");
  const StagedPart* const anchor = body.part("expires_after[anchor]");
  if (!seconds && !anchor) return TenantFiles::Lifetime();
  std::int64_t value = 0;
  const std::string_view text = seconds ? std::string_view(seconds->text) : "";
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
  if (parsed.ec != std::errc() || parsed.ptr != text.data() + text.size()) value = 0;
  return parse_lifetime(anchor ? std::string_view(anchor->text) : "", value);
}

std::uint64_t quota_of(const Call& call) {
  return static_cast<std::uint64_t>(call.caller.limits.max_adapter_bytes);
}

}  // namespace

Result<Reply> create_file(Platform& platform, Call& call) {
  const StagedPart* const content = call.staged.part("file");
  if (!content) return missing("file");
  if (!call.staged.part("purpose")) return missing("purpose");
  TenantFiles::NewFile file{.filename = content->filename,
                            .purpose = std::string(text_of(call.staged, "purpose"))};
  if (auto checked = check_purpose(file.purpose); !checked) return checked.error();
  if (auto checked = check_file_name(file.filename); !checked) return checked.error();
  const auto lifetime = lifetime_of(call.staged);
  if (!lifetime) return lifetime.error();
  file.lifetime = *lifetime;
  platform.drafts->sweep(platform.clock.wall_now());
  const auto added = platform.files->add(actor_of(call), file, content->file, quota_of(call),
                                         platform.clock.wall_now());
  if (!added) return added.error();
  return json_reply(file_json(*added));
}

Result<Reply> list_files(Platform& platform, Call& call) {
  const auto purpose = call.target.parameter("purpose");
  std::vector<ordered_json> objects;
  for (const FileRecord& file : platform.files->list(call.caller.tenant, call.received_wall)) {
    if (!purpose || *purpose == file.purpose) objects.push_back(file_json(file));
  }
  return list_reply(call.target, std::move(objects));
}

Result<Reply> get_file(Platform& platform, Call& call) {
  const auto file =
      platform.files->get(call.caller.tenant, call.arguments.at(0), call.received_wall);
  if (!file) return file.error();
  return json_reply(file_json(*file));
}

Result<Reply> get_file_content(Platform& platform, Call& call) {
  const auto bytes =
      platform.files->read(call.caller.tenant, call.arguments.at(0), call.received_wall);
  if (!bytes) return bytes.error();
  HttpResponse response;
  response.headers.emplace_back("Content-Type", "application/octet-stream");
  response.headers.emplace_back("Content-Digest", content_digest((*bytes)->sha256()));
  response.source = std::make_shared<const FileSource>(*bytes);
  return Reply(std::move(response));
}

Result<Reply> delete_file(Platform& platform, Call& call) {
  const std::string& id = call.arguments.at(0);
  const auto removed = platform.files->remove(actor_of(call), id, call.received_wall);
  if (!removed) return removed.error();
  ordered_json json;
  json["id"] = id;
  json["object"] = "file";
  json["deleted"] = true;
  return json_reply(json);
}

}  // namespace tessera
