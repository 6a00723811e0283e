// engine_stats.hpp — the engine's state in numbers, for /metrics.
#pragma once

#include <array>
#include <cstdint>

#include "engine/token_stream.hpp"

namespace tessera {

struct EngineStats {
  // now
  int num_running = 0;
  int num_waiting = 0;                  // in the queue or the inbox
  int num_waiting_for_adapter = 0;      // not in the queue yet
  int num_blocks = 0;                   // KV blocks in the pool, but for those that are lent
  int num_used_blocks = 0;              // of them, held by running sequences
  int num_cached_blocks = 0;            // of them, idle and holding a prefix
  int num_resident_adapters = 0;        // in the backend's slots
  std::uint64_t num_adapter_bytes = 0;  // of their pages
  // since the start
  std::uint64_t num_steps = 0;             // that computed rows
  std::uint64_t num_failed_steps = 0;      // in which the backend threw
  std::uint64_t num_computed_tokens = 0;   // rows: of prompts, of answers, of recomputation
  std::uint64_t num_prompt_tokens = 0;     // of requests that got their first token
  std::uint64_t num_cached_tokens = 0;     // of those, found in the prefix cache
  std::uint64_t num_generated_tokens = 0;  // sampled or forced
  std::uint64_t num_forced_tokens = 0;     // of them, appended because nothing else may follow
  std::uint64_t num_guided_requests = 0;
  std::uint64_t num_ready_masks = 0;     // that were there when they were asked for
  std::uint64_t num_computed_masks = 0;  // that MaskWorkers made
  std::uint64_t num_late_masks = 0;      // of them, those whose sequence sat out for them
  std::uint64_t num_preemptions = 0;
  std::uint64_t num_adapter_loads = 0;                             // into the backend's slots
  std::uint64_t num_adapter_evictions = 0;                         // from them
  std::array<std::uint64_t, kNumFinishReasons> num_finished = {};  // by FinishReason
};

}  // namespace tessera
