// serve_command.cpp — `tessera serve`: options, start, banner, and the end in good order.
#include "gateway/cli/serve_command.hpp"

#include <csignal>
#include <cstdio>
#include <string>
#include <thread>
#include <vector>

#include <pthread.h>
#include <sys/resource.h>

#include <nlohmann/json.hpp>

#include "gateway/cli/commands.hpp"
#include "gateway/cli/malloc_choices.hpp"
#include "gateway/cli/options.hpp"
#include "gateway/http/server.hpp"
#include "gateway/platform.hpp"
#include "gateway/routes.hpp"
#include "gateway/version.hpp"
#include "storage/durable_file.hpp"
#include "storage/json.hpp"
#include "storage/log.hpp"

namespace tessera {
namespace {

constexpr char kHelp[] = R"(Serves a packed model and its tenants' adapters over HTTP.

Usage: tessera serve --model FILE [OPTIONS]

The first start makes an admin key and writes it to DATA/admin.key. The chosen addresses are written
to DATA/addresses.json. SIGTERM or SIGINT: no longer ready, running answers are finished, exit 0.

Options:
)";

constexpr char kExample[] = R"(
Examples:
  tessera serve --model demo.tessera
  tessera serve --model demo.tessera --data /var/lib/tessera --listen 0.0.0.0:8080 --threads 8
)";

// Addresses, one at a time.
Option addresses_option(std::string name, std::string help, IpSet& addresses) {
  const auto add = [name, &addresses](std::string_view text) -> Result<void> {
    std::vector<std::string> ranges = addresses.texts();
    ranges.emplace_back(text);
    auto parsed = IpSet::parse(ranges);
    if (!parsed) return Error{Code::kInvalidValue, name + ": " + parsed.error().message};
    addresses = *std::move(parsed);
    return {};
  };
  return {name, "CIDR", std::move(help) + "; may be repeated", add};
}

// What is no part of the configuration as it is told.
struct Switches {
  bool gpu = false;
  bool no_sandbox = false;
  bool help = false;
  std::int64_t drain_seconds = 0;
};

std::vector<Option> options_of(ServerConfig& config, Switches& switches) {
  return {
      text_option("--model", "FILE", "the packed model, from `tessera quantize`", config.model),
      text_option("--data", "DIR", "where all state is kept (default: data)", config.data),
      text_option("--listen", "HOST:PORT", "for tenants and admins (default: 127.0.0.1:8080)",
                  config.listen),
      text_option("--ops-listen", "HOST:PORT",
                  "for /livez, /readyz and /metrics (default: 127.0.0.1:9090)", config.ops_listen),
      choice_option("--backend", {"cpu", "cuda", "reference"},
                    "what computes (default: cpu; cuda is not yet measured on a device; "
                    "reference is slow and for comparison)",
                    config.backend),
      switch_option("--gpu",
                    "the same as --backend cuda: the first GPU, its free memory divided between "
                    "KV cache and adapters",
                    switches.gpu),
      choice_option("--head", {"bf16", "int8"},
                    "precision of the output head (default: bf16; int8 is half the bytes)",
                    config.head),
      choice_option("--kv", {"f16", "int8"},
                    "precision of cached keys and values (default: f16; int8 holds nearly twice "
                    "the tokens)",
                    config.kv),
      choice_option("--tool-format", {"auto", "none", "hermes", "llama3", "mistral", "json"},
                    "how the model writes tool calls (default: auto, as its chat template tells)",
                    config.tool_format),
      choice_option("--pin-threads", {"auto", "yes", "no"},
                    "keep each computing thread on a core of its own (default: auto, if there is "
                    "one for every core)",
                    config.pin_threads),
      integer_option("--threads", "N", "CPU threads that compute (default: one per core)",
                     {0, 1024}, config.threads),
      integer_option("--io-threads", "N", "threads that serve connections (default: 1)", {1, 64},
                     config.io_threads),
      integer_option("--workers", "N", "threads that parse and tokenise (default: 2)", {1, 64},
                     config.workers),
      integer_option("--max-context", "TOKENS", "of prompt and answer (default: the model's)",
                     {1, 1 << 24}, config.max_context),
      integer_option("--max-seqs", "N", "sequences computed together (default: 32)", {1, 1024},
                     config.max_seqs),
      integer_option("--token-budget", "TOKENS", "computed in one step (default: 256)", {1, 65536},
                     config.token_budget),
      integer_option("--max-queue", "N", "requests that may wait (default: 256)", {0, 1 << 20},
                     config.max_queue),
      bytes_option("--kv-bytes", "of KV cache (default: 256M; on a GPU, what adapters leave)",
                   config.kv_bytes),
      bytes_option(
          "--adapter-bytes",
          "of adapters in memory (default: 1G); with a GPU it is pinned at the start; on the "
          "CPU, KV and adapters borrow what the other leaves",
          config.adapter_bytes),
      bytes_option("--adapter-device-bytes",
                   "of them, of those that are ready for steps (default: 512M; on a GPU, a quarter "
                   "of what weights leave, and KV and adapters borrow what the other leaves)",
                   config.adapter_device_bytes),
      choice_option("--adapter-pages", {"bf16", "int8"},
                    "precision of packed adapters (default: bf16; int8 is half the bytes)",
                    config.adapter_pages),
      integer_option("--adapter-slots", "N", "adapters ready for steps at a time (default: 64)",
                     {1, 1 << 16}, config.adapter_slots),
      integer_option("--step-adapters", "N",
                     "different adapters in one step, the base included (default: 16)", {2, 1024},
                     config.step_adapters),
      integer_option("--adapter-loaders", "N", "threads that load adapters (default: 2)", {1, 64},
                     config.adapter_loaders),
      bytes_option("--packed-bytes", "of packed adapters kept on disk (default: 16G)",
                   config.packed_bytes),
      bytes_option("--body-bytes",
                   "of requests' bodies held at once; a tenant may hold half (default: 2G)",
                   config.body_bytes),
      text_option("--domain", "NAME",
                  "https://SLUG.NAME/v1 is that project's endpoint (always: /t/SLUG/v1)",
                  config.domain),
      text_option("--tls-cert", "FILE",
                  "the certificate and its chain, PEM; HTTPS instead of HTTP (SIGHUP: read again)",
                  config.tls.certificate),
      text_option("--tls-key", "FILE", "the certificate's key, PEM", config.tls.key),
      text_option("--tls-client-ca", "FILE",
                  "admin keys are accepted with a client certificate of these authorities only",
                  config.tls.client_ca),
      text_option("--prices", "FILE", "what tokens cost, as JSON (default: everything is free)",
                  config.prices),
      addresses_option("--trusted-proxy", "whose X-Forwarded-For tells the client's address",
                       config.trusted_proxies),
      addresses_option("--proxy-protocol",
                       "whose connections begin with a header of the PROXY protocol, version 2",
                       config.proxy_protocol),
      text_option("--oidc", "FILE",
                  "whose tokens are accepted of admins, as JSON (default: admin keys only)",
                  config.oidc),
      switch_option("--api-key-header",
                    "keys may also come in a header `api-key`, as clients of Azure send them",
                    config.api_key_header),
      addresses_option("--webhook-address",
                       "that webhooks may be sent to although it is not a public one",
                       config.webhook_addresses),
      switch_option("--webhook-http", "webhooks may have http:// URLs, for tests",
                    config.webhook_http),
      bytes_option("--upload-bytes",
                   "of uploads under way, on disk; a tenant's may take half (default: 16G)",
                   config.upload_bytes),
      switch_option("--openai-strict",
                    "refuse schemas with \"strict\" that are not in OpenAI's subset of JSON Schema",
                    config.openai_strict),
      list_option("--base-alias", "NAME",
                  "another name that adapters may call their base; repeatable",
                  config.base_aliases),
      integer_option("--drain", "SECONDS", "that running answers get after SIGTERM (default: 30)",
                     {0, 86400}, switches.drain_seconds),
      choice_option("--log-level", {"info", "warn", "error"},
                    "the lowest that is logged (default: info, a line for each request)",
                    config.log_level),
      switch_option("--trust-model",
                    "start without checking the model's weights against its digest (a second a GB)",
                    config.trust_model),
      switch_option("--no-sandbox",
                    "validate uploads in the server's own process; for systems that allow no "
                    "process to be confined",
                    switches.no_sandbox),
      switch_option("--help", "show this", switches.help),
  };
}

// Threads made from now on leave these signals to wait_for_signal().
sigset_t block_signals() {
  std::signal(SIGPIPE, SIG_IGN);
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGHUP);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  return signals;
}

// A connection is a file descriptor; many systems allow a process 1024 unless it asks for more.
void raise_descriptor_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);  // if it is refused, accept() will say when it matters
}

struct Addresses {
  std::string api;
  std::string ops;
};

Result<Addresses> start_listening(Server& api, Server& ops, const ServerConfig& config) {
  auto api_address = api.listen(config.listen);
  if (!api_address) return api_address.error();
  auto ops_address = ops.listen(config.ops_listen);
  if (!ops_address) return ops_address.error();
  const nlohmann::ordered_json json = {{"api", *api_address}, {"ops", *ops_address}};
  auto written = write_file_durably(config.data / "addresses.json", to_text(json) + "\n");
  if (!written) return written.error();
  return Addresses{*std::move(api_address), *std::move(ops_address)};
}

// On a GPU, how all of its memory is divided.
std::string memory_line(const Platform& platform) {
  if (!platform.device_memory.empty()) return platform.device_memory;
  return std::to_string(platform.num_kv_blocks) + " KV blocks, " +
         human_bytes(static_cast<double>(platform.config.adapter_bytes)) + " of adapters";
}

void print_banner(const Platform& platform, const Addresses& addresses) {
  const ServerConfig& config = platform.config;
  const ModelSpec& spec = platform.model.packed->spec();
  std::printf(
      "tessera %s\n"
      "  model      %s: %d layers, hidden %d, context %d tokens, %s\n"
      "  backend    %s, up to %d sequences and %d tokens a step\n"
      "  memory     %s\n"
      "  data       %s\n"
      "  admin key  %s%s\n"
      "  serving    %s://%s\n"
      "  operations http://%s\n",
      kVersion, platform.model.name().c_str(), spec.num_layers(), spec.hidden,
      platform.engine->max_context(),
      human_bytes(static_cast<double>(platform.model.packed->file_bytes())).c_str(),
      platform.backend_name.c_str(), config.max_seqs, config.token_budget,
      memory_line(platform).c_str(), config.data.c_str(), platform.admin_key_file().c_str(),
      platform.made_admin_key ? " (made just now)" : "", config.tls.enabled() ? "https" : "http",
      addresses.api.c_str(), addresses.ops.c_str());
  std::fflush(stdout);
}

// Waits until every request is answered, at most until the deadline.
void wait_until_idle(const Platform& platform, SteadyTime deadline) {
  while (platform.metrics.active_requests > 0 && platform.clock.steady_now() < deadline) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
}

// Running answers may finish; then everything stops.
void drain(Platform& platform, Server& api) {
  constexpr std::chrono::seconds kLastBytes{1};  // to tell clients that they were cut off
  const std::chrono::seconds most(platform.drain_seconds.load());
  log_info("draining", {{"seconds", most.count()}});
  platform.draining = true;
  platform.events.close();
  api.stop_accepting();
  const SteadyTime deadline = platform.clock.steady_now() + most;
  const bool finished = platform.engine->drain(deadline);
  wait_until_idle(platform, finished ? deadline : platform.clock.steady_now() + kLastBytes);
  log_info("stopped", {{"all_answered", finished}});
}

// SIGHUP has the certificate read again; any other signal is the end.
void wait_for_end(const sigset_t& signals, TlsContexts* tls) {
  for (;;) {
    int signal = 0;
    sigwait(&signals, &signal);
    if (signal != SIGHUP) return;
    const auto reloaded = tls ? tls->reload() : Result<void>();
    if (reloaded) {
      log_info("certificate_reloaded", {{"tls", tls != nullptr}});
    } else {
      log_error("certificate_not_reloaded", {{"reason", reloaded.error().message}});
    }
  }
}

int serve(const ServerConfig& config, const BackendMaker& make) {
  choose_malloc();
  set_log_level(log_level_from_string(config.log_level).value_or(LogLevel::kInfo));
  const sigset_t signals = block_signals();
  raise_descriptor_limit();
  return_freed_memory();
  auto platform = Platform::open(config, make);
  if (!platform) return failure(platform.error().message);

  std::unique_ptr<TlsContexts> tls;
  if (config.tls.enabled()) {
    auto opened = TlsContexts::open(config.tls);
    if (!opened) return failure(opened.error().message);
    tls = *std::move(opened);
  }
  IoLoops loops(config.io_threads);
  Server api(loops, **platform, api_routes(),
             {.tls = tls.get(), .proxy_protocol = config.proxy_protocol});
  Server ops(loops, **platform, ops_routes(), ops_policy());
  const auto addresses = start_listening(api, ops, config);
  if (!addresses) return failure(addresses.error().message);
  print_banner(**platform, *addresses);
  log_info("listening", {{"api", addresses->api},
                         {"ops", addresses->ops},
                         {"model", (*platform)->model.name()},
                         {"admin_key_file", (*platform)->admin_key_file().string()}});

  loops.start();
  wait_for_end(signals, tls.get());
  pthread_sigmask(SIG_UNBLOCK, &signals, nullptr);  // a second signal ends us at once
  drain(**platform, api);
  loops.stop();
  (*platform)->stop();  // before `loops`, which its threads may still be posting to
  return kExitDone;
}

constexpr std::int64_t kNotGiven = -1;

// What was not asked for in bytes is a number on the CPU, and on a GPU as much as there is.
void settle_memory(ServerConfig& config) {
  const ServerConfig defaults;
  const bool is_gpu = config.backend == "cuda";
  if (config.kv_bytes == kNotGiven) config.kv_bytes = is_gpu ? 0 : defaults.kv_bytes;
  if (config.adapter_device_bytes == kNotGiven) {
    config.adapter_device_bytes = is_gpu ? 0 : defaults.adapter_device_bytes;
  }
}

}  // namespace

int serve_command(std::span<const std::string> arguments) {
  return serve_with(make_backend, arguments);
}

int serve_with(const BackendMaker& make, std::span<const std::string> arguments) {
  ServerConfig config;
  config.kv_bytes = config.adapter_device_bytes = kNotGiven;
  Switches switches{.drain_seconds = config.drain.count()};
  const std::vector<Option> options = options_of(config, switches);
  const auto rest = parse_options(arguments, options);
  if (!rest) return usage_error("serve", rest.error().message);
  if (switches.help) {
    std::printf("%s%s%s", kHelp, describe_options(options).c_str(), kExample);
    return kExitDone;
  }
  if (!rest->empty()) return usage_error("serve", "Not an option: " + rest->front() + ".");
  if (config.model.empty()) return usage_error("serve", "--model FILE is needed.");
  if (config.tls.certificate.empty() != config.tls.key.empty() ||
      (!config.tls.enabled() && !config.tls.client_ca.empty())) {
    return usage_error("serve", "--tls-cert and --tls-key go together, --tls-client-ca with them.");
  }
  if (switches.gpu) config.backend = "cuda";
  settle_memory(config);
  config.drain = std::chrono::seconds(switches.drain_seconds);
  if (!switches.no_sandbox) config.sandbox_program = "/proc/self/exe";
  return serve(config, make);
}

}  // namespace tessera
