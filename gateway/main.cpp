// main.cpp — `tessera COMMAND`: which command, nothing else.
#include <cstdio>
#include <exception>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "adapters/sandbox/validation_child.hpp"
#include "gateway/cli/commands.hpp"
#include "gateway/version.hpp"

namespace {

constexpr char kHelp[] = R"help(Tessera serves many tenants' LoRA adapters on one 4-bit base model.

Usage: tessera COMMAND [OPTIONS]

Commands:
  quantize SRC DST   pack a Hugging Face directory or a GGUF file into one file to serve
  inspect FILE|DIR   tell what a model holds, in any of these forms
  serve              serve a packed model over HTTP
  info [FILE]        tell about this machine, or about a packed model
  tenant, key, limit, usage
                     administer a running server, with an admin key
  top                show what a running server is doing
  adapter            list, upload and delete a tenant's adapters, with a key of its
  backup             make, list and delete backups of a running server
  restore            make a data directory of a backup
  audit verify       check that no usage or audit record was altered or removed
  routes             list what the API can be asked, and with which scope
  completion         print a script by which the shell completes all of this
  version            print the version

Begin with:
  tessera quantize examples/demo/base demo.tessera --name tessera-demo
  tessera serve --model demo.tessera --data ./data
  tessera tenant create "my first tenant"
  tessera key create TENANT-ID

`tessera COMMAND --help` tells more about each.
)help";

using Command = int (*)(std::span<const std::string>);

constexpr std::pair<std::string_view, Command> kCommands[] = {
    {"serve", tessera::serve_command},
    {"quantize", tessera::quantize_command},
    {"inspect", tessera::inspect_command},
    {"info", tessera::info_command},
    {"tenant", tessera::tenant_command},
    {"key", tessera::key_command},
    {"limit", tessera::limit_command},
    {"usage", tessera::usage_command},
    {"top", tessera::top_command},
    {"adapter", tessera::adapter_command},
    {"audit", tessera::audit_command},
    {"backup", tessera::backup_command},
    {"restore", tessera::restore_command},
    {"completion", tessera::completion_command},
    {"routes", tessera::routes_command},
    {tessera::kValidationChildArgument, tessera::validation_child_command},
};

int run(const std::vector<std::string>& arguments) {
  const std::string command = arguments.empty() ? "--help" : arguments.front();
  const std::span rest = std::span(arguments).subspan(arguments.empty() ? 0 : 1);
  for (const auto& [name, function] : kCommands) {
    if (command == name) return function(rest);
  }
  if (command == "version" || command == "--version") {
    std::printf("tessera %s\n", tessera::kVersion);
    return tessera::kExitDone;
  }
  if (command == "help" || command == "--help" || command == "-h") {
    std::fputs(kHelp, stdout);
    return tessera::kExitDone;
  }
  return tessera::usage_error("", "Unknown command: " + command + ".");
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(std::vector<std::string>(argv + 1, argv + argc));
  } catch (const std::exception& exception) {
    return tessera::failure(exception.what());
  }
}
