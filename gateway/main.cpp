// main.cpp — `tessera COMMAND`: which command, nothing else.
#include <cstdio>
#include <exception>
#include <span>
#include <string>
#include <vector>

#include "gateway/commands.hpp"
#include "gateway/version.hpp"

namespace {

constexpr char kHelp[] = R"help(Tessera serves many tenants' LoRA adapters on one 4-bit base model.

Usage: tessera COMMAND [OPTIONS]

Commands:
  quantize SRC DST   pack a Hugging Face directory or a GGUF file into one file to serve
  inspect FILE|DIR   tell what a model holds, in any of these forms
  serve              serve a packed model over HTTP
  info [FILE]        tell about this machine, or about a packed model
  audit verify       check that no usage or audit record was altered or removed
  version            print the version

Begin with:
  tessera quantize examples/demo/base demo.tessera --name tessera-demo
  tessera serve --model demo.tessera --data ./data
  curl http://127.0.0.1:8080/v1/organization/projects \
       -H "Authorization: Bearer $(cat data/admin.key)" \
       -H 'Content-Type: application/json' -d '{"name": "my first tenant"}'

`tessera COMMAND --help` tells more about each.
)help";

int run(const std::vector<std::string>& arguments) {
  const std::string command = arguments.empty() ? "--help" : arguments.front();
  const std::span rest = std::span(arguments).subspan(arguments.empty() ? 0 : 1);
  if (command == "serve") return tessera::serve_command(rest);
  if (command == "quantize") return tessera::quantize_command(rest);
  if (command == "inspect") return tessera::inspect_command(rest);
  if (command == "audit") return tessera::audit_command(rest);
  if (command == "info") return tessera::info_command(rest);
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
