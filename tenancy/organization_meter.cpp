#include "tenancy/organization_meter.hpp"

namespace tessera {

void OrganizationMeter::apply(const std::shared_ptr<const OrganizationLimits>& limits, Now now) {
  if (!limits) return;
  const MutexLock lock(mutex_);
  if (!meter_) {
    meter_.emplace(limits->limits, recall_ ? recall_(now.wall) : PeriodUse(), now);
    revision_ = limits->revision;
  } else if (limits->revision > revision_) {
    meter_->set_limits(limits->limits, now);
    revision_ = limits->revision;
  }
}

std::optional<MeterRefusal> OrganizationMeter::refuse_request(Now now) {
  const MutexLock lock(mutex_);
  return meter_ ? meter_->refuse_request(now) : std::nullopt;
}

std::optional<MeterRefusal> OrganizationMeter::refuse_demand(const Demand& demand, Now now) {
  const MutexLock lock(mutex_);
  return meter_ ? meter_->refuse_demand(demand, now) : std::nullopt;
}

std::optional<MeterRefusal> OrganizationMeter::take_request(std::optional<Meter::Held>& held,
                                                            Now now) {
  const MutexLock lock(mutex_);
  if (!meter_) return std::nullopt;
  if (auto refused = meter_->refuse_request(now)) return refused;
  held = meter_->take_request(now);
  return std::nullopt;
}

std::optional<MeterRefusal> OrganizationMeter::take_demand(std::optional<Meter::Held>& held,
                                                           const Demand& demand, Now now) {
  if (!held) return std::nullopt;
  const MutexLock lock(mutex_);
  if (auto refused = meter_->refuse_demand(demand, now)) return refused;
  meter_->take_demand(*held, demand, now);
  return std::nullopt;
}

void OrganizationMeter::release(std::optional<Meter::Held>& held) {
  if (!held) return;
  const MutexLock lock(mutex_);
  meter_->release(*held);
  held.reset();
}

void OrganizationMeter::settle(std::optional<Meter::Held>& held, const Demand& used) {
  if (!held) return;
  const MutexLock lock(mutex_);
  meter_->settle(*held, used);
  held.reset();
}

std::optional<PeriodUse> OrganizationMeter::use(Now now) {
  const MutexLock lock(mutex_);
  if (!meter_) return std::nullopt;
  return meter_->use(now);
}

}  // namespace tessera
