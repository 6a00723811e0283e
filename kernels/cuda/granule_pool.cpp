#include "kernels/cuda/granule_pool.hpp"

#include <algorithm>

namespace tessera {
namespace {

std::size_t granules_of(std::size_t bytes) {
  return std::max<std::size_t>(1, (bytes + GranulePool::kGranule - 1) / GranulePool::kGranule);
}

}  // namespace

GranulePool::GranulePool(std::size_t bytes)
    : memory_(granules_of(bytes) * kGranule), free_granules_(granules_of(bytes)) {
  free_[0] = free_granules_;
}

std::byte* GranulePool::allocate(std::size_t bytes) {
  const std::size_t count = granules_of(bytes);
  const auto fits = std::find_if(free_.begin(), free_.end(),
                                 [&](const auto& run) { return run.second >= count; });
  if (fits == free_.end()) return nullptr;
  const auto [first, length] = *fits;
  free_.erase(fits);
  if (length > count) free_[first + count] = length - count;
  used_[first] = count;
  free_granules_ -= count;
  return memory_.data() + first * kGranule;
}

void GranulePool::release(std::byte* run) {
  if (run == nullptr) return;
  const auto used = used_.find(index_of(run));
  auto [first, length] = *used;
  used_.erase(used);
  free_granules_ += length;
  const auto next = free_.find(first + length);
  if (next != free_.end()) {
    length += next->second;
    free_.erase(next);
  }
  const auto after = free_.lower_bound(first);
  if (after != free_.begin()) {
    const auto before = std::prev(after);
    if (before->first + before->second == first) {
      before->second += length;
      return;
    }
  }
  free_[first] = length;
}

std::size_t GranulePool::index_of(const std::byte* run) const {
  return static_cast<std::size_t>(run - memory_.data()) / kGranule;
}

}  // namespace tessera
