// adapter_intake.hpp — from an upload's files to a version that may serve.
//
//   staged files → sandboxed validation → probe → the tenant's acceptance checks → registry
//
// Everything that reads a stranger's bytes as a format (archive, JSON, safetensors) does so in a
// process of its own, without rights (adapters/sandbox). What comes back is a report and, if it is
// good, the packed pages; the bytes themselves go to the registry as they came.
//
// An upload is a job. Its handler waits for it as long as its client wants to; a job that takes
// longer is detached: from then on it has a version number and a durable record, "validating",
// which the job's end turns into "ready" or "failed". A job that nobody has detached leaves nothing
// behind unless it succeeds; only a version that was refused by its tenant's own acceptance checks
// is recorded as failed either way.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "adapters/finding.hpp"
#include "adapters/host_cache.hpp"
#include "adapters/packed_store.hpp"
#include "adapters/registry.hpp"
#include "adapters/sandbox/validation_sandbox.hpp"
#include "engine/engine.hpp"
#include "gateway/adapters/acceptance.hpp"
#include "gateway/adapters/acceptance_store.hpp"
#include "gateway/adapters/adapter_probe.hpp"
#include "gateway/adapters/adapter_trials.hpp"
#include "gateway/adapters/intake_times.hpp"
#include "gateway/served_model.hpp"
#include "storage/clock.hpp"
#include "storage/ids.hpp"
#include "storage/mutex.hpp"
#include "storage/result.hpp"
#include "storage/staged_file.hpp"
#include "tenancy/admission.hpp"
#include "tenancy/prices.hpp"
#include "tenancy/tenant.hpp"
#include "tenancy/usage_ledger.hpp"

namespace tessera {

struct IntakeRequest {
  RequestId id;
  Caller caller;               // of a tenant, whose limits hold and who pays for its checks
  std::string name;            // of the adapter
  std::string alias = "prod";  // that moves to the new version once it is ready; empty: none
  StagedPackage package;
  std::string acceptance = {};  // JSON of the checks (acceptance.hpp); empty: those of the adapter
  Labels metadata = {};
  bool allow_noop = false;  // accept an adapter that changes nothing
  bool dry_run = false;     // a report, and nothing recorded
};

struct IntakeOutcome {
  Report report;                                    // its findings
  std::optional<ProbeResult> probe = {};            // none: it did not come to that
  std::optional<AcceptanceResult> acceptance = {};  // none: there are no checks
  std::optional<Published> published = {};          // if the report is ok and it was no dry run
  std::optional<AdapterVersion> failed = {};        // the record of a version that never serves
};

// What the limits leave to a tenant's adapters.
AdapterQuota quota_of(const TenantLimits& limits);

// The "adapter.validation_report" object of the API: findings, coverage, probe, acceptance.
nlohmann::ordered_json report_json(const IntakeOutcome& outcome);

// One upload under way. Thread-safe.
class IntakeJob {
 public:
  // Returns whether the job is done, at the latest at `until`.
  bool wait(SteadyTime until) const;

  // Once it is done. Errors: those of the registry and of the store (kStorageQuotaExceeded,
  // kStorageFull, kNameExists ...); kServerIsOverloaded if the job was given up. A package that is
  // wrong is no error but a report.
  Result<IntakeOutcome> outcome() const;

  // Gives the job a version number and a durable record that says "validating", which whoever asks
  // for the version finds from now on. Nothing if the job came to its end meanwhile: take its
  // outcome. Errors: those of AdapterRegistry::begin_version().
  Result<std::optional<AdapterVersion>> detach();

  // Has `done` called, once and on any thread, when outcome() is there; at once if it is. At most
  // one; it must not wait.
  void on_done(std::function<void()> done);

  // Nobody waits any more, and nobody has detached it: it ends as soon as it may.
  void abandon();

 private:
  friend class AdapterIntake;
  IntakeJob(IntakeRequest request, std::vector<AcceptanceCheck> checks, Permit permit,
            AdapterRegistry& registry, const Clock& clock);

  VersionRequest version_request() const;
  PublishRequest publish_request(const ValidatedPackage& package) const;
  bool is_given_up() const { return given_up_.load(); }
  // From now on it is too late to detach: the number that it has, if any.
  std::optional<AdapterVersion> begin_commit();
  void finish(Result<IntakeOutcome> outcome);

  IntakeRequest request_;  // its files are let go of when it is done
  std::vector<AcceptanceCheck> checks_;
  Permit permit_;  // for what the checks may come to; nothing without checks
  AdapterRegistry& registry_;
  const Clock& clock_;
  IntakeTimes times_;                   // the intake thread's
  std::atomic<bool> given_up_ = false;  // and never detached

  mutable std::mutex mutex_;
  mutable std::condition_variable done_;
  // guarded by mutex_
  bool committing_ = false;  // its end is being written: too late to detach
  std::optional<AdapterVersion> record_;
  std::optional<Result<IntakeOutcome>> outcome_;
  std::function<void()> on_done_;
};

// What the intake needs of the platform; all outlive it.
struct IntakeServices {
  AdapterRegistry& registry;
  HostCache& host_cache;
  PackedStore& packed;
  const ServedModel& model;
  Engine& engine;
  Admission& admission;
  UsageLedger& ledger;
  const PriceTable& prices;
  ValidationSandbox& sandbox;
  const AcceptanceStore& acceptance;
  const Clock& clock;
  AdapterTrials& trials;
};

inline constexpr int kIntakeThreads = 2;  // each runs one job, mostly by waiting for its child
inline constexpr std::size_t kMaxIntakeJobsOfTenant = 16;  // that wait
inline constexpr std::size_t kMaxIntakeJobs = 256;
inline constexpr std::chrono::seconds kTrialPatience{120};  // for probe and checks, each

// Thread-safe. Its jobs run on threads of its own, tenants in turn.
class AdapterIntake {
 public:
  explicit AdapterIntake(IntakeServices services);
  ~AdapterIntake();  // stops

  // What the acceptance checks may come to, all of them, is reserved of the tenant's, the key's and
  // the model's limits here, as one request, and settled when they have run or will not. Errors:
  // those of parse_acceptance() and of that reservation; kQueueFull if the tenant or the server has
  // too many jobs; kDraining once it has been stopped.
  Result<std::shared_ptr<IntakeJob>> start(IntakeRequest request);

  // Ends the jobs that are left as given up; what was detached becomes a failed version
  // (validation_interrupted).
  void stop();

 private:
  using Job = std::shared_ptr<IntakeJob>;

  void run_jobs();
  Job next_job();
  Result<std::vector<AcceptanceCheck>> checks_for(const IntakeRequest& request) const;
  Price price_of(const std::string& adapter) const;
  Result<Permit> permit_for(const IntakeRequest& request,
                            const std::vector<AcceptanceCheck>& checks) const;
  Result<IntakeOutcome> process(IntakeJob& job);
  Result<std::shared_ptr<const PackedAdapter>> pages_of(PackedStore::Draft draft,
                                                        const AdapterDigest& digest);
  Result<void> examine_and_commit(IntakeJob& job, PackedStore::Draft draft,
                                  const ValidatedPackage& package, IntakeOutcome& outcome);
  Result<void> examine(IntakeJob& job, PackedStore::Draft draft, const AdapterFacts& facts,
                       IntakeOutcome& outcome);
  Result<void> try_out(IntakeJob& job, const AdapterFacts& facts,
                       const std::shared_ptr<const PackedAdapter>& adapter, IntakeOutcome& outcome);
  Result<void> check_acceptance(IntakeJob& job, const AdapterFacts& facts, IntakeOutcome& outcome);
  void charge(IntakeJob& job, const AdapterFacts& facts, const AcceptanceResult& result);
  Result<void> commit(IntakeJob& job, const ValidatedPackage& package, IntakeOutcome& outcome);
  static void log_times(const IntakeJob& job, const Result<IntakeOutcome>& outcome);
  void record_interruption(IntakeJob& job, const Error& error);
  AnswerPatience patience_of(const IntakeJob& job) const;

  const IntakeServices services_;
  const AdapterProbe probe_;
  std::uint64_t salt_ = 0;  // of this process: what the checks' prompts leave in the prefix cache

  std::mutex mutex_;
  std::condition_variable changed_;
  // guarded by mutex_
  std::deque<Job> queue_;
  std::map<TenantId, int> running_;  // no entry: none

  std::atomic<bool> stopping_ = false;
  std::vector<std::jthread> threads_;
};

}  // namespace tessera
