#include "kernels/cuda/granule_pool.hpp"

#include <algorithm>
#include <cassert>
#include <iterator>

namespace tessera {
namespace {

constexpr std::size_t kMostGranule = std::size_t{16} << 10;

// The largest power of two that frames are made of, up to kMostGranule.
std::size_t granule_of(std::size_t frame_bytes) {
  assert(frame_bytes > 0 && frame_bytes % GranulePool::kAlignment == 0);
  std::size_t granule = GranulePool::kAlignment;
  while (granule < kMostGranule && frame_bytes % (2 * granule) == 0) granule *= 2;
  return granule;
}

}  // namespace

GranulePool::GranulePool(std::size_t frame_bytes, int num_frames)
    : granule_(granule_of(frame_bytes)),
      frame_granules_(frame_bytes / granule_),
      memory_(frame_bytes * static_cast<std::size_t>(num_frames)),
      is_given_(static_cast<std::size_t>(num_frames)) {}

void GranulePool::give(BlockId frame) {
  const auto index = static_cast<std::size_t>(frame);
  assert(!is_given_[index]);
  is_given_[index] = true;
  given_bytes_ += frame_granules_ * granule_;
  add_free(index * frame_granules_, frame_granules_);
}

void GranulePool::take(int most, std::vector<BlockId>& frames) {
  for (auto run = free_.begin(); run != free_.end() && most > 0;) {
    const auto [first, length] = *run;
    const std::size_t begin = (first + frame_granules_ - 1) / frame_granules_;
    const std::size_t whole = (first + length) / frame_granules_;  // the end of the whole ones
    ++run;
    if (begin >= whole) continue;
    const std::size_t end = std::min(whole, begin + static_cast<std::size_t>(most));
    free_.erase(first);
    if (begin * frame_granules_ > first) free_[first] = begin * frame_granules_ - first;
    if (end * frame_granules_ < first + length) {
      free_[end * frame_granules_] = first + length - end * frame_granules_;
    }
    for (std::size_t frame = begin; frame < end; ++frame) {
      is_given_[frame] = false;
      frames.push_back(static_cast<BlockId>(frame));
    }
    const std::size_t granules = (end - begin) * frame_granules_;
    free_granules_ -= granules;
    given_bytes_ -= granules * granule_;
    most -= static_cast<int>(end - begin);
  }
}

std::byte* GranulePool::allocate(std::size_t bytes) {
  const std::size_t count = std::max<std::size_t>(1, (bytes + granule_ - 1) / granule_);
  const auto fits = std::find_if(free_.rbegin(), free_.rend(),
                                 [&](const auto& run) { return run.second >= count; });
  if (fits == free_.rend()) return nullptr;
  fits->second -= count;
  const std::size_t first = fits->first + fits->second;
  if (fits->second == 0) free_.erase(fits->first);
  used_[first] = count;
  free_granules_ -= count;
  return memory_.data() + first * granule_;
}

void GranulePool::release(std::byte* run) {
  if (run == nullptr) return;
  const auto used = used_.find(static_cast<std::size_t>(run - memory_.data()) / granule_);
  const auto [first, length] = *used;
  used_.erase(used);
  add_free(first, length);
}

void GranulePool::add_free(std::size_t first, std::size_t length) {
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

}  // namespace tessera
