#include "gateway/engine_sizes.hpp"

#include <algorithm>
#include <cstdint>
#include <string_view>
#include <thread>

#include "kernels/cpu/kv_layout.hpp"
#include "storage/log.hpp"

namespace tessera {
namespace {

constexpr int kBlockSize = 16;        // positions of a KV block
constexpr int kMaxRank = 256;         // of an adapter
constexpr int kPromptLogitRows = 32;  // of prompts, in a step, whose log-probabilities are told
constexpr int kMaxMaskThreads = 4;

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

int blocks_of_sequence(int max_context) {
  return (max_context + kBlockSize - 1) / kBlockSize;
}

bool pins_threads(const ServerConfig& config) {
  if (config.pin_threads != "auto") return config.pin_threads == "yes";
  const auto cores = static_cast<int>(std::thread::hardware_concurrency());
  return config.threads == 0 || config.threads == cores;
}

}  // namespace

KvBlocks kv_blocks(const ModelSpec& spec, const ServerConfig& config, int max_context) {
  const std::int64_t block_bytes = kv_block_bytes(spec, config);
  const std::int64_t per_sequence = blocks_of_sequence(max_context);
  const std::int64_t useful = per_sequence * config.max_seqs;
  const auto affordable = [&](std::int64_t bytes) {
    return static_cast<int>(std::max(std::min(bytes / block_bytes, useful), per_sequence));
  };
  if (config.backend == "cuda") {  // the rest is as its memory says
    return {.shares = {.kv_least = static_cast<int>(per_sequence)}};
  }
  const int share = affordable(config.kv_bytes);
  if (config.backend != "cpu") return {.shares = {.kv_share = share}, .in_all = share};
  return {.shares = {.block_bytes = static_cast<std::size_t>(block_bytes),
                     .kv_share = share,
                     .kv_least = static_cast<int>(per_sequence)},
          .in_all = std::max(share, affordable(config.kv_bytes + config.adapter_bytes))};
}

MemoryWishes memory_wishes(const ServerConfig& config, int max_context) {
  constexpr std::int64_t kTimesAll = 4;
  const int least = blocks_of_sequence(max_context);
  const std::int64_t most = kTimesAll * least * config.max_seqs;
  return {.kv_bytes = static_cast<std::size_t>(config.kv_bytes),
          .adapter_bytes = static_cast<std::size_t>(config.adapter_device_bytes),
          .least_blocks = least,
          .most_blocks = static_cast<int>(std::min<std::int64_t>(most, 1 << 24))};
}

BackendLimits backend_limits(const ServerConfig& config, int num_blocks) {
  BackendLimits limits;
  limits.max_rows = std::max(config.token_budget, config.max_seqs);
  limits.max_seqs = config.max_seqs;
  limits.max_logit_rows = config.max_seqs + kPromptLogitRows;
  limits.num_blocks = num_blocks;
  limits.block_size = kBlockSize;
  limits.max_rank = kMaxRank;
  limits.max_adapters = std::max(config.adapter_slots, config.step_adapters);
  limits.num_threads = config.threads;
  limits.kv_form = kv_form(config);
  limits.pin_threads = pins_threads(config);
  limits.head_form = config.head == "int8" ? HeadForm::kInt8 : HeadForm::kBf16;
  return limits;
}

EngineConfig engine_config(const ServerConfig& config, const BackendLimits& limits,
                           const ModelInfo& info, int max_context) {
  EngineConfig engine;
  engine.backend = limits;
  engine.adapters = {.max_adapters = config.step_adapters,
                     .max_bytes = static_cast<std::size_t>(config.adapter_device_bytes),
                     .max_resident = config.adapter_slots};
  engine.max_context = max_context;
  engine.max_requests = config.max_queue + config.max_seqs;
  engine.eos_ids = info.eos_ids;
  const auto cores = static_cast<int>(std::thread::hardware_concurrency());
  engine.mask_threads = std::clamp(cores / 2, 1, kMaxMaskThreads);
  engine.on_failure = [](std::string_view what) { log_error("step_failed", {{"reason", what}}); };
  return engine;
}

}  // namespace tessera
