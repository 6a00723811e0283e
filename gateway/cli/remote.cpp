#include "gateway/cli/remote.hpp"

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <utility>

#include "gateway/cli/commands.hpp"
#include "gateway/cli/text_table.hpp"
#include "storage/durable_file.hpp"
#include "storage/json.hpp"

namespace tessera {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t kMaxKeyBytes = 1024;

std::string environment(const char* name, std::string_view otherwise) {
  const char* const value = std::getenv(name);
  return value != nullptr && *value != '\0' ? value : std::string(otherwise);
}

Result<std::string> read_key(const std::string& file) {
  const std::string given = environment("TESSERA_KEY", "");
  if (file.empty() && !given.empty()) return given;
  const std::string path = file.empty() ? "data/admin.key" : file;
  auto text = read_file(path, kMaxKeyBytes);
  if (!text) {
    return Error{Code::kIo, "cannot read the key file " + path +
                                " (--key-file FILE, or the key itself in TESSERA_KEY)"};
  }
  while (!text->empty() && (text->back() == '\n' || text->back() == '\r')) text->pop_back();
  return *text;
}

// The sentence of an error answer, with its code.
Error server_error(const HttpResponse& answer) {
  const auto body = parse_json(answer.body);
  if (!body || !body->is_object() || !body->contains("error")) {
    return {Code::kIo, "the server answered " + std::to_string(answer.status)};
  }
  const Json& error = (*body)["error"];
  return {Code::kIo, error.value("message", "") + " (" + std::to_string(answer.status) + " " +
                         cell_text(error.value("code", Json())) + ")"};
}

std::string help_text(const RemoteCommand& command, const std::vector<Option>& options) {
  std::string text(command.summary);
  text += "\n\nUsage:\n";
  std::size_t width = 0;
  const auto usage = [&](const RemoteAction& action) {
    return "tessera " + std::string(command.name) + " " + std::string(action.name) +
           (action.arguments.empty() ? "" : " ") + std::string(action.arguments);
  };
  for (const RemoteAction& action : command.actions) width = std::max(width, usage(action).size());
  for (const RemoteAction& action : command.actions) {
    const std::string line = usage(action);
    text +=
        "  " + line + std::string(width - line.size() + 2, ' ') + std::string(action.help) + "\n";
  }
  text += "\nOptions:\n" + describe_options(options);
  if (!command.notes.empty()) text += "\n" + std::string(command.notes);
  return text;
}

const RemoteAction* find_action(const RemoteCommand& command, const std::string& name) {
  const auto found = std::ranges::find(command.actions, name, &RemoteAction::name);
  return found == command.actions.end() ? nullptr : &*found;
}

std::string action_names(const RemoteCommand& command) {
  std::string names;
  for (const RemoteAction& action : command.actions) {
    names += (names.empty() ? "" : ", ") + std::string(action.name);
  }
  return names;
}

int run_action(const RemoteAction& action, const RemoteOptions& options,
               const std::vector<std::string>& arguments) {
  const auto remote = Remote::open(options);
  if (!remote) return failure(remote.error().message);
  const auto done = action.run(*remote, arguments);
  return done ? kExitDone : failure(done.error().message);
}

}  // namespace

std::vector<Option> remote_options(RemoteOptions& options) {
  return {
      text_option("--url", "URL", "the server (default: TESSERA_URL or http://127.0.0.1:8080)",
                  options.url),
      text_option("--key-file", "FILE",
                  "a file with the API key (default: the key in TESSERA_KEY, or data/admin.key)",
                  options.key_file),
      text_option("--ca-cert", "FILE",
                  "https: whose certificates are believed (default: TESSERA_CA_CERT, or the "
                  "system's)",
                  options.ca_certificate),
      text_option("--cert", "FILE", "https: one's own certificate (default: TESSERA_CERT)",
                  options.certificate),
      text_option("--cert-key", "FILE", "https: its key (default: TESSERA_CERT_KEY)", options.key),
      switch_option("--json", "print JSON, not a table", options.json)};
}

Result<Remote> Remote::open(const RemoteOptions& options) {
  auto server = parse_server_url(
      options.url.empty() ? environment("TESSERA_URL", "http://127.0.0.1:8080") : options.url);
  if (!server) return server.error();
  const auto choose = [](const std::string& option, const char* variable) {
    return option.empty() ? environment(variable, "") : option;
  };
  server->ca_certificate = choose(options.ca_certificate, "TESSERA_CA_CERT");
  server->certificate = choose(options.certificate, "TESSERA_CERT");
  server->key = choose(options.key, "TESSERA_CERT_KEY");
  auto key = read_key(options.key_file);
  if (!key) return key.error();
  return Remote(*server, *std::move(key), options.json);
}

Result<Json> Remote::send(HttpRequest request) const {
  request.headers.emplace_back("Authorization", "Bearer " + key_);
  const auto answer = send_request(server_, request);
  if (!answer) return answer.error();
  if (answer->status < 200 || answer->status > 299) return server_error(*answer);
  return parse_json(answer->body);
}

Result<void> Remote::download(const std::string& target, const std::filesystem::path& file) const {
  HttpRequest request{.method = "GET", .target = target, .headers = {}, .body = {}};
  request.headers.emplace_back("Authorization", "Bearer " + key_);
  const auto answer = tessera::download(server_, request, file);
  if (!answer) return answer.error();
  if (answer->status != 200) return server_error(*answer);
  return {};
}

Result<void> Remote::stream(const std::string& target, const PieceSink& sink) const {
  HttpRequest request{.method = "GET", .target = target, .headers = {}, .body = {}};
  request.headers.emplace_back("Authorization", "Bearer " + key_);
  const auto answer = tessera::stream(server_, request, sink);
  if (!answer) return answer.error();
  if (answer->status != 200) return server_error(*answer);
  return {};
}

Result<Json> Remote::get(const std::string& target) const {
  return send({.method = "GET", .target = target, .headers = {}, .body = {}});
}

Result<Json> Remote::post(const std::string& target, const Json& body) const {
  return send({.method = "POST",
               .target = target,
               .headers = {{"Content-Type", "application/json"}},
               .body = to_text(body)});
}

Result<Json> Remote::remove(const std::string& target) const {
  return send({.method = "DELETE", .target = target, .headers = {}, .body = {}});
}

Result<Json> Remote::list(const std::string& target) const {
  Json objects = Json::array();
  const std::string first = target + (target.find('?') == target.npos ? "?" : "&") + "limit=100";
  for (std::string page_target = first;;) {
    auto page = get(page_target);
    if (!page) return page.error();
    for (Json& object : (*page)["data"]) objects.push_back(std::move(object));
    if (!page->value("has_more", false)) {
      return Result<Json>(boost::system::in_place_value, std::move(objects));
    }
    page_target = first + "&after=" + percent_encoded((*page)["last_id"].get<std::string>());
  }
}

std::string percent_encoded(std::string_view text) {
  constexpr std::string_view kHex = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    if (is_alphanumeric(c) || c == '-' || c == '_' || c == '.' || c == '~') {
      out.push_back(c);
    } else {
      const auto byte = static_cast<unsigned char>(c);
      out += {'%', kHex[byte >> 4], kHex[byte & 15]};
    }
  }
  return out;
}

std::string time_text(const Json& unix_time) {
  if (!unix_time.is_number_integer()) return "-";
  const std::time_t time = unix_time.get<std::time_t>();
  std::tm parts{};
  ::gmtime_r(&time, &parts);
  std::array<char, 32> text{};
  std::strftime(text.data(), text.size(), "%Y-%m-%d %H:%M", &parts);
  return text.data();
}

std::string cell_text(const Json& value) {
  if (value.is_null()) return "-";
  if (value.is_string()) return value.get<std::string>();
  if (!value.is_array()) return to_text(value);
  std::string text;
  for (const Json& item : value) text += (text.empty() ? "" : ",") + cell_text(item);
  return text;
}

int run_remote_command(const RemoteCommand& command, std::span<const std::string> arguments) {
  RemoteOptions remote;
  bool help = arguments.empty();
  std::vector<Option> options = command.options;
  std::ranges::move(remote_options(remote), std::back_inserter(options));
  options.push_back(switch_option("--help", "show this", help));
  auto rest = parse_options(arguments, options);
  if (!rest) return usage_error(command.name, rest.error().message);
  if (help || rest->empty()) {
    std::fputs(help_text(command, options).c_str(), stdout);
    return help ? kExitDone : kExitUsage;
  }
  const RemoteAction* action = find_action(command, rest->front());
  if (action == nullptr) {
    return usage_error(command.name, std::string(command.name) + " knows " + action_names(command) +
                                         ", not '" + rest->front() + "'.");
  }
  rest->erase(rest->begin());
  if (rest->size() < action->min_arguments || rest->size() > action->max_arguments) {
    return usage_error(
        command.name,
        std::string(command.name) + " " + std::string(action->name) + " takes " +
            (action->arguments.empty() ? "no arguments" : std::string(action->arguments)) + ".");
  }
  return run_action(*action, remote, *rest);
}

void print_objects(const Remote& remote, const Json& objects,
                   const std::vector<std::string>& header,
                   const std::function<std::vector<std::string>(const Json&)>& row) {
  if (remote.json()) {
    std::printf("%s\n", to_text(objects).c_str());
    return;
  }
  std::vector<std::vector<std::string>> rows;
  if (objects.is_array()) {
    for (const Json& object : objects) rows.push_back(row(object));
  } else {
    rows.push_back(row(objects));
  }
  std::fputs(text_table(header, rows).c_str(), stdout);
}

}  // namespace tessera
