// top_command.cpp — `tessera top`: what a server is doing, again and again until it is ended.
#include <chrono>
#include <cstdio>
#include <thread>

#include <unistd.h>

#include "gateway/cli/commands.hpp"
#include "gateway/cli/remote.hpp"
#include "gateway/cli/text_table.hpp"
#include "storage/json.hpp"

namespace tessera {
namespace {

using Json = nlohmann::ordered_json;
using Arguments = std::vector<std::string>;

constexpr char kClear[] = "\x1b[H\x1b[2J";  // ANSI: the cursor home, the screen empty

struct TopOptions {
  std::int64_t interval = 2;  // seconds
  bool once = false;
};

// How many of a counter came in a second between two answers; 0 if the server began anew.
double per_second(const Json& before, const Json& now, const char* counter) {
  const double seconds = (now["time_ms"].get<double>() - before["time_ms"].get<double>()) / 1000.0;
  const double came =
      now["engine"][counter].get<double>() - before["engine"][counter].get<double>();
  return seconds > 0 && came > 0 ? came / seconds : 0.0;
}

// The later answer with what only two can tell.
Json with_rates(const Json& before, Json now) {
  now["rates"]["generated_tokens_per_second"] = per_second(before, now, "generated_tokens");
  now["rates"]["prompt_tokens_per_second"] = per_second(before, now, "prompt_tokens");
  now["rates"]["steps_per_second"] = per_second(before, now, "steps");
  return now;
}

std::string line(const char* format, auto... values) {
  char text[256];
  std::snprintf(text, sizeof text, format, values...);
  return text;
}

std::string screen(const Json& live) {
  const Json& engine = live["engine"];
  const Json& residency = live["residency"];
  const Json& rates = live["rates"];
  const auto count = [](const Json& value) { return value.get<long long>(); };
  std::string text =
      "tessera  " + cell_text(live["model"]) + "  since " + time_text(live["started_at"]) +
      (live["draining"].get<bool>() ? "  draining" : "") + "\n" +
      line("tokens/s  %.1f generated  %.1f of prompts  %.1f steps/s\n",
           rates["generated_tokens_per_second"].get<double>(),
           rates["prompt_tokens_per_second"].get<double>(),
           rates["steps_per_second"].get<double>()) +
      line("queue     %lld running  %lld waiting  %lld waiting for adapters  %lld connections\n",
           count(engine["running"]), count(engine["waiting"]), count(engine["waiting_for_adapter"]),
           count(live["connections"])) +
      line("memory    %lld of %lld KV blocks", count(engine["used_kv_blocks"]),
           count(engine["kv_blocks"])) +
      line("  adapters: %lld in steps (%s)", count(residency["device_adapters"]),
           human_bytes(residency["device_bytes"].get<double>()).c_str()) +
      line("  %lld in memory (%s)  %lld loading\n\n", count(residency["host_adapters"]),
           human_bytes(residency["host_bytes"].get<double>()).c_str(), count(residency["loading"]));
  std::vector<Arguments> rows;
  for (const Json& tenant : live["tenants"]) {
    rows.push_back({cell_text(tenant["project_id"]), cell_text(tenant["name"]),
                    cell_text(tenant["requests"]), cell_text(tenant["input_tokens"]),
                    cell_text(tenant["output_tokens"]),
                    line("%.1f", tenant["output_tokens_per_second"].get<double>())});
  }
  return text + text_table({"TENANT", "NAME", "REQUESTS", "INPUT", "OUTPUT", "TOKENS/S"}, rows);
}

void print(const Remote& remote, const TopOptions& options, const Json& live) {
  if (remote.json()) {
    std::printf("%s\n", to_text(live).c_str());
  } else {
    const bool redraw = !options.once && ::isatty(STDOUT_FILENO) == 1;
    std::printf("%s%s", redraw ? kClear : "", screen(live).c_str());
  }
  std::fflush(stdout);
}

Result<void> watch(const Remote& remote, const TopOptions& options) {
  auto before = remote.get("/admin/v1/live");
  if (!before) return before.error();
  do {
    std::this_thread::sleep_for(std::chrono::seconds(options.interval));
    auto now = remote.get("/admin/v1/live");
    if (!now) return now.error();
    print(remote, options, with_rates(*before, *now));
    before = std::move(now);
  } while (!options.once);
  return {};
}

}  // namespace

int top_command(std::span<const std::string> arguments) {
  TopOptions options;
  // The one action need not be named.
  std::vector<std::string> with_action(arguments.begin(), arguments.end());
  if (with_action.empty() || with_action.front() != "show") {
    with_action.insert(with_action.begin(), "show");
  }
  const RemoteCommand command = {
      .name = "top",
      .summary =
          "Shows what a running server is doing: tokens a second, queue, adapters in memory "
          "and the\nbusiest tenants.",
      .actions = {{"show", "", "until it is ended", 0, 0,
                   [&](const Remote& remote, const Arguments&) { return watch(remote, options); }}},
      .options = {switch_option("--once", "show one interval, and end", options.once),
                  integer_option("--interval", "SECONDS", "between two looks (default: 2)", {1, 60},
                                 options.interval)},
      .notes = "Tenants are those with requests that ended within the last ten seconds.\n"};
  return run_remote_command(command, with_action);
}

}  // namespace tessera
