#include "tenancy/admission_entry.hpp"

#include <algorithm>
#include <cassert>

namespace tessera {
namespace {

PeriodUse recalled(const Admission::Recall& recall, const TenantId& tenant, const KeyId& key,
                   WallTime now) {
  return recall ? recall(tenant, key, now) : PeriodUse();
}

// The refusal that lasts longest, with its level.
struct Longest {
  std::optional<MeterRefusal> refused = {};
  Level level = Level::kTenant;

  void add(const std::optional<MeterRefusal>& other, Level of) {
    if (!other) return;
    const auto rank = [](const MeterRefusal& refusal) {
      return std::pair(refusal.is_never, refusal.retry_after);
    };
    if (refused && rank(*refused) >= rank(*other)) return;
    refused = other;
    level = of;
  }
};

Code code_of(const MeterRefusal& refused) {
  if (refused.policy == RatePolicy::kSpendPerMonth) return Code::kBillingHardLimitReached;
  return refused.is_never ? Code::kRequestExceedsLimit : Code::kRateLimitExceeded;
}

Meter::Window tighter(const Meter::Window& left, const Meter::Window& right) {
  return right.remaining < left.remaining ? right : left;
}

}  // namespace

AdmissionEntry::AdmissionEntry(const Caller& caller, const Admission::Recall& recall,
                               const Admission::RecallModel& recall_model,
                               std::shared_ptr<OrganizationMeter> organization, Now now)
    : recall_(recall),
      recall_model_(recall_model),
      organization_(std::move(organization)),
      tenant_{Meter(caller.limits.meter(), recalled(recall, caller.tenant, KeyId(), now.wall), now),
              caller.limits_revision} {}

Admitted<AdmissionEntry::Held> AdmissionEntry::admit(const Caller& caller, Now now) {
  organization_->apply(caller.organization, now);
  const MutexLock lock(mutex_);
  Meter& tenant = tenant_meter(caller, now);
  Meter& key = key_meter(caller, now);
  Longest longest;
  for (const auto& [meter, level] : {std::pair(&tenant, Level::kTenant), {&key, Level::kKey}}) {
    const auto refused = meter->refuse_request(now);
    if (refused && refused->policy == RatePolicy::kConcurrency) {
      return refusal(*refused, level, tenant, &key, now);
    }
    longest.add(refused, level);
  }
  Held held;
  longest.add(longest.refused ? organization_->refuse_request(now)
                              : organization_->take_request(held.organization, now),
              Level::kOrganization);
  if (longest.refused) return refusal(*longest.refused, longest.level, tenant, &key, now);
  held.tenant = {&tenant, tenant.take_request(now)};
  held.key = {&key, key.take_request(now)};
  return held;
}

Admitted<void> AdmissionEntry::reserve(Held& held, const Caller& caller, const Demand& most,
                                       std::string_view model, Now now) {
  const MutexLock lock(mutex_);
  Meter* const of_model = model_meter(caller, model, now);
  Longest longest;
  longest.add(held.tenant.meter->refuse_demand(most, now), Level::kTenant);
  longest.add(held.key.meter->refuse_demand(most, now), Level::kKey);
  if (of_model) {
    longest.add(of_model->refuse_demand(most, now), Level::kModel);
    const auto refused = of_model->refuse_request(now);
    // A slot may be free sooner than any clock says, so it is told only if nothing else refuses.
    const bool is_slot = refused && refused->policy == RatePolicy::kConcurrency;
    if (!is_slot || !longest.refused) longest.add(refused, Level::kModel);
  }
  longest.add(longest.refused ? organization_->refuse_demand(most, now)
                              : organization_->take_demand(held.organization, most, now),
              Level::kOrganization);
  if (longest.refused) {
    Meter& tenant = *held.tenant.meter;
    Meter& key = *held.key.meter;
    organization_->release(held.organization);
    tenant.release(held.tenant.held);
    key.release(held.key.held);
    return refusal(*longest.refused, longest.level, tenant, &key, now);
  }
  if (of_model) held.model = {of_model, of_model->take_request(now)};
  for (Place* place : {&held.tenant, &held.key, &held.model}) {
    if (place->meter) place->meter->take_demand(place->held, most, now);
  }
  return {};
}

void AdmissionEntry::settle(Held& held, const Demand& used) {
  organization_->settle(held.organization, used);
  const MutexLock lock(mutex_);
  for (Place* place : {&held.tenant, &held.key, &held.model}) {
    if (place->meter) place->meter->settle(place->held, used);
  }
}

LimitsView AdmissionEntry::view(const Caller& caller, Now now) {
  const MutexLock lock(mutex_);
  const auto key = keys_.find(caller.key);
  return locked_view(tenant_.meter, key == keys_.end() ? nullptr : &key->second.meter, now);
}

PeriodUse AdmissionEntry::use(Now now) {
  const MutexLock lock(mutex_);
  return tenant_.meter.use(now);
}

std::int64_t AdmissionEntry::num_running() {
  const MutexLock lock(mutex_);
  return tenant_.meter.running();
}

Meter& AdmissionEntry::tenant_meter(const Caller& caller, Now now) {
  if (caller.limits_revision > tenant_.revision) {
    tenant_.meter.set_limits(caller.limits.meter(), now);
    tenant_.revision = caller.limits_revision;
  }
  return tenant_.meter;
}

// Every key has one, with limits or without: limits that come later then find what is in use.
Meter& AdmissionEntry::key_meter(const Caller& caller, Now now) {
  const MeterLimits limits = caller.key_policy ? caller.key_policy->limits : MeterLimits();
  auto found = keys_.find(caller.key);
  if (found == keys_.end()) {
    if (keys_.size() >= kMaxMetersAtRest) drop_keys_at_rest(now);
    const PeriodUse use = recalled(recall_, caller.tenant, caller.key, now.wall);
    found =
        keys_.emplace(caller.key, Revised{Meter(limits, use, now), caller.limits_revision}).first;
  } else if (caller.limits_revision > found->second.revision) {
    found->second.meter.set_limits(limits, now);
    found->second.revision = caller.limits_revision;
  }
  return found->second.meter;
}

// Null if the model has neither limits nor a meter from the time when it had some.
Meter* AdmissionEntry::model_meter(const Caller& caller, std::string_view model, Now now) {
  const MeterLimits* limits = nullptr;
  if (caller.tenant_policy) {
    const auto& all = caller.tenant_policy->model_limits;
    if (const auto own = all.find(model); own != all.end()) limits = &own->second;
  }
  auto found = models_.find(model);
  if (found == models_.end()) {
    if (!limits) return nullptr;
    PeriodUse use;
    if (recall_model_) use.recent = recall_model_(caller.tenant, model);
    const Revised made{Meter(*limits, use, now), caller.limits_revision};
    return &models_.emplace(model, made).first->second.meter;
  }
  if (caller.limits_revision > found->second.revision) {
    found->second.meter.set_limits(limits ? *limits : MeterLimits(), now);
    found->second.revision = caller.limits_revision;
  }
  return &found->second.meter;
}

// Those that a new meter would be the same as: the ledger remembers what they have used by the
// calendar.
void AdmissionEntry::drop_keys_at_rest(Now now) {
  for (auto key = keys_.begin(); key != keys_.end();) {
    Meter& meter = key->second.meter;
    const bool at_rest = meter.running() == 0 && meter.request_window(now).reset.count() == 0 &&
                         meter.token_window(now).reset.count() == 0;
    key = at_rest ? keys_.erase(key) : std::next(key);
  }
}

LimitsView AdmissionEntry::locked_view(Meter& tenant, Meter* key, Now now) {
  LimitsView view{.requests = tenant.request_window(now),
                  .tokens = tenant.token_window(now),
                  .max_concurrent_requests = *tenant.limits().max_concurrent_requests,
                  .concurrent_requests = tenant.running()};
  if (!key) return view;
  const MeterLimits& limits = key->limits();
  if (limits.requests_per_minute) view.requests = tighter(view.requests, key->request_window(now));
  if (limits.tokens_per_minute) view.tokens = tighter(view.tokens, key->token_window(now));
  const auto most = limits.max_concurrent_requests;
  if (most && *most - key->running() < view.max_concurrent_requests - view.concurrent_requests) {
    view.max_concurrent_requests = *most;
    view.concurrent_requests = key->running();
  }
  return view;
}

RateRefusal AdmissionEntry::refusal(const MeterRefusal& refused, Level level, Meter& tenant,
                                    Meter* key, Now now) {
  const Code code = code_of(refused);
  const bool is_own = level != Level::kOrganization;
  return {.code = code,
          .policy = refused.policy,
          .level = level,
          .limit = is_own ? refused.limit : 0,
          .requested = refused.requested,
          .remaining = is_own ? refused.remaining : 0,
          .retry_after = refused.is_never ? std::chrono::nanoseconds() : refused.retry_after,
          .view = locked_view(tenant, key, now)};
}

}  // namespace tessera
