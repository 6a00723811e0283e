// organization_meter.hpp — what all tenants together have in use: the top of the hierarchy.
//
// It begins when the organization first has limits; without any, a request costs it one look at a
// pointer. From then on it holds what every request holds, under a lock of its own, which is taken
// within a tenant's. Whoever asks here has passed the levels below, under their lock, so a request
// still takes all or nothing. Requests that were admitted before it began are not counted while
// they run; the ledger tells it what ended before.
#pragma once

#include <functional>
#include <memory>
#include <optional>

#include "storage/mutex.hpp"
#include "tenancy/limits.hpp"
#include "tenancy/meter.hpp"

namespace tessera {

// Thread-safe.
class OrganizationMeter {
 public:
  // What all tenants used in the current day and month, when it begins.
  using Recall = std::function<PeriodUse(WallTime)>;

  explicit OrganizationMeter(Recall recall) : recall_(std::move(recall)) {}

  // Begins with `limits`, or goes on with them if they are newer than those in force. Null is
  // passed over. The first call may take as long as `recall`.
  void apply(const std::shared_ptr<const OrganizationLimits>& limits, Now now);

  // Whether it would refuse, for who is refused already and wants to know the longest wait.
  std::optional<MeterRefusal> refuse_request(Now now);
  std::optional<MeterRefusal> refuse_demand(const Demand& demand, Now now);

  // Takes a request, or nothing. `held` stays empty if it has not begun.
  std::optional<MeterRefusal> take_request(std::optional<Meter::Held>& held, Now now);
  // Takes what the request may come to; one that holds nothing here asks for nothing.
  std::optional<MeterRefusal> take_demand(std::optional<Meter::Held>& held, const Demand& demand,
                                          Now now);
  void release(std::optional<Meter::Held>& held);
  void settle(std::optional<Meter::Held>& held, const Demand& used);

  // Nullopt if it has not begun.
  std::optional<PeriodUse> use(Now now);

 private:
  const Recall recall_;
  Mutex mutex_;
  std::optional<Meter> meter_ TESSERA_GUARDED_BY(mutex_);
  std::uint64_t revision_ TESSERA_GUARDED_BY(mutex_) = 0;
};

}  // namespace tessera
