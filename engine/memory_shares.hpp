// memory_shares.hpp — one budget of memory for KV blocks and for the pages of adapters.
//
// Where both lie in the same memory, the host's on the CPU, a device's own on a GPU, each side has
// a share of it, the two options of `tessera serve`. What one does not fill, the other borrows;
// whoever has less than its share gets it back as soon as nobody uses it:
//
//   - KV blocks that hold nothing go to adapters when one has had to go for others, or found no
//     room.
//   - Memory that adapters do not fill goes to KV blocks before a cached prefix must go, but for a
//     reserve that the next loads find.
//   - Below their share, adapters get idle prefixes' blocks too, the oldest first, those of evicted
//     adapters before all (BlockPool::demote); KV gets the room of idle adapters, the one worth
//     least first.
//
// What is in use is nobody's to take. KV always keeps the blocks of one longest sequence, so that
// requests that wait for blocks with their adapters' pages in hand cannot wait for each other.
//
// Bytes move in blocks of all layers. Owned and called by the engine thread alone. Borrows what it
// is made with.
#pragma once

#include <cstddef>
#include <vector>

#include "engine/adapter_room.hpp"
#include "engine/schedule/block_pool.hpp"
#include "kernels/backend.hpp"

namespace tessera {

struct ShareLimits {
  std::size_t block_bytes = 0;  // of a KV block, all layers together; 0: nothing is shared
  int kv_share = 0;             // of the pool's blocks; the rest are lent at the start
  int kv_least = 0;             // blocks that KV always keeps
  bool is_of_device = false;    // with what the device holds of adapters, not with the HostCache
};

class MemoryShares {
 public:
  MemoryShares(const ShareLimits& limits, AdapterRoom& room);

  // Of a new `pool`, the blocks that are adapters': none has been used yet.
  void begin(BlockPool& pool);
  // Before each step: moves what one side lacks and the other does not fill. The step may take
  // `step_blocks` blocks.
  void balance(BlockPool& pool, int step_blocks);
  // `missing` blocks are needed at once. Whether there are more of them now. If there are not, but
  // kv_is_owed(), then adapters' pages are kept by those who could do without.
  bool provide(BlockPool& pool, int missing);

  // Whether a side has less than its share: it gets the rest as what the other uses ends.
  bool adapters_are_owed(const BlockPool& pool) const { return blocks_over_share(pool) > 0; }
  bool kv_is_owed(const BlockPool& pool) const { return blocks_over_share(pool) < 0; }

 private:
  bool is_shared() const { return limits_.block_bytes > 0; }
  int blocks_over_share(const BlockPool& pool) const;
  int blocks_for(std::size_t bytes) const;
  int wanted_blocks(const BlockPool& pool, const AdapterRoom::Pressure& pressure) const;
  void lend(BlockPool& pool, int wanted, int step_blocks);
  int take_back(BlockPool& pool);
  void note_lent(const BlockPool& pool);

  const ShareLimits limits_;
  AdapterRoom& room_;
  const std::size_t reserve_;  // bytes that KV does not borrow, for the next loads
  bool has_begun_ = false;
  bool is_owed_ = false;          // somebody waits for adapters' memory
  std::vector<BlockId> lent_;     // of the pool's blocks
  std::vector<BlockId> written_;  // scratch of lend()
  std::vector<BlockId> given_;    // scratch of take_back()
};

}  // namespace tessera
