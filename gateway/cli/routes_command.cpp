// routes_command.cpp — `tessera routes`: everything that can be asked, and by whom.
#include <cstdio>

#include <nlohmann/json.hpp>

#include "gateway/cli/commands.hpp"
#include "gateway/cli/options.hpp"
#include "gateway/cli/text_table.hpp"
#include "gateway/openapi/document.hpp"
#include "gateway/routes.hpp"
#include "storage/json.hpp"
#include "tenancy/scope.hpp"

namespace tessera {
namespace {

constexpr char kHelp[] = R"(Lists every route of the API with the scope that a key needs for it.

Usage: tessera routes [OPTIONS]

Options:
)";

// Empty if any valid key will do.
std::string scope_name(const Route& route) {
  const auto scope = scope_of(route.access);
  return std::string(scope ? to_string(*scope) : "");
}

}  // namespace

int routes_command(std::span<const std::string> arguments) {
  bool json = false;
  bool openapi = false;
  bool help = false;
  const std::vector<Option> options = {
      switch_option("--json", "one JSON array, on a line", json),
      switch_option("--openapi", "the OpenAPI 3.1 document, as /openapi.json has it", openapi),
      switch_option("--help", "show this", help)};
  const auto rest = parse_options(arguments, options);
  if (!rest) return usage_error("routes", rest.error().message);
  if (!rest->empty()) return usage_error("routes", "routes takes no arguments.");
  if (help) {
    std::printf("%s%s", kHelp, describe_options(options).c_str());
    return kExitDone;
  }
  if (openapi) {
    std::fputs(openapi::document_text().c_str(), stdout);
    return kExitDone;
  }
  nlohmann::ordered_json objects = nlohmann::ordered_json::array();
  std::vector<std::vector<std::string>> rows;
  for (const Route& route : api_routes()) {
    const std::string method(route.method);
    const std::string path(route.pattern);
    objects.push_back({{"method", method}, {"path", path}, {"scope", scope_name(route)}});
    rows.push_back({method, path, scope_name(route)});
  }
  const std::string text =
      json ? to_text(objects) + "\n" : text_table({"METHOD", "PATH", "SCOPE"}, rows);
  std::fputs(text.c_str(), stdout);
  return kExitDone;
}

}  // namespace tessera
