// adapter_command.cpp — `tessera adapter`: a tenant's adapters, with that tenant's key.
#include <charconv>
#include <cstdio>
#include <filesystem>

#include "adapters/alias.hpp"
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

std::string one_alias(const std::string& name, const std::string& alias) {
  return one_adapter(name) + "/aliases/" + percent_encoded(alias);
}

// "-" of a version that has no bytes yet.
std::string size_text(const Json& bytes) {
  return bytes.is_number() ? human_bytes(bytes.get<double>()) : "-";
}

// "7", or "7=95 8=5 by user".
std::string target_text(const Json& target) {
  if (target.contains("version")) return cell_text(target["version"]);
  if (!target.contains("split")) return "-";
  std::string text;
  for (const Json& share : target["split"]) {
    text += cell_text(share["version"]) + "=" + cell_text(share["weight"]) + " ";
  }
  return text + "by " + cell_text(target["sticky"]);
}

void print_versions(const Remote& remote, const Json& versions) {
  print_objects(remote, versions, {"VERSION", "STATUS", "RANK", "SIZE", "SHA256", "CREATED"},
                [](const Json& version) {
                  return Arguments{cell_text(version["version"]),
                                   cell_text(version["status"]),
                                   cell_text(version["rank_max"]),
                                   size_text(version["bytes"]),
                                   cell_text(version["sha256"]).substr(0, 16),
                                   time_text(version["created_at"])};
                });
}

void print_adapters(const Remote& remote, const Json& adapters) {
  print_objects(remote, adapters, {"NAME", "VERSIONS", "SERVES", "CREATED"},
                [](const Json& adapter) {
                  return Arguments{cell_text(adapter["name"]), cell_text(adapter["versions"]),
                                   target_text(adapter["aliases"].value("prod", Json::object())),
                                   time_text(adapter["created_at"])};
                });
}

void print_aliases(const Remote& remote, const Json& aliases) {
  print_objects(remote, aliases, {"ALIAS", "SERVES", "MOVED"}, [](const Json& alias) {
    return Arguments{cell_text(alias["alias"]), target_text(alias), time_text(alias["moved_at"])};
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

Result<void> list(const Remote& remote, const Arguments&) {
  const auto adapters = remote.list(kAdapters);
  if (!adapters) return adapters.error();
  print_adapters(remote, *adapters);
  return {};
}

Result<void> versions(const Remote& remote, const Arguments& names) {
  const auto versions = remote.list(one_adapter(names[0]) + "/versions");
  if (!versions) return versions.error();
  print_versions(remote, *versions);
  return {};
}

Result<void> aliases(const Remote& remote, const Arguments& names) {
  const auto answer = remote.get(one_adapter(names[0]) + "/aliases");
  if (!answer) return answer.error();
  print_aliases(remote, (*answer)["data"]);
  return {};
}

Result<void> change_alias(const Remote& remote, const std::string& target, const Json& body) {
  const auto alias = remote.post(target, body);
  if (!alias) return alias.error();
  print_aliases(remote, *alias);
  return {};
}

Result<std::int64_t> number_of(std::string_view text, const std::string& whole) {
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error == std::errc() && end == text.data() + text.size() && number >= 1) return number;
  return Error{Code::kInvalidValue,
               "'" + whole + "' is neither a version (7) nor a version and its weight (7=95)"};
}

Result<void> move_alias(const Remote& remote, const Arguments& names) {
  const auto version = number_of(names[2], names[2]);
  if (!version) return version.error();
  return change_alias(remote, one_alias(names[0], names[1]), {{"version", *version}});
}

// NAME ALIAS 7=95 8=5 [user|session|none]
Result<void> split(const Remote& remote, const Arguments& names) {
  Json body;
  for (const std::string& share : std::span(names).subspan(2)) {
    const auto mark = share.find('=');
    if (mark == share.npos && &share == &names.back()) {
      body["sticky"] = share;
      continue;
    }
    const std::string_view text = share;
    const auto version = number_of(text.substr(0, mark), share);
    if (!version) return version.error();
    const auto weight = mark == share.npos ? 1 : number_of(text.substr(mark + 1), share);
    if (!weight) return weight.error();
    body["split"].push_back({{"version", *version}, {"weight", *weight}});
  }
  return change_alias(remote, one_alias(names[0], names[1]), body);
}

Result<void> roll_back(const Remote& remote, const Arguments& names) {
  const std::string alias = names.size() > 1 ? names[1] : "prod";
  return change_alias(remote, one_alias(names[0], alias) + "/rollback", Json::object());
}

Result<void> remove_alias(const Remote& remote, const Arguments& names) {
  const auto removed = remote.remove(one_alias(names[0], names[1]));
  if (!removed) return removed.error();
  std::printf("deleted %s:%s\n", names[0].c_str(), names[1].c_str());
  return {};
}

// Both files into a directory, which is made if it is not there.
Result<void> fetch(const Remote& remote, const Arguments& names) {
  const std::filesystem::path directory = names[2];
  std::error_code made;
  std::filesystem::create_directories(directory, made);
  if (made) return Error{Code::kIo, "cannot make " + directory.string() + ": " + made.message()};
  const std::string files =
      one_adapter(names[0]) + "/versions/" + percent_encoded(names[1]) + "/files/";
  for (const char* file : {kConfigFile, kTensorFile}) {
    if (auto done = remote.download(files + file, directory / file); !done) return done;
    std::printf("%s\n", (directory / file).c_str());
  }
  return {};
}

Result<void> remove(const Remote& remote, const Arguments& names) {
  const auto removed = remote.remove(one_adapter(names[0]));
  if (!removed) return removed.error();
  std::printf("deleted %s\n", names[0].c_str());
  return {};
}

}  // namespace

int adapter_command(std::span<const std::string> arguments) {
  const RemoteCommand command = {
      .name = "adapter",
      .summary =
          "Lists, uploads and deletes a tenant's adapters. Needs a key of that tenant, not an "
          "admin's.",
      .actions =
          {{"list", "", "all of them", 0, 0, list},
           {"versions", "NAME", "its versions", 1, 1, versions},
           {"show", "NAME", "the same", 1, 1, versions},
           {"aliases", "NAME", "where its aliases point", 1, 1, aliases},
           {"upload", "NAME DIRECTORY", "a PEFT adapter, as a new version of NAME", 2, 2, upload},
           {"download", "NAME VERSION DIRECTORY", "its files, as they were uploaded", 3, 3, fetch},
           {"alias", "NAME ALIAS VERSION", "points an alias at one version", 3, 3, move_alias},
           {"split", "NAME ALIAS VERSION=WEIGHT... [user|session|none]",
            "divides an alias's traffic, sticky by what is named", 3, kMaxShares + 3, split},
           {"rollback", "NAME [ALIAS]", "back to where an alias (prod) was before", 1, 2,
            roll_back},
           {"unalias", "NAME ALIAS", "deletes an alias", 2, 2, remove_alias},
           {"delete", "NAME", "all versions of it", 1, 1, remove}},
      .notes =
          "Examples:\n"
          "  TESSERA_KEY=sk-live-… tessera adapter upload support-bot ./out/checkpoint\n"
          "  tessera adapter split support-bot prod 7=95 8=5 user\n"};
  return run_remote_command(command, arguments);
}

}  // namespace tessera
