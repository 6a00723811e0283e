// metrics.hpp — the gateway's own counters for /metrics: few, fixed, lock-free.
//
// No series is named after a tenant, a key, an adapter or a path, so a stranger cannot make more of
// them. Names are vLLM's where vLLM has the thing, so that existing dashboards work.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

namespace tessera {

// Counts of durations up to each bound, as Prometheus has them. Thread-safe.
class Histogram {
 public:
  static constexpr std::array<double, 15> kBounds = {
      0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0};

  void observe(std::chrono::nanoseconds duration);
  // Appends the series in the text format; `labels` as in `model_name="x"`.
  void write(std::string& out, std::string_view name, std::string_view labels) const;

 private:
  std::array<std::atomic<std::uint64_t>, kBounds.size() + 1> counts_ =
      {};  // by bucket; the last: above
  std::atomic<std::uint64_t> sum_us_ = 0;
};

struct Metrics {
  std::atomic<int> connections = 0;                     // open now
  std::atomic<int> active_requests = 0;                 // between head and last byte
  std::array<std::atomic<std::uint64_t>, 6> responses;  // by hundreds of the status
  Histogram time_to_first_token;
  Histogram request_latency;  // of generations
};

}  // namespace tessera
