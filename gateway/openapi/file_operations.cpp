// file_operations.cpp — the shapes of /v1/files and /v1/uploads, which are OpenAI's.
#include "gateway/config.hpp"
#include "gateway/openapi/operations.hpp"

namespace tessera::openapi {
namespace {

Json purpose() {
  return words({"fine-tune", "user_data"});
}

void add_schemas(Json& schemas) {
  Json none;
  none["type"] = "null";
  schemas["File"] = object({{"id", text()},
                            {"object", constant("file")},
                            {"bytes", integer()},
                            {"created_at", unix_time()},
                            {"expires_at", nullable(unix_time())},
                            {"filename", text()},
                            {"purpose", purpose()},
                            {"status", constant("processed")},
                            {"status_details", none},
                            {"sha256", text()}});
  schemas["FileList"] = list_of("File");
  schemas["UploadPart"] = object({{"id", text()},
                                  {"object", constant("upload.part")},
                                  {"created_at", unix_time()},
                                  {"upload_id", text()},
                                  {"bytes", integer()},
                                  {"sha256", text()}});
  schemas["Upload"] = object({{"id", text()},
                              {"object", constant("upload")},
                              {"bytes", integer()},
                              {"created_at", unix_time()},
                              {"expires_at", unix_time()},
                              {"filename", text()},
                              {"mime_type", text()},
                              {"purpose", purpose()},
                              {"status", words({"pending", "completed", "cancelled", "expired"})},
                              {"file", nullable(ref("File"))},
                              {"parts", array(ref("UploadPart"))}});
}

Json upload_request() {
  const Json lifetime =
      request({{"anchor", constant("created_at")}, {"seconds", integer(3600, 2'592'000)}});
  return request({{"filename", text(1, kMaxFileNameBytes)},
                  {"purpose", purpose()},
                  {"bytes", integer(1, static_cast<std::int64_t>(kMaxUploadBytes))},
                  {"mime_type", text(0, kMaxFileNameBytes)},
                  optional("expires_after", lifetime)});
}

void add_files(std::vector<Operation>& operations) {
  operations.push_back({.method = "POST",
                        .pattern = "/v1/files",
                        .summary = "Keeps a file.",
                        .answers = {{200, ref("File")}}});
  operations.push_back({.method = "GET",
                        .pattern = "/v1/files",
                        .summary = "Lists files.",
                        .answers = {{200, ref("FileList")}},
                        .query = page_parameters_and({{"purpose", text()}})});
  operations.push_back({.method = "GET",
                        .pattern = "/v1/files/{file}",
                        .summary = "One file.",
                        .answers = {{200, ref("File")}}});
  operations.push_back({.method = "GET",
                        .pattern = "/v1/files/{file}/content",
                        .summary = "A file's bytes.",
                        .answers = {{200, any(), "application/octet-stream"}}});
  operations.push_back({.method = "DELETE",
                        .pattern = "/v1/files/{file}",
                        .summary = "Deletes a file.",
                        .answers = {{200, deleted("file")}}});
}

void add_uploads(std::vector<Operation>& operations) {
  operations.push_back({.method = "POST",
                        .pattern = "/v1/uploads",
                        .summary = "Begins a file that comes in parts.",
                        .answers = {{200, ref("Upload")}},
                        .body = upload_request()});
  operations.push_back({.method = "GET",
                        .pattern = "/v1/uploads/{upload}",
                        .summary = "One upload, with the parts that are there.",
                        .answers = {{200, ref("Upload")}}});
  operations.push_back({.method = "POST",
                        .pattern = "/v1/uploads/{upload}/parts",
                        .summary = "Adds a part.",
                        .answers = {{200, ref("UploadPart")}}});
  operations.push_back(
      {.method = "POST",
       .pattern = "/v1/uploads/{upload}/complete",
       .summary = "Makes a file of the parts.",
       .answers = {{200, ref("Upload")}},
       .body = request({{"part_ids", array(text(1, kMaxFileNameBytes), 1, kMaxPartsOfUpload)},
                        optional("md5", text(0, 32))})});
  operations.push_back({.method = "POST",
                        .pattern = "/v1/uploads/{upload}/cancel",
                        .summary = "Drops an upload.",
                        .answers = {{200, ref("Upload")}}});
}

}  // namespace

void describe_files(Surface& surface) {
  add_schemas(surface.schemas);
  add_files(surface.operations);
  add_uploads(surface.operations);
}

}  // namespace tessera::openapi
