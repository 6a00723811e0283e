#include "gateway/platform.hpp"

#include <algorithm>
#include <chrono>
#include <stdexcept>
#include <thread>
#include <utility>

#include <nlohmann/json.hpp>

#include "adapters/adapter_loader.hpp"
#include "kernels/backend.hpp"
#include "kernels/cpu/kv_layout.hpp"
#include "storage/json.hpp"
#include "storage/log.hpp"

namespace tessera {
namespace {

constexpr int kBlockSize = 16;  // positions of a KV block
constexpr int kMaxRank = 256;   // of an adapter
constexpr int kMaxAdaptersInStep = 16;
constexpr int kMaxMaskThreads = 4;

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
  base.embedding = packed.weights().embedding.bf16;
  base.head = packed.weights().head.bf16;
  return base;
}

KvForm kv_form(const ServerConfig& config) {
  return config.kv == "int8" ? KvForm::kInt8 : KvForm::kF16;
}

std::int64_t kv_block_bytes(const ModelSpec& spec, const ServerConfig& config) {
  if (config.backend == "reference") {  // fp32, and no padding
    return std::int64_t{2} * spec.num_layers() * spec.kv_dim() * kBlockSize * 4;
  }
  const KvLayout layout =
      make_kv_layout(spec.head_dim, spec.num_kv_heads, kBlockSize, 1, kv_form(config));
  return spec.num_layers() * static_cast<std::int64_t>(layout.block_bytes);
}

// As many KV blocks as the bytes allow, but no more than all sequences together can fill, and
// enough for one of the longest.
int num_kv_blocks(const ModelSpec& spec, const ServerConfig& config, int max_context) {
  const std::int64_t per_sequence = (max_context + kBlockSize - 1) / kBlockSize;
  const std::int64_t useful = per_sequence * config.max_seqs;
  const std::int64_t affordable = config.kv_bytes / kv_block_bytes(spec, config);
  return static_cast<int>(std::max(std::min(affordable, useful), per_sequence));
}

BackendLimits backend_limits(const ServerConfig& config, int num_blocks) {
  BackendLimits limits;
  limits.max_rows = std::max(config.token_budget, config.max_seqs);
  limits.max_seqs = config.max_seqs;
  limits.max_logit_rows = config.max_seqs;
  limits.num_blocks = num_blocks;
  limits.block_size = kBlockSize;
  limits.max_rank = kMaxRank;
  limits.num_threads = config.threads;
  limits.kv_form = kv_form(config);
  limits.pin_threads = config.pin_threads;
  limits.head_form = config.head == "int8" ? HeadForm::kInt8 : HeadForm::kBf16;
  return limits;
}

Result<std::unique_ptr<Backend>> make_backend(const ServerConfig& config,
                                              const ModelWeights& weights,
                                              const BackendLimits& limits) {
  if (config.backend == "reference") return make_reference_backend(weights, limits);
  try {
    return make_cpu_backend(weights, limits);
  } catch (const std::invalid_argument& unavailable) {
    return Error{Code::kInvalidValue, unavailable.what()};
  }
}

EngineConfig engine_config(const ServerConfig& config, const BackendLimits& limits,
                           const ModelInfo& info, int max_context) {
  EngineConfig engine;
  engine.backend = limits;
  engine.adapters = {.max_adapters = kMaxAdaptersInStep,
                     .max_bytes = static_cast<std::size_t>(config.adapter_bytes)};
  engine.max_context = max_context;
  engine.max_requests = config.max_queue + config.max_seqs;
  engine.eos_ids = info.eos_ids;
  const auto cores = static_cast<int>(std::thread::hardware_concurrency());
  engine.mask_threads = std::clamp(cores / 2, 1, kMaxMaskThreads);
  engine.on_failure = [](std::string_view what) { log_error("step_failed", {{"reason", what}}); };
  return engine;
}

Result<void> make_private_directory(const std::filesystem::path& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (!error) return {};
  return Error{Code::kIo,
               "Cannot make the data directory " + path.string() + ": " + error.message() + "."};
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
  auto directory = TenantDirectory::open(*platform.store, *platform.peppers);
  if (!directory) return explained(directory.error(), "The tenants cannot be read");
  platform.directory = *std::move(directory);
  const auto made_key =
      platform.directory->ensure_admin_key(platform.admin_key_file(), platform.clock.wall_now());
  if (!made_key) return explained(made_key.error(), "The first admin key cannot be made");
  platform.made_admin_key = *made_key;
  platform.ledger.emplace(*platform.store);
  auto adapters = AdapterRegistry::open(*platform.store, base_of(*platform.model.packed, config));
  if (!adapters) return explained(adapters.error(), "The adapters cannot be read");
  platform.adapters = *std::move(adapters);
  return {};
}

// What computes: backend, adapter cache, engine.
Result<void> start_engine(Platform& platform) {
  const ServerConfig& config = platform.config;
  const PackedModel& packed = *platform.model.packed;
  const int longest = packed.spec().max_positions;
  const int max_context = config.max_context > 0 ? std::min(config.max_context, longest) : longest;
  platform.num_kv_blocks = num_kv_blocks(packed.spec(), config, max_context);
  const BackendLimits limits = backend_limits(config, platform.num_kv_blocks);
  auto backend = make_backend(config, packed.weights(), limits);
  if (!backend) return backend.error();
  platform.backend_name = (*backend)->name();
  platform.page_type = (*backend)->page_type();

  const auto load = [&registry = *platform.adapters,
                     type = platform.page_type](const AdapterDigest& digest) {
    return load_packed_adapter(registry, digest, type);
  };
  platform.host_cache = std::make_unique<HostCache>(
      load, HostCache::Config{.max_bytes = static_cast<std::size_t>(config.adapter_bytes)},
      platform.clock);
  platform.engine =
      std::make_unique<Engine>(*std::move(backend), packed.spec(), *platform.host_cache,
                               engine_config(config, limits, packed.info(), max_context));
  return {};
}

}  // namespace

Result<std::unique_ptr<Platform>> Platform::open(const ServerConfig& config) {
  auto platform = std::make_unique<Platform>();
  platform->config = config;
  platform->started_at = platform->clock.wall_now();
  random_bytes(platform->salt_key.data(), platform->salt_key.size());
  auto model = open_served_model(config);
  if (!model) return model.error();
  platform->model = *std::move(model);
  if (auto opened = open_storage(*platform); !opened) return opened.error();
  if (auto started = start_engine(*platform); !started) return started.error();
  platform->bodies.emplace(static_cast<std::size_t>(config.body_bytes));
  platform->workers.emplace(config.workers);
  platform->upload_workers.emplace(1);
  platform->constraints.emplace(platform->model);
  return platform;
}

Platform::~Platform() {
  stop();
}

void Platform::stop() {
  if (workers) workers->join();
  if (upload_workers) upload_workers->join();
  if (constraints) constraints->join();
  if (engine) engine->stop();
}

}  // namespace tessera
