#include "engine/memory_shares.hpp"

#include <algorithm>

namespace tessera {
namespace {

constexpr std::size_t kReserveShare = 8;  // one in so many of the adapters' bytes
constexpr int kLeastTaken = 16;           // blocks, when KV has few blank ones left

}  // namespace

MemoryShares::MemoryShares(const ShareLimits& limits, AdapterRoom& room)
    : limits_(limits), room_(room), reserve_(room.bytes() / kReserveShare) {}

void MemoryShares::begin(BlockPool& pool) {
  if (!is_shared()) return;
  if (has_begun_) {  // what an earlier pool has written is still there
    room_.forget_blocks(pool.num_blocks());
  } else {
    for (BlockId id = pool.num_blocks() - 1; id >= limits_.kv_share; --id) lent_.push_back(id);
    given_.reserve(static_cast<std::size_t>(pool.num_blocks()));
    written_.reserve(given_.capacity());
    lent_.reserve(given_.capacity());
  }
  has_begun_ = true;
  pool.lend(lent_, written_);
}

void MemoryShares::balance(BlockPool& pool, int step_blocks) {
  if (!is_shared()) return;
  const AdapterRoom::Pressure pressure = room_.look();
  is_owed_ = pressure.owed_bytes > 0;
  const int wanted = wanted_blocks(pool, pressure);
  if (wanted > 0) {
    lend(pool, wanted, step_blocks);
  } else if (pool.num_blank() < step_blocks && pool.num_lent() > 0) {
    const int most = std::min(pool.num_lent(), std::max(step_blocks, kLeastTaken));
    room_.give_unfilled(pool.lent(), most, reserve_, given_);
    take_back(pool);
  }
}

int MemoryShares::wanted_blocks(const BlockPool& pool,
                                const AdapterRoom::Pressure& pressure) const {
  int wanted = blocks_for(std::max(pressure.owed_bytes, pressure.evicted_bytes));
  if (adapters_are_owed(pool) && pressure.unfilled_bytes < reserve_) {
    wanted = std::max(wanted, blocks_for(reserve_ - pressure.unfilled_bytes));
  }
  return wanted;
}

bool MemoryShares::provide(BlockPool& pool, int missing) {
  if (!is_shared()) return false;
  const int most = std::min(missing, pool.num_lent());
  const int due = std::min(most, std::max(-blocks_over_share(pool), 0));
  if (due > 0) room_.give_idle(pool.lent(), due, given_);
  int given = take_back(pool);
  if (!is_owed_ && given < most) {
    room_.give_unfilled(pool.lent(), most - given, reserve_, given_);
    given += take_back(pool);
  }
  return given > 0;
}

// Blank blocks that the next step can do without; and of what is over KV's share, blank ones in any
// case, and idle prefixes.
void MemoryShares::lend(BlockPool& pool, int wanted, int step_blocks) {
  const auto before = static_cast<std::size_t>(pool.num_lent());
  const int available = pool.num_blocks() - pool.num_lent();
  const int most = std::max(std::min(wanted, available - limits_.kv_least), 0);
  const int spare = std::max(pool.num_blank() - step_blocks, blocks_over_share(pool));
  const int lent = pool.lend_blank(std::clamp(spare, 0, most), written_);
  const int over = std::min(most - lent, blocks_over_share(pool));
  if (over > 0) pool.lend_cached(over, written_);
  room_.add(pool.lent().subspan(before), written_);
  written_.clear();
  note_lent(pool);
}

// Those that were given; how many they are.
int MemoryShares::take_back(BlockPool& pool) {
  const auto count = static_cast<int>(given_.size());
  if (count > 0) {
    pool.take_back(given_);
    given_.clear();
    note_lent(pool);
  }
  return count;
}

void MemoryShares::note_lent(const BlockPool& pool) {
  lent_.assign(pool.lent().begin(), pool.lent().end());
}

int MemoryShares::blocks_over_share(const BlockPool& pool) const {
  if (!is_shared()) return 0;
  return pool.num_blocks() - pool.num_lent() - limits_.kv_share;
}

int MemoryShares::blocks_for(std::size_t bytes) const {
  return static_cast<int>((bytes + limits_.block_bytes - 1) / limits_.block_bytes);
}

}  // namespace tessera
