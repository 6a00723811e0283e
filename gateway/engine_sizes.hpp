// engine_sizes.hpp — how large backend and engine are made, from what the configuration says.
//
// Arithmetic on a configuration and a model: it asks nothing of the device, and of the machine no
// more than the number of its cores.
#pragma once

#include "engine/engine_core.hpp"
#include "gateway/config.hpp"
#include "gateway/served_model.hpp"
#include "kernels/backend.hpp"
#include "kernels/model_spec.hpp"

namespace tessera {

// How many blocks KV is promised, and how many there are for it to borrow.
struct KvBlocks {
  ShareLimits shares;
  int in_all = 0;
};

// As many KV blocks as the bytes allow, but no more than all sequences together can fill, and
// enough for one of `max_context` tokens. Where adapters' pages lie in the same memory, KV may
// borrow it. On a GPU the least alone: its memory says how many there are.
KvBlocks kv_blocks(const ModelSpec& spec, const ServerConfig& config, int max_context);

// What a GPU's memory should be divided into. More blocks than all sequences fill keep the prefixes
// of others who may come again: of several times as many, and not of millions where the model is
// tiny.
MemoryWishes memory_wishes(const ServerConfig& config, int max_context);

BackendLimits backend_limits(const ServerConfig& config, int num_blocks);

// For a backend that was made with `limits`; its failures go to the log.
EngineConfig engine_config(const ServerConfig& config, const BackendLimits& limits,
                           const ModelInfo& info, int max_context);

}  // namespace tessera
