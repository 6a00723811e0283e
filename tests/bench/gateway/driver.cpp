// driver.cpp — the server with an engine that answers at once, and what is asked of it.
//
//     gateway_driver serve [--pause MS] OPTIONS       as `tessera serve`, with InstantBackend
//     gateway_driver fill DATA TENANTS KEYS ADAPTERS KEYS_FILE
//     gateway_driver load [--awake] PORT RATE CONNECTIONS WARM_MS MEASURED_MS METHOD PATH BODY
//                         [KEYS_FILE]
//
// `load` prints one line of JSON. --awake: it never sleeps, so that what it takes to wake is in no
// latency; for a load with a core of its own.
#include <cstdio>
#include <fstream>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "gateway/cli/commands.hpp"
#include "gateway/cli/serve_command.hpp"
#include "tests/bench/gateway/full_store.hpp"
#include "tests/bench/gateway/instant_backend.hpp"
#include "tests/bench/gateway/open_load.hpp"

namespace tessera {
namespace {

using Arguments = std::span<const std::string>;

int serve(Arguments arguments) {
  std::chrono::milliseconds pause{0};
  if (arguments.size() >= 2 && arguments[0] == "--pause") {
    pause = std::chrono::milliseconds(std::stoi(arguments[1]));
    arguments = arguments.subspan(2);
  }
  const BackendMaker make = [pause](const ServerConfig&, const ModelWeights& weights,
                                    const BackendLimits&) -> Result<std::unique_ptr<Backend>> {
    return std::make_unique<InstantBackend>(weights.spec.vocab_size, pause);
  };
  return serve_with(make, arguments);
}

int fill(Arguments arguments) {
  const FullStore wanted{.num_tenants = std::stoi(arguments[1]),
                         .num_keys = std::stoi(arguments[2]),
                         .num_adapters = std::stoi(arguments[3])};
  const auto made = make_full_store(wanted, arguments[0], arguments[4]);
  if (made) return kExitDone;
  return failure(made.error().message);
}

std::vector<std::string> read_lines(const std::string& path) {
  std::vector<std::string> lines;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) lines.push_back(line);
  if (lines.empty()) throw std::runtime_error("no lines in " + path);
  return lines;
}

double percentile(const std::vector<double>& sorted, double percent) {
  if (sorted.empty()) return 0.0;
  const auto index = static_cast<std::size_t>(percent / 100.0 * static_cast<double>(sorted.size()));
  return sorted[std::min(index, sorted.size() - 1)];
}

int load(Arguments arguments) {
  const bool awake = arguments[0] == "--awake";
  if (awake) arguments = arguments.subspan(1);
  LoadPlan plan{.port = static_cast<std::uint16_t>(std::stoi(arguments[0])),
                .rate = std::stod(arguments[1]),
                .num_connections = std::stoi(arguments[2]),
                .warm_up = std::chrono::milliseconds(std::stoi(arguments[3])),
                .measured = std::chrono::milliseconds(std::stoi(arguments[4])),
                .method = arguments[5],
                .path = arguments[6],
                .body = arguments[7],
                .keys = {},
                .sleeps = !awake};
  if (arguments.size() > 8) plan.keys = read_lines(arguments[8]);
  const LoadReport report = run_load(plan);
  std::printf(
      "{\"answers\": %lld, \"refused\": %lld, \"broken\": %lld, \"rate\": %.1f, \"p50_us\": %.1f, "
      "\"p90_us\": %.1f, \"p99_us\": %.1f, \"p999_us\": %.1f}\n",
      static_cast<long long>(report.num_answers), static_cast<long long>(report.num_refused),
      static_cast<long long>(report.num_broken),
      static_cast<double>(report.num_answers) / report.seconds, percentile(report.micros, 50),
      percentile(report.micros, 90), percentile(report.micros, 99),
      percentile(report.micros, 99.9));
  return kExitDone;
}

int run(Arguments arguments) {
  const std::string command = arguments.empty() ? "" : arguments.front();
  if (command == "serve") return serve(arguments.subspan(1));
  if (command == "fill" && arguments.size() == 6) return fill(arguments.subspan(1));
  if (command == "load" && arguments.size() >= 9) return load(arguments.subspan(1));
  std::fprintf(stderr, "usage: gateway_driver serve|fill|load ...; see driver.cpp\n");
  return kExitUsage;
}

}  // namespace
}  // namespace tessera

int main(int argc, char** argv) {
  try {
    return tessera::run(std::vector<std::string>(argv + 1, argv + argc));
  } catch (const std::exception& exception) {
    return tessera::failure(exception.what());
  }
}
