// memory_division.hpp — how a GPU's memory is divided, before anything of ours is in it.
//
// Weights, activations and graphs take what they take; a reserve is left to the driver. What
// remains is one pool of KV blocks and adapters' pages. Each side has a share of it: as many bytes
// as were asked for, or else a quarter of it for adapters and the rest for KV, but no more blocks
// than are of use. What one side does not fill, the other may use (engine/memory_shares.hpp). Plain
// arithmetic, so that it is tested without a device.
#pragma once

#include <cstddef>
#include <string>

namespace tessera {

// What whoever starts the server wants. Bytes of 0: as it comes.
struct MemoryWishes {
  std::size_t kv_bytes = 0;
  std::size_t adapter_bytes = 0;
  int least_blocks = 0;  // KV blocks that one of the longest sequences takes; 0: not told
  int most_blocks = 0;   // beyond which more are of no use; 0: none are
};

// What a model needs on a device.
struct MemoryNeeds {
  std::size_t free_bytes = 0;     // before anything of ours is there
  std::size_t weight_bytes = 0;   // as they lie on the device
  std::size_t scratch_bytes = 0;  // activations, workspaces, tables
  std::size_t graph_bytes = 0;
  std::size_t reserve_bytes = 0;
  std::size_t block_bytes = 0;  // of a KV block, all layers together
};

// All parts together are free_bytes.
struct MemoryDivision {
  std::size_t free_bytes = 0;
  std::size_t weight_bytes = 0;
  std::size_t scratch_bytes = 0;
  std::size_t graph_bytes = 0;
  std::size_t kv_bytes = 0;
  std::size_t adapter_bytes = 0;
  std::size_t reserve_bytes = 0;
  std::size_t block_bytes = 0;  // of a KV block, or of adapters in its place
  int num_blocks = 0;           // of KV's share
  int blocks_in_all = 0;        // and as many as adapters' share would hold
};

// What may be promised of `bytes` of adapters' memory: pages come in several sizes, so an eighth is
// left for the gaps.
constexpr std::size_t promised_adapter_bytes(std::size_t bytes) {
  return bytes / 8 * 7;
}

// Throws std::runtime_error with one line that says what takes how much, if that is too much.
MemoryDivision divide_memory(const MemoryNeeds& needs, const MemoryWishes& wishes);
// The same with so many blocks and bytes, and no more.
MemoryDivision divide_memory(const MemoryNeeds& needs, int num_blocks, std::size_t adapter_bytes);

// "78.9 GiB: weights 3.6 GiB, scratch 310 MiB, ...", in one line.
std::string describe(const MemoryDivision& division);

}  // namespace tessera
