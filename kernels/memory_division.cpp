#include "kernels/memory_division.hpp"

#include <algorithm>
#include <cstdio>
#include <limits>
#include <stdexcept>

namespace tessera {
namespace {

constexpr std::size_t kAdapterPart = 4;  // a quarter of the pool, unless otherwise asked
constexpr std::size_t kLeastAdapterBytes = std::size_t{64} << 20;

std::string told(std::size_t bytes) {
  constexpr std::size_t kMebi = std::size_t{1} << 20;
  constexpr std::size_t kGibi = std::size_t{1} << 30;
  char text[32];
  if (bytes >= kGibi) {
    std::snprintf(text, sizeof text, "%.1f GiB", static_cast<double>(bytes) / double{kGibi});
  } else {
    std::snprintf(text, sizeof text, "%.0f MiB", static_cast<double>(bytes) / double{kMebi});
  }
  return text;
}

std::size_t difference(std::size_t from, std::size_t less) {
  return from > less ? from - less : 0;
}

std::size_t fixed_bytes(const MemoryNeeds& needs) {
  return needs.weight_bytes + needs.scratch_bytes + needs.graph_bytes + needs.reserve_bytes;
}

// How many blocks there are to be, of a pool that has room for adapters of `adapters` bytes too.
std::size_t count_blocks(const MemoryNeeds& needs, const MemoryWishes& wishes, std::size_t pool,
                         std::size_t adapters) {
  const auto least = static_cast<std::size_t>(std::max(wishes.least_blocks, 1));
  if (wishes.kv_bytes > 0) return std::max(wishes.kv_bytes / needs.block_bytes, least);
  const std::size_t most = wishes.most_blocks > 0
                               ? std::max(static_cast<std::size_t>(wishes.most_blocks), least)
                               : std::size_t{std::numeric_limits<int>::max()};
  return std::clamp(difference(pool, adapters) / needs.block_bytes, least, most);
}

// What adapters get at least: what was asked for, or room for a few.
std::size_t least_adapter_bytes(const MemoryWishes& wishes) {
  return wishes.adapter_bytes > 0 ? wishes.adapter_bytes : kLeastAdapterBytes;
}

[[noreturn]] void refuse(const MemoryNeeds& needs, std::size_t kv, std::size_t adapters) {
  const std::size_t wanted = fixed_bytes(needs) + kv + adapters;
  throw std::runtime_error(
      "GPU memory is too small: " + told(needs.free_bytes) + " are free and " + told(wanted) +
      " are needed: weights " + told(needs.weight_bytes) + ", scratch " +
      told(needs.scratch_bytes) + ", graphs " + told(needs.graph_bytes) + ", reserve " +
      told(needs.reserve_bytes) + ", KV at least " + told(kv) + ", adapters " + told(adapters) +
      "; a smaller --max-context, --kv-bytes or --adapter-device-bytes needs less");
}

MemoryDivision divide(const MemoryNeeds& needs, std::size_t num_blocks, std::size_t adapters) {
  MemoryDivision division;
  division.free_bytes = needs.free_bytes;
  division.weight_bytes = needs.weight_bytes;
  division.scratch_bytes = needs.scratch_bytes;
  division.graph_bytes = needs.graph_bytes;
  division.kv_bytes = num_blocks * needs.block_bytes;
  division.adapter_bytes = adapters;
  division.reserve_bytes = needs.free_bytes - division.weight_bytes - division.scratch_bytes -
                           division.graph_bytes - division.kv_bytes - division.adapter_bytes;
  division.block_bytes = needs.block_bytes;
  division.num_blocks = static_cast<int>(num_blocks);
  division.blocks_in_all = static_cast<int>(num_blocks + adapters / needs.block_bytes);
  return division;
}

}  // namespace

MemoryDivision divide_memory(const MemoryNeeds& needs, const MemoryWishes& wishes) {
  const std::size_t pool = difference(needs.free_bytes, fixed_bytes(needs));
  const std::size_t least = least_adapter_bytes(wishes);
  const std::size_t share =
      wishes.adapter_bytes > 0 ? wishes.adapter_bytes : std::max(pool / kAdapterPart, least);
  const std::size_t blocks = count_blocks(needs, wishes, pool, share);
  const std::size_t kv = blocks * needs.block_bytes;
  if (pool < kv || pool - kv < least) refuse(needs, kv, least);
  const bool is_exact = wishes.kv_bytes > 0 && wishes.adapter_bytes > 0;
  return divide(needs, blocks, is_exact ? wishes.adapter_bytes : pool - kv);
}

MemoryDivision divide_memory(const MemoryNeeds& needs, int num_blocks, std::size_t adapter_bytes) {
  const auto blocks = static_cast<std::size_t>(num_blocks);
  const std::size_t pool = difference(needs.free_bytes, fixed_bytes(needs));
  const std::size_t kv = blocks * needs.block_bytes;
  if (pool < kv || pool - kv < adapter_bytes) refuse(needs, kv, adapter_bytes);
  return divide(needs, blocks, adapter_bytes);
}

std::string describe(const MemoryDivision& division) {
  return told(division.free_bytes) + ": weights " + told(division.weight_bytes) + ", scratch " +
         told(division.scratch_bytes) + ", graphs " + told(division.graph_bytes) + ", KV " +
         told(division.kv_bytes) + " (" + std::to_string(division.num_blocks) +
         " blocks), adapters " + told(division.adapter_bytes) + ", reserve " +
         told(division.reserve_bytes);
}

}  // namespace tessera
