// device_needs.hpp — what a model takes of a device's memory, and how the rest is divided.
#pragma once

#include <array>
#include <cstddef>

#include "kernels/backend.hpp"
#include "kernels/cuda/attention_kernels.hpp"
#include "kernels/cuda/lora_kernels.hpp"

namespace tessera {

// Rows that a graph is made for. A step takes the first that is large enough.
inline constexpr std::array kGraphBuckets = {1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256};

LoraLimits lora_limits_of(const ModelSpec& spec, const BackendLimits& limits);
// Of the places of experts; of no rows where there are none.
LoraLimits expert_lora_limits_of(const ModelSpec& spec, const BackendLimits& limits);
AttentionLimits attention_limits_of(const ModelSpec& spec, const BackendLimits& limits);
std::size_t expert_lora_bytes(const ModelSpec& spec, const BackendLimits& limits);
// Entries of all sequences' block tables together.
std::size_t table_blocks(const BackendLimits& limits);
// Of the tables of cosines and sines: (ropes, rows, pairs of the widest, 2).
std::size_t rope_floats(const ModelSpec& spec, const BackendLimits& limits);
int widest_rope(const ModelSpec& spec);  // pairs
// How keys and values lie; without memory yet.
KvCache kv_layout_of(const ModelSpec& spec, const BackendLimits& limits);

// Of `free_bytes`, with weights of `weight_bytes`. Throws std::runtime_error in one line if that is
// too little.
MemoryDivision divide_device(const ModelSpec& spec, const BackendLimits& limits, int max_graph_rows,
                             std::size_t free_bytes, std::size_t weight_bytes);

}  // namespace tessera
