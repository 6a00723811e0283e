// uploads_api.cpp — /v1/uploads: OpenAI's Uploads, a file in parts (http-api.md 2.4, 3.6).
//
// Parts may come in any order and in parallel, and be sent again; a part that was answered is on
// disk. GET tells which are there, so that a client can go on after a restart of either side.
#include <nlohmann/json.hpp>

#include "gateway/adapters/adapter_requests.hpp"
#include "gateway/adapters/file_json.hpp"
#include "gateway/api/api_json.hpp"
#include "gateway/api/fields.hpp"
#include "gateway/handlers.hpp"
#include "storage/json.hpp"

namespace tessera {
namespace {

using nlohmann::ordered_json;

constexpr std::size_t kMd5Digits = 32;

Result<TenantFiles::Lifetime> read_lifetime(const ordered_json& object) {
  std::string anchor;
  std::optional<std::int64_t> seconds;
  Fields fields(object, "expires_after.");
  fields.required("anchor", anchor);
  fields.integer("seconds", {1, kMaxLimit}, seconds);
  if (auto read = fields.finish(); !read) return read.error();
  return parse_lifetime(anchor, seconds.value_or(0));
}

Result<TenantFiles::NewUpload> read_upload(const std::string& body) {
  const auto json = parse_json(body);
  if (!json) return json.error();
  TenantFiles::NewUpload upload;
  std::optional<std::int64_t> bytes;
  Fields fields(*json);
  fields.required("filename", upload.filename);
  fields.required("purpose", upload.purpose);
  fields.required_any("bytes");
  fields.integer("bytes", {1, static_cast<std::int64_t>(kMaxUploadBytes)}, bytes);
  fields.required("mime_type", upload.mime_type);
  const ordered_json* const lifetime = fields.any("expires_after");
  if (auto read = fields.finish(); !read) return read.error();
  if (auto checked = check_file_name(upload.filename); !checked) return checked.error();
  if (auto checked = check_purpose(upload.purpose); !checked) return checked.error();
  if (upload.mime_type.size() > kMaxFileNameBytes) {
    return Error{Code::kStringAboveMaxLength, "'mime_type' is too long.", "mime_type"};
  }
  upload.bytes = static_cast<std::uint64_t>(bytes.value_or(0));
  if (!lifetime) return upload;
  const auto read = read_lifetime(*lifetime);
  if (!read) return read.error();
  upload.file_lifetime = *read;
  return upload;
}

struct Completion {
  std::vector<std::string> part_ids;
  std::string md5;
};

Result<Completion> read_completion(const std::string& body) {
  const auto json = parse_json(body);
  if (!json) return json.error();
  Completion completion;
  Fields fields(*json);
  fields.required_any("part_ids");
  fields.one_or_more("part_ids", kMaxPartsOfUpload, kMaxFileNameBytes, completion.part_ids);
  fields.text("md5", kMd5Digits, completion.md5);
  if (auto read = fields.finish(); !read) return read.error();
  completion.md5 = to_lower(completion.md5);
  return completion;
}

// What is done with the parts may take as long as copying them does.
Reply on_upload_worker(Platform& platform, std::function<Result<Reply>()> work) {
  return std::make_unique<Deferred>(Deferred{*platform.upload_workers, std::move(work)});
}

}  // namespace

Result<Reply> create_upload(Platform& platform, Call& call) {
  const auto upload = read_upload(call.request.body);
  if (!upload) return upload.error();
  const auto created =
      platform.files->create_upload(actor_of(call), *upload, platform.clock.wall_now());
  if (!created) return created.error();
  return json_reply(upload_json({.upload = *created}));
}

Result<Reply> get_upload(Platform& platform, Call& call) {
  const auto view =
      platform.files->get_upload(call.caller.tenant, call.arguments.at(0), call.received_wall);
  if (!view) return view.error();
  return json_reply(upload_json(*view));
}

Result<Reply> add_upload_part(Platform& platform, Call& call) {
  const StagedPart* const data = call.staged.part("data");
  if (!data) {
    return Error{Code::kMissingRequiredParameter, "The part 'data' is missing.", "data"};
  }
  if (data->file->size() == 0) {
    return Error{Code::kInvalidValue, "The part 'data' is empty.", "data"};
  }
  const auto part = platform.files->add_part(
      actor_of(call), call.arguments.at(0), data->file,
      static_cast<std::uint64_t>(call.caller.limits.max_adapter_bytes), platform.clock.wall_now());
  if (!part) return part.error();
  return json_reply(part_json(*part));
}

Result<Reply> complete_upload(Platform& platform, Call& call) {
  auto completion = read_completion(call.request.body);
  if (!completion) return completion.error();
  return on_upload_worker(platform,
                          [&platform, actor = actor_of(call), id = call.arguments.at(0),
                           asked = *std::move(completion)]() -> Result<Reply> {
                            const auto view = platform.files->complete_upload(
                                actor, id, asked.part_ids, asked.md5, platform.clock.wall_now());
                            if (!view) return view.error();
                            return json_reply(upload_json(*view));
                          });
}

Result<Reply> cancel_upload(Platform& platform, Call& call) {
  const auto view = platform.files->cancel_upload(actor_of(call), call.arguments.at(0),
                                                  platform.clock.wall_now());
  if (!view) return view.error();
  return json_reply(upload_json(*view));
}

}  // namespace tessera
