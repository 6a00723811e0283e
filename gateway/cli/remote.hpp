// remote.hpp — a server that a command talks to, over the same HTTP API that everybody has.
#pragma once

#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "gateway/cli/http_client.hpp"
#include "gateway/cli/options.hpp"

namespace tessera {

// Where the server is and whose key is shown, from options or the environment.
struct RemoteOptions {
  std::string url;       // TESSERA_URL, else http://127.0.0.1:8080
  std::string key_file;  // TESSERA_KEY (the key itself), else data/admin.key
  bool json = false;
  // Of https: PEM files.
  std::string ca_certificate;  // TESSERA_CA_CERT
  std::string certificate;     // TESSERA_CERT
  std::string key;             // TESSERA_CERT_KEY
};

// --url, --key-file, --json, and those of https.
std::vector<Option> remote_options(RemoteOptions& options);

class Remote {
 public:
  using Json = nlohmann::ordered_json;

  // Errors: what the user has to do about a wrong URL or a key that cannot be read.
  static Result<Remote> open(const RemoteOptions& options);

  // The answer's JSON. Errors: the server's own message, or why it could not be asked.
  Result<Json> get(const std::string& target) const;
  Result<Json> post(const std::string& target, const Json& body) const;
  Result<Json> remove(const std::string& target) const;
  Result<Json> send(HttpRequest request) const;
  // The answer's body as a file. Errors: as above; there is no file then.
  Result<void> download(const std::string& target, const std::filesystem::path& file) const;
  // The answer's body, piece by piece. Errors: as above, those of `sink`.
  Result<void> stream(const std::string& target, const PieceSink& sink) const;
  // Every object of a list, page by page.
  Result<Json> list(const std::string& target) const;

  bool json() const { return json_; }

 private:
  Remote(ServerUrl server, std::string key, bool json)
      : server_(std::move(server)), key_(std::move(key)), json_(json) {}

  ServerUrl server_;
  std::string key_;
  bool json_;
};

// A path segment or a query's value, percent-encoded.
std::string percent_encoded(std::string_view text);

// "2026-11-21 12:34" of a Unix time; "-" if it is null.
std::string time_text(const nlohmann::ordered_json& unix_time);

// The text of a JSON value as a cell: strings as they are, null as "-".
std::string cell_text(const nlohmann::ordered_json& value);

// What a command can do: `tessera tenant create NAME`.
struct RemoteAction {
  std::string_view name;
  std::string_view arguments;  // "TENANT NAME", for --help
  std::string_view help;
  std::size_t min_arguments = 0;
  std::size_t max_arguments = 0;
  // Prints what it did; an Error is told to the user.
  std::function<Result<void>(const Remote&, const std::vector<std::string>&)> run;
};

struct RemoteCommand {
  std::string_view name;     // "tenant"
  std::string_view summary;  // the first line of --help
  std::vector<RemoteAction> actions;
  std::vector<Option> options = {};  // besides those of every remote command
  std::string_view notes = {};       // the last lines of --help
};

// Parses, asks, prints; returns the exit status.
int run_remote_command(const RemoteCommand& command, std::span<const std::string> arguments);

// Prints `objects` as JSON if that was asked for, else as a table of the rows that `row` makes.
void print_objects(
    const Remote& remote, const nlohmann::ordered_json& objects,
    const std::vector<std::string>& header,
    const std::function<std::vector<std::string>(const nlohmann::ordered_json&)>& row);

}  // namespace tessera
