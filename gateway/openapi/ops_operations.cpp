// ops_operations.cpp — the shapes of the operations listener, and of this document.
#include "gateway/openapi/operations.hpp"

namespace tessera::openapi {

void describe_ops(Surface& surface) {
  surface.schemas["Liveness"] = object({{"status", constant("alive")}});
  surface.schemas["Readiness"] =
      object({{"status", words({"ready", "not ready"})},
              {"reasons",
               array(words({"store_failing", "draining", "engine_silent", "ledger_not_synced"}))},
              {"store", words({"ok", "failing"})},
              {"draining", boolean()},
              {"engine_heartbeat_age_ms", integer()},
              {"ledger_sync_age_ms", integer()},
              {"model", text()}});
  surface.operations.push_back({.method = "GET",
                                .pattern = "/openapi.json",
                                .summary = "This document.",
                                .answers = {{200, map(any())}}});
  surface.operations.push_back({.method = "GET",
                                .pattern = "/livez",
                                .summary = "Whether the process is alive.",
                                .answers = {{200, ref("Liveness")}}});
  surface.operations.push_back({.method = "GET",
                                .pattern = "/readyz",
                                .summary = "Whether it may get requests.",
                                .answers = {{200, ref("Readiness")}, {503, ref("Readiness")}}});
  surface.schemas["Startup"] =
      object({{"status", constant("started")}, {"started_at", unix_time()}});
  surface.schemas["Version"] = object(
      {{"version", text()}, {"model", text()}, {"base_sha256", text()}, {"backend", text()}});
  surface.operations.push_back({.method = "GET",
                                .pattern = "/startupz",
                                .summary = "Whether it has started.",
                                .answers = {{200, ref("Startup")}}});
  surface.operations.push_back({.method = "GET",
                                .pattern = "/version",
                                .summary = "Which build serves which model, and where.",
                                .answers = {{200, ref("Version")}}});
  surface.operations.push_back({.method = "GET",
                                .pattern = "/metrics",
                                .summary = "What it does, for Prometheus.",
                                .answers = {{200, text(), "text/plain"}}});
}

}  // namespace tessera::openapi
