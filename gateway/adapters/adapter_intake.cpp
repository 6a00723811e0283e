#include "gateway/adapters/adapter_intake.hpp"

#include <algorithm>
#include <future>
#include <iterator>
#include <utility>

#include <nlohmann/json.hpp>

#include "adapters/adapter_loader.hpp"
#include "adapters/validator.hpp"
#include "storage/background.hpp"
#include "storage/json.hpp"
#include "storage/log.hpp"

namespace tessera {
namespace {

static_assert(AdapterLimits().max_rank == kLargestAdapterRank);

void append(Findings& findings, Findings more) {
  std::ranges::move(more, std::back_inserter(findings));
}

Error given_up() {
  return {Code::kServerIsOverloaded, "The upload was given up before it was validated."};
}

// Whether the name has the content already, as a version that serves.
bool is_known(const AdapterRegistry& registry, const IntakeRequest& request,
              const AdapterDigest& digest) {
  const auto info = registry.get(request.caller.tenant, request.name);
  if (!info) return false;
  return std::ranges::any_of((*info)->versions, [&](const auto& entry) {
    return entry.second->status == VersionStatus::kReady && entry.second->digest == digest;
  });
}

// What the tenant may not have, though the platform could serve it.
std::optional<Finding> check_rank(const Report& report, const TenantLimits& limits) {
  if (report.rank_max <= limits.max_adapter_rank) return std::nullopt;
  return Finding{.code = FindingCode::kRankTooLarge,
                 .about = Finding::About::kField,
                 .subject = "r",
                 .expected = "at most " + std::to_string(limits.max_adapter_rank),
                 .actual = std::to_string(report.rank_max),
                 .message = "A module's rank is above the project's limit."};
}

// Pages that cannot be used because the child that wrote them erred, or lied. Nothing if the error
// is the server's own.
std::optional<Finding> fault_of_pages(const Error& error, const AdapterDigest& digest) {
  if (error.code != Code::kCorrupt && error.code != Code::kConflict) return std::nullopt;
  log_error("packed_pages_refused", {{"digest", to_hex(digest)}, {"reason", error.message}});
  return Finding{.code = FindingCode::kValidationFailed,
                 .message = "The package could not be validated: its packed form is not sound."};
}

}  // namespace

AdapterIntake::AdapterIntake(IntakeServices services)
    : services_(std::move(services)), probe_(services_.engine, services_.model, services_.clock) {
  random_bytes(&salt_, sizeof salt_);
  for (int i = 0; i < kIntakeThreads; ++i) threads_.emplace_back([this] { run_jobs(); });
}

AdapterIntake::~AdapterIntake() {
  stop();
}

Result<std::vector<AcceptanceCheck>> AdapterIntake::checks_for(const IntakeRequest& request) const {
  std::string checks = request.acceptance;
  if (checks.empty()) {
    const auto info = services_.registry.get(request.caller.tenant, request.name);
    if (!info) return std::vector<AcceptanceCheck>();  // its first version
    auto kept = services_.acceptance.get(request.caller.tenant, **info);
    if (!kept) return kept.error();
    checks = *std::move(kept);
  }
  if (checks.empty()) return std::vector<AcceptanceCheck>();
  return parse_acceptance(checks, services_.model, services_.clock.wall_now());
}

Price AdapterIntake::price_of(const std::string& adapter) const {
  const bool has_its_own = services_.prices.names(adapter);
  return services_.prices.of(has_its_own ? adapter : services_.model.name(), "default");
}

// A tenant's checks are bounded in number, prompt and answer (acceptance.hpp); so is what is
// reserved for them.
Result<Permit> AdapterIntake::permit_for(const IntakeRequest& request,
                                         const std::vector<AcceptanceCheck>& checks) const {
  if (checks.empty()) return Permit();
  std::int64_t prompt = 0;
  std::int64_t answer = 0;
  for (const AcceptanceCheck& check : checks) {
    prompt += std::ssize(check.prompt);
    answer += check.max_tokens;
  }
  const Now now = now_of(services_.clock);
  auto permit = services_.admission.admit(request.caller, now);
  if (!permit) return to_error(permit.error());
  const Demand most{.tokens = prompt + answer,
                    .cost = price_of(request.name).of(prompt, 0, answer)};
  if (auto reserved = permit->reserve(most, request.name, now); !reserved) {
    return to_error(reserved.error());
  }
  return std::move(*permit);
}

Result<std::shared_ptr<IntakeJob>> AdapterIntake::start(IntakeRequest request) {
  if (!is_valid_adapter_name(request.name)) {
    return Error{Code::kInvalidValue,
                 "'name' must be 1 to 63 of a-z 0-9 . _ -, the first a letter or a digit.", "name"};
  }
  auto checks = checks_for(request);
  if (!checks) return checks.error();
  auto permit = permit_for(request, *checks);
  if (!permit) return permit.error();
  const Job job(new IntakeJob(std::move(request), *std::move(checks), *std::move(permit),
                              services_.registry, services_.clock));
  {
    const std::lock_guard lock(mutex_);
    if (stopping_) return Error{Code::kDraining, "The server is stopping."};
    const auto of_tenant = std::ranges::count_if(queue_, [&](const Job& other) {
      return other->request_.caller.tenant == job->request_.caller.tenant;
    });
    if (queue_.size() >= kMaxIntakeJobs ||
        static_cast<std::size_t>(of_tenant) >= kMaxIntakeJobsOfTenant) {
      return Error{Code::kQueueFull, "Too many uploads wait for validation; try again later."};
    }
    queue_.push_back(job);
  }
  changed_.notify_one();
  return job;
}

void AdapterIntake::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  threads_.clear();  // joins
  std::deque<Job> left;
  {
    const std::lock_guard lock(mutex_);
    left.swap(queue_);
  }
  for (const Job& job : left) {
    record_interruption(*job, given_up());
    job->finish(given_up());
  }
}

// The oldest job of a tenant for whom nothing runs or, if there is none, the oldest of all.
AdapterIntake::Job AdapterIntake::next_job() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
  if (stopping_) return nullptr;
  auto next = std::ranges::find_if(
      queue_, [this](const Job& job) { return !running_.contains(job->request_.caller.tenant); });
  if (next == queue_.end()) next = queue_.begin();
  Job job = *next;
  queue_.erase(next);
  ++running_[job->request_.caller.tenant];
  return job;
}

void AdapterIntake::run_jobs() {
  step_back();
  while (const Job job = next_job()) {
    const TenantId tenant = job->request_.caller.tenant;
    job->times_.ended(&IntakeTimes::queued);
    auto outcome = job->is_given_up() ? Result<IntakeOutcome>(given_up()) : process(*job);
    if (!outcome) record_interruption(*job, outcome.error());
    job->times_.ended(&IntakeTimes::committed);
    log_times(*job, outcome);
    job->finish(std::move(outcome));
    const std::lock_guard lock(mutex_);
    if (--running_[tenant] == 0) running_.erase(tenant);
  }
}

AnswerPatience AdapterIntake::patience_of(const IntakeJob& job) const {
  return {.until = services_.clock.steady_now() + kTrialPatience,
          .given_up = [this, &job] { return stopping_ || job.is_given_up(); }};
}

Result<IntakeOutcome> AdapterIntake::process(IntakeJob& job) {
  auto draft = services_.packed.draft();
  if (!draft) return draft.error();
  const IntakeRequest& request = job.request_;
  auto package =
      services_.sandbox.validate(request.package, draft->descriptor(), request.caller.tenant.str());
  job.times_.ended(&IntakeTimes::validated);
  if (!package) return package.error();
  IntakeOutcome outcome;
  outcome.report = std::move(package->report);
  if (auto fault = check_rank(outcome.report, request.caller.limits)) {
    outcome.report.findings.push_back(*std::move(fault));
    package->facts.reset();
  }
  if (!package->facts) {
    if (auto done = commit(job, *package, outcome); !done) return done.error();
    return outcome;
  }
  const AdapterDigest digest = package->facts->digest;
  services_.trials.begin(digest);
  auto done = examine_and_commit(job, *std::move(draft), *package, outcome);
  services_.trials.end(digest);
  if (!done) return done.error();
  return outcome;
}

// The bytes go to the store while the adapter is tried out: both take their time, of disk and of
// processor. If nothing comes of it, they go again with `kept`.
Result<void> AdapterIntake::examine_and_commit(IntakeJob& job, PackedStore::Draft draft,
                                               const ValidatedPackage& package,
                                               IntakeOutcome& outcome) {
  std::future<Result<PackagePin>> kept;
  if (!job.request_.dry_run && !is_known(services_.registry, job.request_, package.facts->digest)) {
    kept = std::async(std::launch::async, [this, request = job.publish_request(package)] {
      return services_.registry.prepare(request);
    });
  }
  if (auto done = examine(job, std::move(draft), *package.facts, outcome); !done) return done;
  job.times_.ended(&IntakeTimes::tried);
  std::optional<Result<PackagePin>> pin;  // its error, if it has one, is publish()'s too
  if (kept.valid()) pin.emplace(kept.get());
  job.times_.ended(&IntakeTimes::stored);
  return commit(job, package, outcome);
}

// What the child packed counts for nobody's adapter but its own package's: a digest that is there
// already keeps the pages that its stored bytes make.
Result<std::shared_ptr<const PackedAdapter>> AdapterIntake::pages_of(PackedStore::Draft draft,
                                                                     const AdapterDigest& digest) {
  if (services_.registry.has(digest)) {
    auto known =
        load_packed_adapter(services_.registry, services_.packed, services_.sandbox, digest);
    const bool gone_meanwhile = !known && known.error().code == Code::kNotFound;
    if (!gone_meanwhile) return known;
  }
  return services_.packed.publish(std::move(draft), digest);
}

Result<void> AdapterIntake::examine(IntakeJob& job, PackedStore::Draft draft,
                                    const AdapterFacts& facts, IntakeOutcome& outcome) {
  const IntakeRequest& request = job.request_;
  const auto adapter = pages_of(std::move(draft), facts.digest);
  if (!adapter) {
    const auto fault = fault_of_pages(adapter.error(), facts.digest);
    if (!fault) return adapter.error();
    outcome.report.findings.push_back(*fault);
    return {};
  }
  if ((*adapter)->footprint() > services_.host_cache.max_bytes()) return HostCache::too_large();
  // Requests for a deleted version of the same content may have left a failure.
  services_.host_cache.forget_failure(facts.digest);
  services_.host_cache.insert(facts.digest, request.caller.tenant.str(), *adapter);
  if (is_known(services_.registry, request, facts.digest)) return {};  // it has been tried out
  if (auto tried = try_out(job, facts, *adapter, outcome); !tried) return tried.error();
  if (!outcome.report.ok() || job.checks_.empty()) return {};
  return check_acceptance(job, facts, outcome);
}

Result<void> AdapterIntake::try_out(IntakeJob& job, const AdapterFacts& facts,
                                    const std::shared_ptr<const PackedAdapter>& adapter,
                                    IntakeOutcome& outcome) {
  const auto probe =
      probe_.run({.digest = facts.digest, .adapter = adapter, .tenant = job.request_.caller.tenant},
                 patience_of(job));
  if (!probe) return probe.error();
  outcome.probe = *probe;
  append(outcome.report.findings, findings_of(*probe, job.request_.allow_noop));
  return {};
}

Result<void> AdapterIntake::check_acceptance(IntakeJob& job, const AdapterFacts& facts,
                                             IntakeOutcome& outcome) {
  AcceptanceResult spent;
  auto result =
      run_acceptance(services_.engine, services_.model, job.checks_, facts.digest,
                     job.request_.caller.tenant, salt_, services_.clock, patience_of(job), spent);
  charge(job, facts, spent);
  if (!result) return result.error();
  append(outcome.report.findings, findings_of(*result));
  outcome.acceptance = *std::move(result);
  return {};
}

// One usage record for all checks of an upload, if anything was computed for them. A ledger that
// cannot be written is told and does not undo what was computed.
void AdapterIntake::charge(IntakeJob& job, const AdapterFacts& facts,
                           const AcceptanceResult& result) {
  if (result.prompt_tokens == 0) return;
  const std::string& name = job.request_.name;
  const Price price = price_of(name);
  UsageRecord record{.request = job.request_.id,
                     .tenant = job.request_.caller.tenant,
                     .key = job.request_.caller.key,
                     .adapter = to_hex(facts.digest),
                     .model = name,
                     .prompt_tokens = result.prompt_tokens,
                     .cached_tokens = result.cached_tokens,
                     .completion_tokens = result.completion_tokens};
  record.cost = price.of(result.prompt_tokens, result.cached_tokens, result.completion_tokens);
  job.permit_.settle(
      {.tokens = result.prompt_tokens + result.completion_tokens, .cost = record.cost});
  record.finish = "acceptance_checks";
  record.started = record.finished = services_.clock.wall_now();
  const auto recorded = services_.ledger.record(record);
  if (!recorded) log_error("usage_not_recorded", {{"reason", recorded.error().message}});
}

Result<void> AdapterIntake::commit(IntakeJob& job, const ValidatedPackage& package,
                                   IntakeOutcome& outcome) {
  if (job.is_given_up()) return given_up();
  const std::optional<AdapterVersion> record = job.begin_commit();
  const IntakeRequest& request = job.request_;
  if (request.dry_run) return {};
  const std::string report = to_text(report_json(outcome));
  const VersionRequest version = job.version_request();
  if (outcome.report.ok()) {
    PublishRequest publish = job.publish_request(package);
    publish.report = report;
    if (record) publish.reserved = record->version;
    auto published = services_.registry.publish(publish, *package.facts);
    if (!published) return published.error();
    outcome.published = *std::move(published);
    return {};
  }
  const bool failed_checks = outcome.acceptance && !outcome.acceptance->passed();
  if (!record && !failed_checks) return {};  // a package that is wrong leaves nothing behind
  auto failed = record ? services_.registry.fail_version(version.tenant, version.name,
                                                         record->version, report, version.now)
                       : services_.registry.record_failed(version, report);
  if (!failed) return failed.error();
  outcome.failed = *std::move(failed);
  return {};
}

void AdapterIntake::log_times(const IntakeJob& job, const Result<IntakeOutcome>& outcome) {
  const IntakeTimes& times = job.times_;
  log_info("package_examined", {{"id", job.request_.id.str()},
                                {"tenant", job.request_.caller.tenant.str()},
                                {"accepted", outcome && outcome->report.ok()},
                                times.field("queued_ms", &IntakeTimes::queued),
                                times.field("validated_ms", &IntakeTimes::validated),
                                times.field("tried_ms", &IntakeTimes::tried),
                                times.field("stored_ms", &IntakeTimes::stored),
                                times.field("committed_ms", &IntakeTimes::committed)});
}

// A version that has its number must not be left validating for ever.
void AdapterIntake::record_interruption(IntakeJob& job, const Error& error) {
  const std::optional<AdapterVersion> record = job.begin_commit();
  if (!record) return;
  IntakeOutcome outcome;
  outcome.report.findings.push_back(
      {.code = FindingCode::kValidationInterrupted,
       .message = "The version was not validated to its end: " + error.message});
  const VersionRequest version = job.version_request();
  const auto failed = services_.registry.fail_version(version.tenant, version.name, record->version,
                                                      to_text(report_json(outcome)), version.now);
  if (!failed) log_error("version_not_failed", {{"reason", failed.error().message}});
}

}  // namespace tessera
