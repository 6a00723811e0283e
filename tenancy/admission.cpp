#include "tenancy/admission.hpp"

#include <algorithm>
#include <cassert>
#include <cstdio>
#include <utility>

#include "tenancy/admission_entry.hpp"

namespace tessera {
namespace {

// "requests per min (RPM)", as OpenAI's clients are used to read it.
std::string_view description(RatePolicy policy) {
  switch (policy) {
    case RatePolicy::kConcurrency:
      return "concurrent requests";
    case RatePolicy::kRequests:
      return "requests per min (RPM)";
    case RatePolicy::kTokens:
      return "tokens per min (TPM)";
    case RatePolicy::kRequestsPerDay:
      return "requests per day (RPD)";
    case RatePolicy::kTokensPerDay:
      return "tokens per day (TPD)";
    case RatePolicy::kTokensPerMonth:
      return "tokens per month";
    case RatePolicy::kSpendPerMonth:
      return "spend per month";
  }
  return "requests";
}

std::string in_dollars(std::int64_t cents) {
  char text[32];
  std::snprintf(text, sizeof text, "$%lld.%02lld", static_cast<long long>(cents / 100),
                static_cast<long long>(cents % 100));
  return text;
}

Error spend_error(const RateRefusal& refusal) {
  return {refusal.code, "You exceeded the " + std::string(to_string(refusal.level)) +
                            "'s spend limit of " + in_dollars(refusal.limit) +
                            " a month: the request may cost " + in_dollars(refusal.requested) +
                            ", " + in_dollars(refusal.remaining) +
                            " are left. An admin can raise the limit."};
}

// " Retry in 1.250s."
std::string when(const RateRefusal& refusal) {
  char wait[32];
  std::snprintf(wait, sizeof wait, " Retry in %.3fs.",
                std::chrono::duration<double>(refusal.retry_after).count());
  return wait;
}

// Without numbers: what is left to all is what the others have used.
Error organization_error(const RateRefusal& refusal) {
  const std::string what(description(refusal.policy));
  switch (refusal.code) {
    case Code::kBillingHardLimitReached:
      return {refusal.code, "The organization's spend limit is reached. An admin can raise it."};
    case Code::kRequestExceedsLimit:
      return {refusal.code, "The request asks for more than the organization may ever have of " +
                                what + ". Shorten the prompt or lower max_tokens."};
    default:
      return {refusal.code,
              "Rate limit reached for " + what + " of the organization." + when(refusal)};
  }
}

}  // namespace

struct Permit::State {
  std::shared_ptr<AdmissionEntry> entry;
  Caller caller;
  AdmissionEntry::Held held;
  Demand reserved = {};
  Demand used = {};
};

Permit::Permit() noexcept = default;
Permit::Permit(std::unique_ptr<State> state) : state_(std::move(state)) {}
Permit::Permit(Permit&& other) noexcept = default;

Permit& Permit::operator=(Permit&& other) noexcept {
  if (this != &other) {
    if (state_) settle(state_->used);
    state_ = std::move(other.state_);
  }
  return *this;
}

Permit::~Permit() {
  if (state_) settle(state_->used);
}

Admitted<void> Permit::reserve(const Demand& most, std::string_view model, Now now) {
  assert(state_ != nullptr && !state_->held.tenant.held.has_tokens && most.tokens >= 0);
  auto reserved = state_->entry->reserve(state_->held, state_->caller, most, model, now);
  if (reserved) {
    state_->reserved = most;
  } else {
    state_.reset();
  }
  return reserved;
}

void Permit::note_used(const Demand& used) {
  if (!state_) return;
  const Demand& most = state_->reserved;
  state_->used = {.tokens = std::clamp(used.tokens, std::int64_t{0}, most.tokens),
                  .cost = std::clamp(used.cost, Money{}, most.cost)};
}

void Permit::settle(const Demand& used) {
  note_used(used);
  if (const auto state = std::exchange(state_, nullptr)) {
    state->entry->settle(state->held, state->used);
  }
}

LimitsView Permit::view(Now now) const {
  return state_ ? state_->entry->view(state_->caller, now) : LimitsView();
}

Admission::Admission(Recall recall, RecallModel recall_model, RecallAll recall_all)
    : recall_(std::move(recall)),
      recall_model_(std::move(recall_model)),
      organization_(std::make_shared<OrganizationMeter>(std::move(recall_all))) {}
Admission::~Admission() = default;

Admitted<Permit> Admission::admit(const Caller& caller, Now now) {
  auto entry = entry_of(caller, now);
  auto held = entry->admit(caller, now);
  if (!held) return held.error();
  return Permit(std::make_unique<Permit::State>(Permit::State{std::move(entry), caller, *held}));
}

LimitsView Admission::view(const Caller& caller, Now now) {
  return entry_of(caller, now)->view(caller, now);
}

PeriodUse Admission::use(const Caller& caller, Now now) {
  return entry_of(caller, now)->use(now);
}

void Admission::set_organization(const std::shared_ptr<const OrganizationLimits>& limits, Now now) {
  organization_->apply(limits, now);
}

std::optional<PeriodUse> Admission::use_of_all(Now now) {
  return organization_->use(now);
}

std::int64_t Admission::num_running() const {
  const MutexLock lock(mutex_);
  std::int64_t running = 0;
  for (const auto& [tenant, entry] : entries_) running += entry->num_running();
  return running;
}

std::unordered_map<TenantId, std::int64_t> Admission::running_by_tenant() const {
  const MutexLock lock(mutex_);
  std::unordered_map<TenantId, std::int64_t> all;
  for (const auto& [tenant, entry] : entries_) {
    if (const std::int64_t running = entry->num_running(); running > 0) all[tenant] = running;
  }
  return all;
}

std::shared_ptr<AdmissionEntry> Admission::entry_of(const Caller& caller, Now now) {
  assert(!caller.tenant.empty());
  const MutexLock lock(mutex_);
  auto& slot = entries_[caller.tenant];
  if (!slot) {
    slot = std::make_shared<AdmissionEntry>(caller, recall_, recall_model_, organization_, now);
  }
  return slot;
}

std::string_view to_string(Level level) {
  switch (level) {
    case Level::kOrganization:
      return "organization";
    case Level::kTenant:
      return "project";
    case Level::kKey:
      return "key";
    case Level::kModel:
      return "model";
  }
  return "project";
}

Error to_error(const RateRefusal& refusal) {
  if (refusal.level == Level::kOrganization) return organization_error(refusal);
  if (refusal.policy == RatePolicy::kSpendPerMonth) return spend_error(refusal);
  const std::string numbers =
      "limit " + std::to_string(refusal.limit) + ", requested " + std::to_string(refusal.requested);
  if (refusal.code == Code::kRequestExceedsLimit) {
    return {refusal.code, "The request asks for more tokens than may ever be granted at once: " +
                              numbers + ". Shorten the prompt or lower max_tokens."};
  }
  const std::string whose =
      refusal.level == Level::kTenant ? "" : " of the " + std::string(to_string(refusal.level));
  return {refusal.code, "Rate limit reached for " + std::string(description(refusal.policy)) +
                            whose + ": " + numbers + ", remaining " +
                            std::to_string(refusal.remaining) + "." + when(refusal)};
}

void throw_exception_from_error(const RateRefusal& refusal, const boost::source_location& where) {
  throw_exception_from_error(to_error(refusal), where);
}

}  // namespace tessera
