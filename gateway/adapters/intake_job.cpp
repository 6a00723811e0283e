// One upload's job, and the report that its end is told with.
#include <utility>

#include <nlohmann/json.hpp>

#include "gateway/adapters/adapter_intake.hpp"

namespace tessera {
namespace {

using Json = nlohmann::ordered_json;

Json to_json(const ProbeResult& probe) {
  return {{"prompts", probe.prompts},
          {"max_abs_logit_delta_vs_base", probe.max_logit_delta},
          {"max_abs_logit", probe.max_logit},
          {"relative_change_vs_base", probe.relative_change},
          {"changed_answers", probe.changed_answers},
          {"identical_to_base", probe.identical_to_base},
          {"nan", probe.not_finite}};
}

}  // namespace

Json report_json(const IntakeOutcome& outcome) {
  Json json = to_json(outcome.report);
  if (outcome.probe) json["probe"] = to_json(*outcome.probe);
  if (outcome.acceptance) json["acceptance"] = to_json(*outcome.acceptance);
  return json;
}

AdapterQuota quota_of(const TenantLimits& limits) {
  return {.max_adapters = static_cast<std::uint64_t>(limits.max_adapters),
          .max_bytes = static_cast<std::uint64_t>(limits.max_adapter_bytes)};
}

IntakeJob::IntakeJob(IntakeRequest request, std::vector<AcceptanceCheck> checks, Permit permit,
                     AdapterRegistry& registry, const Clock& clock)
    : request_(std::move(request)),
      checks_(std::move(checks)),
      permit_(std::move(permit)),
      registry_(registry),
      clock_(clock),
      times_(clock) {}

bool IntakeJob::wait(SteadyTime until) const {
  std::unique_lock lock(mutex_);
  if (outcome_ || until <= clock_.steady_now()) return outcome_.has_value();
  return done_.wait_until(lock, until, [this] { return outcome_.has_value(); });
}

Result<IntakeOutcome> IntakeJob::outcome() const {
  const std::lock_guard lock(mutex_);
  if (!outcome_) return Error{Code::kInternalError, "the job is not done"};
  return *outcome_;
}

VersionRequest IntakeJob::version_request() const {
  return {.tenant = request_.caller.tenant,
          .name = request_.name,
          .created_by = request_.caller.key,
          .now = clock_.wall_now(),
          .quota = quota_of(request_.caller.limits),
          .metadata = request_.metadata};
}

PublishRequest IntakeJob::publish_request(const ValidatedPackage& package) const {
  return {.version = version_request(),
          .config = package.config,
          .tensors = package.tensors,
          .alias = request_.alias};
}

// The record is written under the job's lock: a job that ends meanwhile finds it.
Result<std::optional<AdapterVersion>> IntakeJob::detach() {
  std::unique_lock lock(mutex_);
  if (committing_) {  // a matter of milliseconds
    done_.wait(lock, [this] { return outcome_.has_value(); });
  }
  if (outcome_) return std::optional<AdapterVersion>();
  if (request_.dry_run) {
    given_up_ = true;
    return Error{Code::kUpstreamTimeout, "The package is still being validated; ask again."};
  }
  if (record_) return record_;
  auto record = registry_.begin_version(version_request());
  if (!record) {
    given_up_ = true;
    return record.error();
  }
  record_ = *std::move(record);
  return record_;
}

void IntakeJob::on_done(std::function<void()> done) {
  {
    const std::lock_guard lock(mutex_);
    if (!outcome_) {
      on_done_ = std::move(done);
      return;
    }
  }
  done();
}

void IntakeJob::abandon() {
  const std::lock_guard lock(mutex_);
  if (!record_) given_up_ = true;
}

std::optional<AdapterVersion> IntakeJob::begin_commit() {
  const std::lock_guard lock(mutex_);
  committing_ = true;
  return record_;
}

void IntakeJob::finish(Result<IntakeOutcome> outcome) {
  std::function<void()> done;
  {
    const std::lock_guard lock(mutex_);
    outcome_.emplace(std::move(outcome));
    request_.package = {};
    permit_ = Permit();  // what is still reserved is given back
    done = std::exchange(on_done_, nullptr);
  }
  done_.notify_all();
  if (done) done();
}

}  // namespace tessera
