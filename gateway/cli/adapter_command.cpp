// adapter_command.cpp — `tessera adapter`: a tenant's adapters, with that tenant's key.
#include <cstdio>
#include <filesystem>

#include "gateway/cli/commands.hpp"
#include "gateway/cli/remote.hpp"
#include "gateway/config.hpp"
#include "storage/durable_file.hpp"
#include "storage/ids.hpp"

namespace tessera {
namespace {

using Json = nlohmann::ordered_json;
using Arguments = std::vector<std::string>;

constexpr const char* kAdapters = "/v1/adapters";
constexpr const char* kConfigFile = "adapter_config.json";
constexpr const char* kTensorFile = "adapter_model.safetensors";

std::string one_adapter(const std::string& name) {
  return std::string(kAdapters) + "/" + percent_encoded(name);
}

void print_versions(const Remote& remote, const Json& versions) {
  print_objects(remote, versions, {"VERSION", "STATUS", "RANK", "SIZE", "SHA256", "CREATED"},
                [](const Json& version) {
                  return Arguments{cell_text(version["version"]),
                                   cell_text(version["status"]),
                                   cell_text(version["rank_max"]),
                                   human_bytes(version["bytes"].get<double>()),
                                   cell_text(version["sha256"]).substr(0, 16),
                                   time_text(version["created_at"])};
                });
}

void print_adapters(const Remote& remote, const Json& adapters) {
  print_objects(remote, adapters, {"NAME", "VERSIONS", "SERVES", "CREATED"},
                [](const Json& adapter) {
                  const Json serves = adapter["aliases"].value("prod", Json::object());
                  return Arguments{cell_text(adapter["name"]), cell_text(adapter["versions"]),
                                   cell_text(serves.value("version", Json())),
                                   time_text(adapter["created_at"])};
                });
}

void add_part(std::string& body, const std::string& boundary, std::string_view name,
              std::string_view filename, std::string_view content) {
  body +=
      "--" + boundary + "\r\nContent-Disposition: form-data; name=\"" + std::string(name) + "\"";
  if (!filename.empty()) body += "; filename=\"" + std::string(filename) + "\"";
  body += "\r\n\r\n";
  body.append(content).append("\r\n");
}

Result<std::string> read_part(const std::filesystem::path& file, std::size_t max_bytes) {
  auto content = read_file(file, max_bytes);
  if (!content) {
    return Error{Code::kIo, "cannot read " + file.string() +
                                "; an adapter's directory has adapter_config.json and "
                                "adapter_model.safetensors"};
  }
  return content;
}

Result<void> upload(const Remote& remote, const Arguments& names) {
  const std::filesystem::path directory = names[1];
  const auto config = read_part(directory / kConfigFile, kMaxUploadBytes);
  if (!config) return config.error();
  const auto tensors = read_part(directory / kTensorFile, kMaxUploadBytes);
  if (!tensors) return tensors.error();
  const std::string boundary = "tessera" + random_base62(24);
  HttpRequest request{.method = "POST", .target = kAdapters, .headers = {}, .body = {}};
  request.headers.emplace_back("Content-Type", "multipart/form-data; boundary=" + boundary);
  add_part(request.body, boundary, "name", "", names[0]);
  add_part(request.body, boundary, "adapter_config", kConfigFile, *config);
  add_part(request.body, boundary, "adapter_model", kTensorFile, *tensors);
  request.body += "--" + boundary + "--\r\n";
  const auto version = remote.send(std::move(request));
  if (!version) return version.error();
  print_versions(remote, *version);
  return {};
}

}  // namespace

int adapter_command(std::span<const std::string> arguments) {
  const RemoteCommand command = {
      .name = "adapter",
      .summary =
          "Lists, uploads and deletes a tenant's adapters. Needs a key of that tenant, not an "
          "admin's.",
      .actions = {{"list", "", "all of them", 0, 0,
                   [](const Remote& remote, const Arguments&) -> Result<void> {
                     const auto adapters = remote.list(kAdapters);
                     if (!adapters) return adapters.error();
                     print_adapters(remote, *adapters);
                     return {};
                   }},
                  {"show", "NAME", "its versions", 1, 1,
                   [](const Remote& remote, const Arguments& names) -> Result<void> {
                     const auto versions = remote.list(one_adapter(names[0]) + "/versions");
                     if (!versions) return versions.error();
                     print_versions(remote, *versions);
                     return {};
                   }},
                  {"upload", "NAME DIRECTORY", "a PEFT adapter, as a new version of NAME", 2, 2,
                   upload},
                  {"delete", "NAME", "all versions of it", 1, 1,
                   [](const Remote& remote, const Arguments& names) -> Result<void> {
                     const auto removed = remote.remove(one_adapter(names[0]));
                     if (!removed) return removed.error();
                     std::printf("deleted %s\n", names[0].c_str());
                     return {};
                   }}},
      .notes =
          "Example: TESSERA_KEY=sk-live-… tessera adapter upload support-bot ./out/checkpoint\n"};
  return run_remote_command(command, arguments);
}

}  // namespace tessera
