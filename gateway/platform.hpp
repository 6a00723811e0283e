// platform.hpp — everything the server is made of, in the order in which it is built.
//
// Opened once by main, before any socket listens; handlers reach the rest of the house through it.
// Members are declared lowest layer first, so destruction runs from the top down. All of them are
// thread-safe.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "adapters/host_cache.hpp"
#include "adapters/packed_store.hpp"
#include "adapters/registry.hpp"
#include "engine/engine.hpp"
#include "gateway/adapters/acceptance_store.hpp"
#include "gateway/adapters/adapter_drafts.hpp"
#include "gateway/adapters/adapter_events.hpp"
#include "gateway/adapters/adapter_intake.hpp"
#include "gateway/adapters/registry_journal.hpp"
#include "gateway/adapters/tenant_files.hpp"
#include "gateway/adapters/upload_slots.hpp"
#include "gateway/admin/metrics.hpp"
#include "gateway/admin/oidc.hpp"
#include "gateway/admin/spend_watch.hpp"
#include "gateway/config.hpp"
#include "gateway/http/body_budget.hpp"
#include "gateway/http/idempotency.hpp"
#include "gateway/inference/constraint_compiler.hpp"
#include "gateway/inference/key_charges.hpp"
#include "gateway/served_model.hpp"
#include "gateway/webhooks/webhooks.hpp"
#include "gateway/workers.hpp"
#include "kernels/backend.hpp"
#include "storage/clock.hpp"
#include "storage/log.hpp"
#include "storage/staged_file.hpp"
#include "storage/store.hpp"
#include "tenancy/admission.hpp"
#include "tenancy/api_key.hpp"
#include "tenancy/directory.hpp"
#include "tenancy/key_uses.hpp"
#include "tenancy/login_failures.hpp"
#include "tenancy/prices.hpp"
#include "tenancy/recent_use.hpp"
#include "tenancy/usage_ledger.hpp"

namespace tessera {

// What computes, as a configuration asks for it. Errors: kInvalidValue if this machine cannot.
using BackendMaker = std::function<Result<std::unique_ptr<Backend>>(
    const ServerConfig& config, const ModelWeights& weights, const BackendLimits& limits)>;
Result<std::unique_ptr<Backend>> make_backend(const ServerConfig& config,
                                              const ModelWeights& weights,
                                              const BackendLimits& limits);

// "info", "warn", "error", as the configuration has them.
std::string_view to_string(LogLevel level);
std::optional<LogLevel> log_level_from_string(std::string_view name);

struct Platform {
  // `make` is for who measures the rest of the house and brings a backend of his own.
  // Errors: those of the parts; the message says which file or setting is wrong.
  static Result<std::unique_ptr<Platform>> open(const ServerConfig& config,
                                                const BackendMaker& make = make_backend);

  Platform() = default;
  ~Platform();
  Platform(const Platform&) = delete;
  Platform& operator=(const Platform&) = delete;

  // Ends the threads of workers and engine; streams that are left finish as cancelled. Before the
  // io context that those threads post to is destroyed; what that destroys in turn may still settle
  // its usage here.
  void stop();

  // Drops what was made of an adapter's bytes, wherever it is. Asked by `trials`, which knows when
  // nobody needs it any more.
  void drop_adapter(const AdapterDigest& digest);

  ServerConfig config;
  SystemClock clock;
  ServedModel model;
  std::unique_ptr<Store> store;
  Mutex backup_mutex;  // held while a backup is made or deleted
  std::optional<PepperFile> peppers;
  std::unique_ptr<TenantDirectory> directory;
  std::optional<KeyUses> key_uses;
  std::optional<UsageLedger> ledger;
  PriceTable prices;
  std::optional<RecentUses> recent;  // before this start
  Admission admission{[this](const TenantId& tenant, const KeyId& key, WallTime now) {
                        return recall_use(tenant, key, now);
                      },
                      [this](const TenantId& tenant, std::string_view name) {
                        return recent->of_model(tenant, name);
                      },
                      [this](WallTime now) { return recall_use_of_all(now); }};
  AdapterEvents events{clock, clock.wall_now()};
  std::unique_ptr<OidcAdmins> oidc;  // null: admins have keys only
  LoginFailures login_failures;      // of admins
  std::unique_ptr<Webhooks> webhooks;
  std::unique_ptr<AuditedJournal> journal;  // of changes to adapters
  std::unique_ptr<AdapterRegistry> adapters;
  std::unique_ptr<StagingFolder> staging;  // of uploads under way
  std::unique_ptr<ValidationSandbox> sandbox;
  std::unique_ptr<PackedStore> packed;
  std::unique_ptr<HostCache> host_cache;
  std::string backend_name;
  PageType page_type = PageType::kF32;  // of adapters, as the backend wants them
  int num_kv_blocks = 0;
  std::string device_memory;  // how a GPU's is divided, in one line; empty: there is none
  std::unique_ptr<Engine> engine;
  std::optional<Workers> workers;
  std::optional<Workers> upload_workers;  // handlers of uploads, apart: they wait for the disk
  std::optional<Workers> stage_workers;   // bodies on their way to the disk
  std::optional<ConstraintCompiler> constraints;

  std::unique_ptr<TenantFiles> files;
  std::unique_ptr<AdapterDrafts> drafts;
  std::optional<AdapterTrials> trials;
  std::optional<AcceptanceStore> acceptance;  // checks that adapters keep
  std::unique_ptr<AdapterIntake> intake;
  std::optional<BodyBudget> bodies;
  std::optional<UploadSlots> uploads;
  IdempotentAnswers idempotent;
  std::optional<KeyCharges> key_charges;  // of inference
  std::optional<SpendWatch> spend_watch;
  Metrics metrics;
  std::atomic<bool> draining = false;   // the process is ending
  std::atomic<bool> held_back = false;  // an admin wants no more inference here, for now
  std::atomic<LogLevel> log_level = LogLevel::kInfo;  // in force; begins as the configuration's
  std::atomic<std::int64_t> drain_seconds = 0;        // the same
  bool made_admin_key = false;                        // at this start
  WallTime started_at;
  std::array<std::byte, 32> salt_key{};  // of this process: prefix caches end with it

  // What the ledger says was used in the current day and month, and in the minutes before the
  // start.
  PeriodUse recall_use(const TenantId& tenant, const KeyId& key, WallTime now) const;
  // The same of all tenants together: the sum over them, so it takes its time.
  PeriodUse recall_use_of_all(WallTime now) const;

  // Whether requests had better go elsewhere.
  bool is_draining() const { return draining || held_back; }

  std::filesystem::path admin_key_file() const { return config.data / "admin.key"; }
};

}  // namespace tessera
