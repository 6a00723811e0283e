#include "gateway/adapters/package_request.hpp"

#include <utility>

#include <nlohmann/json.hpp>

#include "gateway/adapters/upload_forms.hpp"
#include "gateway/api/fields.hpp"
#include "storage/json.hpp"

namespace tessera {
namespace {

using nlohmann::ordered_json;

constexpr std::string_view kConfigFile = "adapter_config.json";
constexpr std::string_view kTensorFile = "adapter_model.safetensors";

Error missing(const std::string& part) {
  return {Code::kMissingRequiredParameter, "The part '" + part + "' is missing.", part};
}

Result<Labels> read_labels(const ordered_json& object) {
  const Error wrong{Code::kInvalidValue, "'metadata' must be an object of strings.", "metadata"};
  if (!object.is_object()) return wrong;
  Labels labels;
  for (const auto& [name, value] : object.items()) {
    if (!value.is_string()) return wrong;
    labels.emplace(name, value.get<std::string>());
  }
  if (auto checked = check_labels(labels, "metadata"); !checked) return checked.error();
  return labels;
}

// A field of a form that is JSON itself.
Result<Labels> read_labels_text(const std::string& text) {
  const auto json = parse_json(text);
  if (!json) return Error{json.error().code, json.error().message, "metadata"};
  return read_labels(*json);
}

// The fields of a form, which come beside its files.
Result<PackageRequest> read_fields(const StagedBody& body) {
  PackageRequest request;
  for (const StagedPart& part : body.parts) {
    if (part.name == "name") request.name = part.text;
    if (part.name == "alias") request.alias = part.text;
    if (part.name == "acceptance") request.acceptance = part.text;
    if (part.name != "metadata") continue;
    auto labels = read_labels_text(part.text);
    if (!labels) return labels.error();
    request.metadata = *std::move(labels);
  }
  return request;
}

Result<void> add_files(const StagedBody& body, StagedPackage& package) {
  for (const StagedPart& part : body.parts) {
    if (part.name == "adapter_config") package.config = part.file;
    if (part.name == "adapter_model") package.tensors = part.file;
    if (part.name == "archive") package.archive = part.file;
    const std::string_view tokenizer = tokenizer_file(part.name);
    if (!tokenizer.empty()) package.tokenizer.push_back({std::string(tokenizer), part.file});
  }
  const bool others = package.config || package.tensors || !package.tokenizer.empty();
  if (package.archive && others) {
    return Error{Code::kInvalidValue, "An upload is one archive or its files, not both.",
                 "archive"};
  }
  if (package.archive) return {};
  if (!package.config) return missing("adapter_config");
  if (!package.tensors) return missing("adapter_model");
  return {};
}

// The members that an upload's JSON may have in every form; `file_id` where there is a file to
// name.
Result<PackageRequest> read_json(const std::string& body, std::string* file_id) {
  const auto json = parse_json(body);
  if (!json) return json.error();
  PackageRequest request;
  std::string name;
  std::string alias;
  Fields fields(*json);
  if (file_id) {
    fields.text("name", kMaxFieldBytes, name);
    fields.text("file_id", kMaxFieldBytes, *file_id);
  }
  const bool has_alias = fields.any("alias") != nullptr;
  fields.text("alias", kMaxFieldBytes, alias);
  const ordered_json* const metadata = fields.any("metadata");
  const ordered_json* const acceptance = fields.any("acceptance");
  if (auto read = fields.finish(); !read) return read.error();
  if (!name.empty()) request.name = name;
  if (has_alias) request.alias = alias;
  if (acceptance) request.acceptance = to_text(*acceptance);
  if (!metadata) return request;
  auto labels = read_labels(*metadata);
  if (!labels) return labels.error();
  request.metadata = *std::move(labels);
  return request;
}

Result<PackageRequest> read_named_file(Platform& platform, const Call& call) {
  std::string file_id;
  auto request = read_json(call.request.body, &file_id);
  if (!request || file_id.empty()) return request;
  auto file = platform.files->read(call.caller.tenant, file_id, call.received_wall);
  if (!file) return Error{file.error().code, file.error().message, "file_id"};
  request->package.archive = *std::move(file);
  return request;
}

}  // namespace

Result<PackageRequest> read_package(Platform& platform, const Call& call) {
  if (!call.staged.file && call.staged.parts.empty()) return read_named_file(platform, call);
  if (call.staged.file) {
    const auto checked = check_content_digest(header(call.request.headers, "content-digest"),
                                              call.staged.file->sha256());
    if (!checked) return checked.error();
    PackageRequest request;
    request.package.archive = call.staged.file;
    return request;
  }
  auto request = read_fields(call.staged);
  if (!request) return request;
  if (auto added = add_files(call.staged, request->package); !added) return added.error();
  return request;
}

Result<PackageRequest> read_draft(const AdapterDraft& draft, const std::string& body) {
  PackageRequest request;
  if (!body.empty()) {
    auto read = read_json(body, nullptr);
    if (!read) return read;
    request = *std::move(read);
  }
  for (const auto& [name, file] : draft.files) {
    if (name == kConfigFile) {
      request.package.config = file;
    } else if (name == kTensorFile) {
      request.package.tensors = file;
    } else {
      request.package.tokenizer.push_back({name, file});
    }
  }
  if (!request.package.config) return missing(std::string(kConfigFile));
  if (!request.package.tensors) return missing(std::string(kTensorFile));
  return request;
}

Result<void> check_draft_file(std::string_view name, std::uint64_t bytes) {
  const bool tokenizer = tokenizer_file(name) == name;
  if (name != kConfigFile && name != kTensorFile && !tokenizer) {
    return Error{Code::kInvalidValue,
                 "A draft has adapter_config.json, adapter_model.safetensors and perhaps files of "
                 "the tokenizer.",
                 "file"};
  }
  const std::uint64_t max_bytes = name == kConfigFile ? kMaxConfigFileBytes
                                  : tokenizer         ? kMaxTokenizerFileBytes
                                                      : kMaxUploadBytes;
  if (bytes <= max_bytes) return {};
  return Error{Code::kRequestExceedsLimit,
               "The file is longer than " + std::to_string(max_bytes) + " bytes.", "file"};
}

}  // namespace tessera
