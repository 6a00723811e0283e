// load_queue.hpp — loads that wait for a loader: fair between tenants, capped for each.
//
// Tenants take turns, one load a turn, so a thousand loads of one delay another's first by one. A
// tenant has at most `max_loading_of_tenant` under way, which leaves a loader for others, and
// begins at most `loads_per_second_of_tenant` (after a burst), which bounds what the reading of
// adapters that nobody uses again can cost everybody (reference: threats.md 17). What is over a
// limit waits; nothing is refused.
//
// Pure and not thread-safe: HostCache calls it under its lock.
#pragma once

#include <chrono>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "storage/clock.hpp"
#include "storage/digest.hpp"

namespace tessera {

struct LoadLimits {
  int max_loading_of_tenant = 1;
  int loads_per_second_of_tenant = 100;
  int load_burst_of_tenant = 100;
};

class LoadQueue {
 public:
  struct Job {
    AdapterDigest digest;
    std::string tenant;
  };

  explicit LoadQueue(const LoadLimits& limits)
      : limits_(limits),
        period_(std::chrono::nanoseconds(std::chrono::seconds(1)) /
                limits.loads_per_second_of_tenant) {}

  void push(std::string_view tenant, const AdapterDigest& digest);

  // The load that is to begin now, if one may.
  std::optional<Job> pop(SteadyTime now);
  // The job's load has ended.
  void finish(const std::string& tenant);
  bool has_waiting() const { return !turns_.empty(); }

  // When pop() should be asked again because a tenant's rate will allow it; none: only push() and
  // finish() can change its answer.
  std::optional<SteadyTime> next_due() const;

 private:
  struct Tenant {
    std::deque<AdapterDigest> waiting = {};
    int num_loading = 0;
    SteadyTime next_at = {};  // GCRA: the time at which the next load would be on schedule
  };

  bool below_cap(const Tenant& tenant) const {
    return !tenant.waiting.empty() && tenant.num_loading < limits_.max_loading_of_tenant;
  }
  SteadyTime due(const Tenant& tenant) const {
    return tenant.next_at - period_ * (limits_.load_burst_of_tenant - 1);
  }

  LoadLimits limits_;
  std::chrono::nanoseconds period_;  // between two loads of a tenant
  std::unordered_map<std::string, Tenant> tenants_;
  std::deque<std::string> turns_;  // tenants that have something waiting, whose turn is next first
};

}  // namespace tessera
