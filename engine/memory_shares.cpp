#include "engine/memory_shares.hpp"

#include <algorithm>
#include <numeric>

namespace tessera {
namespace {

constexpr std::size_t kHostReserveShare = 8;  // one in so many of the HostCache's bytes
constexpr int kLeastTaken = 16;               // blocks, when KV has few blank ones left

}  // namespace

MemoryShares::MemoryShares(const ShareLimits& limits, Backend& backend, HostCache& host_cache)
    : limits_(limits),
      backend_(backend),
      host_cache_(host_cache),
      host_reserve_(host_cache.max_bytes() / kHostReserveShare) {}

void MemoryShares::begin(BlockPool& pool) {
  if (!is_shared()) return;
  if (num_lent_ < 0) {
    num_lent_ = std::max(pool.num_blocks() - limits_.kv_share, 0);
  } else {  // what an earlier pool has written is still there
    written_.resize(static_cast<std::size_t>(pool.num_blocks()));
    std::iota(written_.begin(), written_.end(), 0);
    discard_written();
  }
  pool.lend_blank(num_lent_, written_);
}

void MemoryShares::balance(BlockPool& pool, int step_blocks) {
  if (!is_shared()) return;
  const HostCache::Pressure pressure = host_cache_.take_pressure();
  owed_ = std::max(owed_, blocks_for(pressure.missing_bytes));
  if (blocks_for(pressure.unfilled_bytes) > owed_) owed_ = 0;  // others have gone
  const int wanted = wanted_blocks(pool, pressure);
  if (wanted > 0) {
    owed_ -= std::min(owed_, lend(pool, wanted, step_blocks));
  } else if (pool.num_blank() < step_blocks && pool.num_lent() > 0) {
    const int most = std::min(pool.num_lent(), std::max(step_blocks, kLeastTaken));
    take_back(pool, host_cache_.give_unfilled(limits_.block_bytes, most, host_reserve_));
  }
}

int MemoryShares::wanted_blocks(const BlockPool& pool, const HostCache::Pressure& pressure) const {
  int wanted = std::max(owed_, blocks_for(pressure.evicted_bytes));
  if (host_is_owed(pool) && pressure.unfilled_bytes < host_reserve_) {
    wanted = std::max(wanted, blocks_for(host_reserve_ - pressure.unfilled_bytes));
  }
  return wanted;
}

bool MemoryShares::provide(BlockPool& pool, int missing) {
  if (!is_shared()) return false;
  const int most = std::min(missing, pool.num_lent());
  const int due = std::min(most, std::max(-blocks_over_share(pool), 0));
  int given = due > 0 ? host_cache_.give_idle(limits_.block_bytes, due) : 0;
  if (owed_ == 0 && given < most) {
    given += host_cache_.give_unfilled(limits_.block_bytes, most - given, host_reserve_);
  }
  return take_back(pool, given) > 0;
}

// Blank blocks that the next step can do without; and idle prefixes of what is over KV's share.
int MemoryShares::lend(BlockPool& pool, int wanted, int step_blocks) {
  const int available = pool.num_blocks() - pool.num_lent();
  const int most = std::min(wanted, available - limits_.kv_least);
  int lent =
      pool.lend_blank(std::clamp(pool.num_blank() - step_blocks, 0, std::max(most, 0)), written_);
  const int over = std::min(most - lent, blocks_over_share(pool));
  if (over > 0) lent += pool.lend_cached(over, written_);
  discard_written();
  num_lent_ = pool.num_lent();
  if (lent > 0) host_cache_.add_room(static_cast<std::size_t>(lent) * limits_.block_bytes);
  return lent;
}

void MemoryShares::discard_written() {
  if (!written_.empty()) backend_.discard_blocks(written_);
  written_.clear();
}

int MemoryShares::take_back(BlockPool& pool, int given) {
  pool.take_back(given);
  num_lent_ = pool.num_lent();
  return given;
}

int MemoryShares::blocks_over_share(const BlockPool& pool) const {
  if (!is_shared()) return 0;
  return pool.num_blocks() - pool.num_lent() - limits_.kv_share;
}

int MemoryShares::blocks_for(std::size_t bytes) const {
  return static_cast<int>((bytes + limits_.block_bytes - 1) / limits_.block_bytes);
}

}  // namespace tessera
