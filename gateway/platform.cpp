#include "gateway/platform.hpp"

#include <algorithm>
#include <chrono>
#include <future>
#include <stdexcept>
#include <utility>

#include <nlohmann/json.hpp>

#include "adapters/adapter_loader.hpp"
#include "gateway/adapters/package_context.hpp"
#include "gateway/engine_sizes.hpp"
#include "gateway/http/answer_vault.hpp"
#include "kernels/gpu.hpp"
#include "storage/durable_file.hpp"
#include "storage/json.hpp"
#include "storage/log.hpp"

namespace tessera {
namespace {

constexpr int kUploadThreads = 2;
constexpr int kStageThreads = 2;

Error explained(const Error& error, const std::string& what) {
  return {error.code, what + ": " + error.message, error.param};
}

// What adapters may call the base, besides its served name.
std::vector<std::string> aliases_of(const ModelInfo& info, const ServerConfig& config) {
  std::vector<std::string> aliases = config.base_aliases;
  const auto model_config = parse_json(info.config);
  if (!model_config || !model_config->is_object()) return aliases;
  const auto original = model_config->find("_name_or_path");
  if (original != model_config->end() && original->is_string() &&
      !original->get_ref<const std::string&>().empty()) {
    aliases.push_back(original->get<std::string>());
  }
  return aliases;
}

BaseModel base_of(const PackedModel& packed, const ServerConfig& config) {
  BaseModel base;
  base.name = packed.info().name;
  base.aliases = aliases_of(packed.info(), config);
  base.digest = packed.digest();
  base.spec = packed.spec();
  base.weights = &packed.weights();
  return base;
}

Result<void> make_private_directory(const std::filesystem::path& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (!error) return {};
  return Error{Code::kIo,
               "Cannot make the data directory " + path.string() + ": " + error.message() + "."};
}

// Everything is free without a file.
Result<PriceTable> read_prices(const std::filesystem::path& path) {
  if (path.empty()) return PriceTable();
  const auto text = read_file(path, kMaxPriceTableBytes);
  if (!text) return text.error();
  return PriceTable::parse(*text);
}

Result<void> open_webhooks(Platform& platform) {
  const ServerConfig& config = platform.config;
  auto webhooks = Webhooks::open(
      {*platform.store, *platform.directory, *platform.peppers, platform.clock},
      {.egress = {.allow_http = config.webhook_http, .allowed = config.webhook_addresses}});
  if (!webhooks) return explained(webhooks.error(), "The webhooks cannot be read");
  platform.webhooks = *std::move(webhooks);
  return {};
}

// What is kept on disk: store, keys, ledger, adapters.
Result<void> open_storage(Platform& platform) {
  const ServerConfig& config = platform.config;
  if (auto made = make_private_directory(config.data); !made) return made.error();
  auto store = open_rocks_store(config.data / "store");
  if (!store) return explained(store.error(), "The store cannot be opened");
  platform.store = *std::move(store);
  auto peppers = PepperFile::open(config.data / "peppers");
  if (!peppers) return explained(peppers.error(), "The pepper file cannot be used");
  platform.peppers.emplace(*std::move(peppers));
  // Most of a start with many keys and adapters is to read both, at once. Adapters are read here:
  // they are many small objects, and the first thread's memory grows in larger steps than
  // another's.
  auto directory_opened = std::async(std::launch::async, [&platform] {
    return TenantDirectory::open(*platform.store, *platform.peppers);
  });
  auto adapter_records = read_registry(*platform.store);
  auto directory = directory_opened.get();
  if (!directory) return explained(directory.error(), "The tenants cannot be read");
  platform.directory = *std::move(directory);
  platform.key_uses.emplace(*platform.store, platform.clock);
  const auto made_key =
      platform.directory->ensure_admin_key(platform.admin_key_file(), platform.clock.wall_now());
  if (!made_key) return explained(made_key.error(), "The first admin key cannot be made");
  platform.made_admin_key = *made_key;
  platform.ledger.emplace(*platform.store);
  platform.key_charges.emplace(*platform.store);
  auto recent = RecentUses::read(*platform.ledger, now_of(platform.clock));
  if (!recent) return explained(recent.error(), "The usage records cannot be read");
  platform.recent.emplace(*std::move(recent));
  platform.admission.set_organization(platform.directory->snapshot()->organization(),
                                      now_of(platform.clock));
  auto prices = read_prices(config.prices);
  if (!prices) return explained(prices.error(), "The price table cannot be used");
  platform.prices = *std::move(prices);
  if (auto opened = open_webhooks(platform); !opened) return opened;
  const auto vault = std::make_shared<AnswerVault>(*platform.store, *platform.peppers);
  auto attached = platform.idempotent.attach(vault, platform.clock.wall_now());
  if (!attached) return explained(attached.error(), "The answers that are kept cannot be read");
  platform.journal = std::make_unique<AuditedJournal>(*platform.directory, platform.events,
                                                      platform.webhooks.get());
  auto adapters = AdapterRegistry::open(*platform.store, base_of(*platform.model.packed, config),
                                        platform.journal.get(), platform.clock.wall_now(),
                                        std::move(adapter_records));
  if (!adapters) return explained(adapters.error(), "The adapters cannot be read");
  platform.adapters = *std::move(adapters);
  return {};
}

// Where uploads go: on their way, and when a tenant keeps them.
Result<void> open_upload_folders(Platform& platform) {
  platform.uploads.emplace(*platform.store);
  const ServerConfig& config = platform.config;
  const auto max_bytes = static_cast<std::uint64_t>(config.upload_bytes);
  auto staging = StagingFolder::open(config.data / "staging", {.max_bytes = max_bytes,
                                                               .max_bytes_of_owner = max_bytes / 2,
                                                               .reserve_bytes = kDiskReserveBytes});
  if (!staging) return staging.error();
  platform.staging = *std::move(staging);
  const AuditedWrite write = [&directory = *platform.directory](
                                 Batch batch, std::span<const AuditRecord> records) {
    return directory.write_audited(std::move(batch), records);
  };
  auto files = TenantFiles::open(*platform.store, *platform.staging, config.data / "files",
                                 platform.clock.wall_now(), write);
  if (!files) return explained(files.error(), "The tenants' files cannot be read");
  platform.files = *std::move(files);
  auto drafts = AdapterDrafts::open(*platform.store, config.data / "drafts",
                                    platform.clock.wall_now(), write);
  if (!drafts) return explained(drafts.error(), "The drafts of adapters cannot be read");
  platform.drafts = *std::move(drafts);
  return {};
}

// What reads strangers' bytes.
Result<void> open_sandbox(Platform& platform) {
  const ServerConfig& config = platform.config;
  const BaseModel& base = platform.adapters->base();
  auto sandbox = ValidationSandbox::open(
      {.program = config.sandbox_program,
       .model = config.model,
       .context = package_context(platform.model, base, platform.page_type),
       .base_aliases = base.aliases,
       .limits = {.max_tensors_bytes = kMaxUploadBytes,
                  .max_tokenizer_bytes = kMaxTokenizerFileBytes,
                  .max_packed_bytes = static_cast<std::uint64_t>(config.adapter_bytes)},
       .staging = platform.staging.get(),
       .scratch = config.data / "staging"});
  if (!sandbox) {
    return explained(sandbox.error(),
                     "Uploads cannot be validated apart (with --no-sandbox, the server does it "
                     "itself)");
  }
  platform.sandbox = *std::move(sandbox);
  if (!platform.sandbox->is_separate()) log_warn("no_sandbox");
  return {};
}

// Where a device reads pages without a detour through buffers.
std::shared_ptr<PinnedArena> pinned_arena(Backend& backend, std::int64_t wanted) {
  if (backend.memory() == nullptr) return nullptr;
  const auto bytes = static_cast<std::size_t>(wanted);
  auto memory = backend.pinned_memory(bytes);
  if (memory == nullptr) {
    log_warn("host_memory_not_pinned", {{"bytes", wanted}});
    return nullptr;
  }
  return std::make_shared<PinnedArena>(std::move(memory), bytes);
}

// Adapters on their way from disk to the engine.
Result<void> open_host_cache(Platform& platform, Backend& backend) {
  const ServerConfig& config = platform.config;
  auto packed = PackedStore::open({.folder = config.data / "packed",
                                   .max_bytes = static_cast<std::uint64_t>(config.packed_bytes),
                                   .arena = pinned_arena(backend, config.adapter_bytes)},
                                  platform.adapters->base(), platform.page_type);
  if (!packed) return explained(packed.error(), "The packed adapters cannot be used");
  platform.packed = *std::move(packed);
  const auto load = [&registry = *platform.adapters, &store = *platform.packed,
                     &sandbox = *platform.sandbox](const AdapterDigest& digest) {
    return load_packed_adapter(registry, store, sandbox, digest);
  };
  const LoadLimits loads{.max_loading_of_tenant = kMaxLoadsOfTenant,
                         .loads_per_second_of_tenant = kLoadsOfTenantASecond,
                         .load_burst_of_tenant = kLoadBurstOfTenant};
  const auto allowance = [&directory = *platform.directory](std::string_view tenant) {
    const auto snapshot = directory.snapshot();
    const TenantEntry* const entry = snapshot->find(TenantId(std::string(tenant)));
    if (entry == nullptr) return HostCache::Allowance{};
    return HostCache::Allowance{.adapters = entry->limits.max_resident_adapters,
                                .bytes = entry->limits.max_resident_bytes};
  };
  platform.host_cache = std::make_unique<HostCache>(
      load,
      HostCache::Config{.max_bytes = static_cast<std::size_t>(config.adapter_bytes),
                        .num_loaders = config.adapter_loaders,
                        .loads = loads,
                        .allowance = allowance},
      platform.clock);
  return {};
}

// What the backend has made of the wishes.
void settle_memory(Platform& platform, const MemoryDivision& memory, BackendLimits& limits,
                   KvBlocks& blocks) {
  limits.num_blocks = blocks.in_all = memory.blocks_in_all;
  blocks.shares.kv_share = memory.num_blocks;
  blocks.shares.block_bytes = memory.block_bytes;
  blocks.shares.is_of_device = true;
  platform.config.kv_bytes = static_cast<std::int64_t>(memory.kv_bytes);
  platform.config.adapter_device_bytes =
      static_cast<std::int64_t>(promised_adapter_bytes(memory.adapter_bytes));
  platform.device_memory = describe(memory);
}

// What computes: backend, adapter cache, engine.
Result<void> start_engine(Platform& platform, const BackendMaker& make) {
  const ServerConfig& config = platform.config;
  const PackedModel& packed = *platform.model.packed;
  const int longest = packed.spec().max_positions;
  const int max_context = config.max_context > 0 ? std::min(config.max_context, longest) : longest;
  KvBlocks blocks = kv_blocks(packed.spec(), config, max_context);
  BackendLimits limits = backend_limits(config, blocks.in_all);
  if (config.backend == "cuda") limits.memory = memory_wishes(config, max_context);
  auto backend = make(config, packed.weights(), limits);
  if (!backend) return backend.error();
  if (const MemoryDivision* memory = (*backend)->memory()) {
    settle_memory(platform, *memory, limits, blocks);
  }
  platform.num_kv_blocks = blocks.shares.kv_share;
  platform.backend_name = (*backend)->name();
  platform.page_type = config.adapter_pages == "int8" ? PageType::kInt8 : (*backend)->page_type();

  if (auto opened = open_sandbox(platform); !opened) return opened.error();
  if (auto opened = open_host_cache(platform, **backend); !opened) return opened.error();
  EngineConfig engine = engine_config(config, limits, packed.info(), max_context);
  engine.shares = blocks.shares;
  platform.engine = std::make_unique<Engine>(*std::move(backend), packed.spec(),
                                             *platform.host_cache, std::move(engine));
  return {};
}

// Where uploads are validated, and what becomes of them.
Result<void> start_intake(Platform& platform) {
  platform.acceptance.emplace(*platform.store);
  platform.intake =
      std::make_unique<AdapterIntake>(IntakeServices{.registry = *platform.adapters,
                                                     .host_cache = *platform.host_cache,
                                                     .packed = *platform.packed,
                                                     .model = platform.model,
                                                     .engine = *platform.engine,
                                                     .admission = platform.admission,
                                                     .ledger = *platform.ledger,
                                                     .prices = platform.prices,
                                                     .sandbox = *platform.sandbox,
                                                     .acceptance = *platform.acceptance,
                                                     .clock = platform.clock,
                                                     .trials = *platform.trials});
  return {};
}

}  // namespace

Result<std::unique_ptr<Backend>> make_backend(const ServerConfig& config,
                                              const ModelWeights& weights,
                                              const BackendLimits& limits) {
  if (config.backend == "reference") return make_reference_backend(weights, limits);
  try {
    if (config.backend == "cuda") return make_gpu_backend(weights, limits);
    return make_cpu_backend(weights, limits);
  } catch (const std::exception& unavailable) {
    return Error{Code::kInvalidValue, unavailable.what()};
  }
}

std::string_view to_string(LogLevel level) {
  switch (level) {
    case LogLevel::kInfo:
      return "info";
    case LogLevel::kWarn:
      return "warn";
    case LogLevel::kError:
      return "error";
  }
  return "info";
}

std::optional<LogLevel> log_level_from_string(std::string_view name) {
  for (const LogLevel level : {LogLevel::kInfo, LogLevel::kWarn, LogLevel::kError}) {
    if (to_string(level) == name) return level;
  }
  return std::nullopt;
}

Result<std::unique_ptr<Platform>> Platform::open(const ServerConfig& config,
                                                 const BackendMaker& make) {
  auto platform = std::make_unique<Platform>();
  platform->config = config;
  platform->started_at = platform->clock.wall_now();
  platform->log_level = log_level_from_string(config.log_level).value_or(LogLevel::kInfo);
  platform->drain_seconds = config.drain.count();
  random_bytes(platform->salt_key.data(), platform->salt_key.size());
  auto model = open_served_model(config);
  if (!model) return model.error();
  platform->model = *std::move(model);
  if (!config.oidc.empty()) {
    auto oidc = OidcAdmins::open(config.oidc);
    if (!oidc) return explained(oidc.error(), "Admins' tokens cannot be checked");
    platform->oidc = *std::move(oidc);
  }
  if (auto opened = open_storage(*platform); !opened) return opened.error();
  if (auto opened = open_upload_folders(*platform); !opened) return opened.error();
  if (auto started = start_engine(*platform, make); !started) return started.error();
  platform->trials.emplace(
      *platform->adapters,
      [raw = platform.get()](const AdapterDigest& digest) { raw->drop_adapter(digest); });
  platform->adapters->set_on_gone(
      [&trials = *platform->trials](const AdapterDigest& digest) { trials.gone(digest); });
  platform->bodies.emplace(static_cast<std::size_t>(config.body_bytes));
  platform->workers.emplace(config.workers);
  platform->upload_workers.emplace(kUploadThreads);
  platform->stage_workers.emplace(kStageThreads);
  platform->constraints.emplace(platform->model);
  if (auto started = start_intake(*platform); !started) return started.error();
  platform->spend_watch.emplace(*platform->directory, *platform->ledger, platform->clock,
                                platform->webhooks.get());
  return platform;
}

void Platform::drop_adapter(const AdapterDigest& digest) {
  engine->forget_adapter(digest);
  host_cache->forget(digest);
  packed->remove(digest);
}

Platform::~Platform() {
  stop();
}

// A ledger that cannot be read counts as an exhausted one: money is never spent on a guess.
PeriodUse Platform::recall_use(const TenantId& tenant, const KeyId& key, WallTime now) const {
  auto use = ledger->period_use(tenant, key, now);
  if (use) {
    use->recent = recent->of(tenant, key);
    return *std::move(use);
  }
  log_error("usage_not_read", {{"tenant", tenant.str()}, {"reason", use.error().message}});
  return {.requests_today = kMaxCalendarLimit,
          .tokens_today = kMaxCalendarLimit,
          .tokens_this_month = kMaxCalendarLimit,
          .spend_this_month = Money::of_cents(Money::kMaxCents),
          .recent = recent->of(tenant, key)};
}

// One that cannot be read counts for itself as an exhausted one, and so for all.
PeriodUse Platform::recall_use_of_all(WallTime now) const {
  PeriodUse all;
  for (const Tenant& tenant : directory->snapshot()->tenants()) {
    const PeriodUse use = recall_use(tenant.id, KeyId(), now);
    all.requests_today += use.requests_today;
    all.tokens_today += use.tokens_today;
    all.tokens_this_month += use.tokens_this_month;
    all.spend_this_month += use.spend_this_month;
  }
  all.recent = recent->of_all();
  return all;
}

void Platform::stop() {
  events.close();
  if (key_uses) key_uses->stop();
  if (spend_watch) spend_watch->stop();
  if (webhooks) webhooks->stop();
  if (adapters) adapters->set_on_gone({});
  if (intake) intake->stop();
  if (workers) workers->join();
  if (upload_workers) upload_workers->join();
  if (stage_workers) stage_workers->join();
  if (constraints) constraints->join();
  if (engine) engine->stop();
  if (ledger) ledger->finish_waiting();
}

}  // namespace tessera
